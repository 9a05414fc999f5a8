#include "metaspan/geometry/off_span.hpp"

#include <algorithm>

#include "metaspan/geometry/decompositions.hpp"

namespace metaspan {

/// Makes one addition of (17). T (t, k) is the R-factor of the sum so far. The term U A is added,
/// where U is a Haar-distributed frame of the space of dimension `rest`, independent of T. In a
/// basis whose first t vectors span T, U is the orthonormal factor of [G; L_r^T] with normals G (t,
/// r) and L_r = bartlett(r, rest - t); t + r rows thus replace `rest` rows. The caller provides a
/// separate sequence of random numbers for each addition. Since the tree of additions is fixed,
/// each addition always uses the same numbers.
Mat add_frame(const Mat& T, const Mat& A, double rest, Sequence& draws) {
  const Index t = T.rows(), r = A.rows(), k = A.cols();
  if (r == 0) return T;
  if (t == 0) return small_r_factor(A);
  // The top rows are the frame in the space of T; the rows below are the transposed Bartlett
  // factor, for the part of the frame orthogonal to T.
  Mat F(t + r, r);
  for (Index i = 0; i < t; ++i) {
    for (Index j = 0; j < r; ++j) F(i, j) = draws.normal();
  }
  const Mat L = bartlett(draws, r, rest - static_cast<double>(t));
  const Index rows = t + L.cols();
  F.middleRows(t, L.cols()) = L.transpose();
  const auto qr = factor_qr(F.topRows(rows));
  // Q is Haar-distributed only if S has a positive diagonal, which Eigen does not ensure. With D
  // the diagonal matrix of the signs, (Q D) A = Q (D A). The signs are therefore applied to the
  // rows of A, and Q can stay a product of reflections.
  Mat signed_A = A;
  for (Index i = 0; i < r; ++i) {
    if (qr.matrixQR()(i, i) < 0) signed_A.row(i) *= -1;
  }
  Mat sum = Mat::Zero(rows, k);
  sum.topRows(r) = signed_A;
  apply_Q(qr, sum);
  sum.topRows(t) += T;
  return small_r_factor(sum);
}

/// Appends rows (rows, k) to the stack, (18). A full stack is replaced by its R-factor, so the
/// memory is kRows + k rows for any number of tasks. The R-factor of all rows stays the same, and
/// unlike a sum of A^T A it does not square the condition number.
void RowStack::add(const Mat& A) {
  for (Index i = 0; i < A.rows(); ++i) {
    if (filled_ == rows_.rows()) fold();
    rows_.row(filled_++) = A.row(i);
  }
}

/// Replaces the rows by their R-factor, of at most k rows.
void RowStack::fold() {
  const Mat folded = small_r_factor(rows_.topRows(filled_));
  filled_ = folded.rows();
  rows_.topRows(filled_) = folded;
}

/// Returns the R-factor F of all rows, (min(number of rows, k), k).
Mat RowStack::factor() {
  if (filled_ == 0) return Mat(0, rows_.cols());
  return small_r_factor(rows_.topRows(filled_));
}

/// Draws T = L^T F of (18), with L = bartlett(rows of F, rest). In law, T is the R-factor of a
/// Gaussian matrix that has `rest` rows with covariance F^T F. One draw gives the sum of all tasks
/// of a round, since this sum is Gaussian given the draws in the span.
Mat gaussian_matrix(const Mat& F, double rest, Sequence& draws) {
  const Mat L = bartlett(draws, F.rows(), rest);
  return L.transpose() * F;
}

}  // namespace metaspan
