#include "metaspan/geometry/off_span.hpp"

#include <algorithm>

#include "metaspan/geometry/decompositions.hpp"

namespace metaspan {

/// Makes one addition of (17): adds U A to the sum so far, and returns the R-factor of the new sum.
/// T (t, k) is the R-factor of the sum so far, and U is a Haar-distributed frame, independent of T,
/// of the space of dimension `rest`. In a basis whose first t vectors span the columns of the sum
/// so far, U is the orthonormal factor of [G; L_r^T] with standard normals G (t, r) and L_r =
/// bartlett(r, rest - t). Thus t + r rows replace `rest` rows. The caller provides a separate
/// sequence of random numbers for each addition. The tree of additions is fixed, so each addition
/// always uses the same random numbers.
Mat add_frame(const Mat& T, const Mat& A, double rest, Sequence& draws) {
  const Index t = T.rows(), r = A.rows(), k = A.cols();
  if (r == 0) return T;
  if (t == 0) return small_r_factor(A);
  // The first t rows of F represent the part of the frame in the span of the sum so far. The rows
  // below are the transposed Bartlett factor, which represents the part orthogonal to this span.
  Mat F(t + r, r);
  for (Index i = 0; i < t; ++i) {
    for (Index j = 0; j < r; ++j) F(i, j) = draws.normal();
  }
  const Mat L = bartlett(draws, r, rest - static_cast<double>(t));
  const Index rows = t + L.cols();
  F.middleRows(t, L.cols()) = L.transpose();
  const auto qr = factor_qr(F.topRows(rows));
  // The factor Q of F = Q S is Haar-distributed only if the diagonal of S is positive, which Eigen
  // does not ensure. Let D be the diagonal matrix of the signs of the diagonal of S. Since (Q D) A
  // = Q (D A), the signs are applied to the rows of A, and Q remains a product of reflections.
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

/// Appends rows (rows, k) to the stack, (18). When the stack is full, its rows are replaced by
/// their R-factor, so the stack needs memory for kRows + k rows only, for any number of tasks.
/// Replacing rows by their R-factor does not change the R-factor of the whole stack. Unlike a sum
/// of A^T A, the R-factor does not square the condition number.
void RowStack::add(const Mat& A) {
  for (Index i = 0; i < A.rows(); ++i) {
    if (filled_ == rows_.rows()) fold();
    rows_.row(filled_++) = A.row(i);
  }
}

/// Replaces the rows of the stack by their R-factor, which has at most k rows.
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

/// Draws T = L^T F of (18), with L = bartlett(rows of F, rest). T represents, up to multiplication
/// by an orthogonal matrix from the left, a Gaussian matrix of `rest` rows with covariance F^T F. A
/// single draw gives the sum over all tasks of a round, since this sum is Gaussian given all draws
/// in the span.
Mat gaussian_matrix(const Mat& F, double rest, Sequence& draws) {
  const Mat L = bartlett(draws, F.rows(), rest);
  return L.transpose() * F;
}

}  // namespace metaspan
