#include "metaspan/geometry/decompositions.hpp"

#include <Eigen/Cholesky>
#include <Eigen/SVD>
#include <limits>

namespace metaspan {

/// Uses Householder reflections instead of the Gram-Schmidt process. With reflections, Q is
/// orthogonal up to rounding errors even if the columns of A are nearly dependent, and the frames
/// of (17) need such a Q.
Eigen::HouseholderQR<Mat> factor_qr(const Mat& A) { return Eigen::HouseholderQR<Mat>(A); }
Eigen::HouseholderQR<Mat> factor_qr(ConstMat A) { return Eigen::HouseholderQR<Mat>(A); }

/// Computes A <- Q A for A (m, p) by applying the reflections of Q to A, without forming Q (m, m).
void apply_Q(const Eigen::HouseholderQR<Mat>& qr, Mat& A) { A.applyOnTheLeft(qr.householderQ()); }

/// Applies the reflections of Q to the first columns of an identity, (m, columns). Columns of the
/// result beyond the rank of the factored matrix complete its other columns to an orthonormal set,
/// and start_rotation() relies on this completion.
Mat orthonormal_columns(const Eigen::HouseholderQR<Mat>& qr, Index columns) {
  return qr.householderQ() * Mat::Identity(qr.rows(), columns);
}

/// Each step takes the longest remaining column as the pivot, so that the rank can be read from the
/// diagonal of the triangular factor.
Index find_rank(const Mat& A) { return Eigen::ColPivHouseholderQR<Mat>(A).rank(); }

/// Computes P A = L U, where the pivot of each column is its largest remaining entry. The caller
/// owns `lu`, whose memory is reused in every round.
void factor_lu(const Mat& A, Eigen::PartialPivLU<Mat>& lu) { lu.compute(A); }

/// Factors G = S^T S by Cholesky's method, then solves S X = I by back substitution, so that X =
/// S^{-1}.
Mat inverse_cholesky(const Mat& G) {
  const Eigen::LLT<Mat, Eigen::Upper> factored(G);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  if (factored.info() != Eigen::Success) return Mat::Constant(G.rows(), G.cols(), nan);
  return factored.matrixU().solve(Mat::Identity(G.rows(), G.cols()));
}

/// Computes S = V diag(l) V^T from the lower triangle of S. The caller owns `solver`, whose memory
/// is reused in every round.
void solve_symmetric(const Mat& S, bool eigenvectors, Eigen::SelfAdjointEigenSolver<Mat>& solver) {
  solver.compute(S, eigenvectors ? Eigen::ComputeEigenvectors : Eigen::EigenvaluesOnly);
}

/// Uses Jacobi's method. A method that first makes A bidiagonal would give small singular values
/// with errors as large as the rounding error of the largest singular value.
Vec find_singular_values(const Mat& A, Mat* V) {
  const Eigen::JacobiSVD<Mat> svd(A, V == nullptr ? 0 : Eigen::ComputeThinV);
  if (V != nullptr) *V = svd.matrixV();
  return svd.singularValues();
}

}  // namespace metaspan
