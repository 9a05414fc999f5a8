#include "metaspan/geometry/decompositions.hpp"

#include <Eigen/Cholesky>
#include <Eigen/SVD>
#include <limits>

namespace metaspan {

/// Uses reflections rather than the Gram-Schmidt process: Q is then orthogonal up to rounding
/// errors however close to dependent the columns of A are, and the frames of (17) need such a Q.
Eigen::HouseholderQR<Mat> factor_qr(const Mat& A) { return Eigen::HouseholderQR<Mat>(A); }

/// Computes A <- Q A for A (m, p) by applying the reflections, without forming Q (m, m).
void apply_Q(const Eigen::HouseholderQR<Mat>& qr, Mat& A) { A.applyOnTheLeft(qr.householderQ()); }

/// Applies the reflections to the first columns of an identity, (m, columns). The result is the
/// thin Q and, in the columns beyond the rank of the factored matrix, an orthonormal completion,
/// which start_rotation() relies on.
Mat orthonormal_columns(const Eigen::HouseholderQR<Mat>& qr, Index columns) {
  return qr.householderQ() * Mat::Identity(qr.rows(), columns);
}

/// Takes the longest remaining column as the pivot in each step, so that the diagonal of the factor
/// shows the rank.
Index find_rank(const Mat& A) { return Eigen::ColPivHouseholderQR<Mat>(A).rank(); }

/// Computes P A = L U with the largest entry of a column as its pivot. The caller owns `lu`, whose
/// memory is reused in every round.
void factor_lu(const Mat& A, Eigen::PartialPivLU<Mat>& lu) { lu.compute(A); }

/// Factors G = S^T S by Cholesky's method, then solves S X = I for X = S^{-1} by back substitution.
Mat inverse_cholesky(const Mat& G) {
  const Eigen::LLT<Mat, Eigen::Upper> factored(G);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  if (factored.info() != Eigen::Success) return Mat::Constant(G.rows(), G.cols(), nan);
  return factored.matrixU().solve(Mat::Identity(G.rows(), G.cols()));
}

/// Computes S = V diag(l) V^T from the lower triangle of S. The caller owns the solver, whose
/// memory is reused in every round.
void solve_symmetric(const Mat& S, bool eigenvectors, Eigen::SelfAdjointEigenSolver<Mat>& solver) {
  solver.compute(S, eigenvectors ? Eigen::ComputeEigenvectors : Eigen::EigenvaluesOnly);
}

/// Uses Jacobi's method: in a method that first makes A bidiagonal, the errors of small singular
/// values would be as large as the rounding error of the largest one.
Vec find_singular_values(const Mat& A, Mat* V) {
  const Eigen::JacobiSVD<Mat> svd(A, V == nullptr ? 0 : Eigen::ComputeThinV);
  if (V != nullptr) *V = svd.matrixV();
  return svd.singularValues();
}

}  // namespace metaspan
