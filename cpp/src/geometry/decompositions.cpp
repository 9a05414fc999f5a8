#include "metaspan/geometry/decompositions.hpp"

#include <Eigen/Cholesky>
#include <Eigen/SVD>
#include <limits>

namespace metaspan {

/// Reflections rather than Gram-Schmidt: Q is orthogonal to rounding however close the columns of A
/// are, as the frames of (17) must be.
Eigen::HouseholderQR<Mat> factor_qr(const Mat& A) { return Eigen::HouseholderQR<Mat>(A); }

/// A <- Q A by the reflections themselves, without forming Q (m, m): A (m, p).
void apply_Q(const Eigen::HouseholderQR<Mat>& qr, Mat& A) { A.applyOnTheLeft(qr.householderQ()); }

/// Applies the reflections to the first columns of an identity, (m, columns): the thin Q, and
/// beyond the rank of the factored matrix an orthonormal completion, which start_rotation() relies
/// on.
Mat orthonormal_columns(const Eigen::HouseholderQR<Mat>& qr, Index columns) {
  return qr.householderQ() * Mat::Identity(qr.rows(), columns);
}

/// Pivots on the longest column that is left, so that the diagonal of the factor shows the rank.
Index find_rank(const Mat& A) { return Eigen::ColPivHouseholderQR<Mat>(A).rank(); }

/// P A = L U with the largest entry of a column as its pivot. The caller owns lu, whose memory
/// serves every round.
void factor_lu(const Mat& A, Eigen::PartialPivLU<Mat>& lu) { lu.compute(A); }

/// G = S^T S by Cholesky's method, then S^{-1} by substitution into the identity.
Mat inverse_cholesky(const Mat& G) {
  const Eigen::LLT<Mat, Eigen::Upper> factored(G);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  if (factored.info() != Eigen::Success) return Mat::Constant(G.rows(), G.cols(), nan);
  return factored.matrixU().solve(Mat::Identity(G.rows(), G.cols()));
}

/// S = V diag(l) V^T from the lower triangle of S. The caller owns the solver, whose memory serves
/// every round.
void solve_symmetric(const Mat& S, bool eigenvectors, Eigen::SelfAdjointEigenSolver<Mat>& solver) {
  solver.compute(S, eigenvectors ? Eigen::ComputeEigenvectors : Eigen::EigenvaluesOnly);
}

/// Jacobi's method: a bidiagonal one would compute small singular values to the rounding of the
/// largest alone.
Vec find_singular_values(const Mat& A, Mat* V) {
  const Eigen::JacobiSVD<Mat> svd(A, V == nullptr ? 0 : Eigen::ComputeThinV);
  if (V != nullptr) *V = svd.matrixV();
  return svd.singularValues();
}

}  // namespace metaspan
