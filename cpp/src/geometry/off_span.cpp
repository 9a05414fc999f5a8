#include "metaspan/geometry/off_span.hpp"

#include <algorithm>

#include "metaspan/geometry/decompositions.hpp"

namespace metaspan {

/// One addition of (17): T (t, k) is the sum so far, known through its R-factor, and U A the term
/// of a task, U a Haar-distributed frame in `rest` dimensions independent of T. In a basis that
/// begins with T's directions, U is the orthonormal factor of [G; L_r^T] with G (t, r) normal and
/// L_r = bartlett(r, rest - t), so that t + r rows replace `rest` of them. Draws come from the
/// caller, one sequence for each addition: the tree of additions is fixed and so are its numbers.
Mat add_frame(const Mat& T, const Mat& A, double rest, Sequence& draws) {
  const Index t = T.rows(), r = A.rows(), k = A.cols();
  if (r == 0) return T;
  if (t == 0) return small_r_factor(A);
  // The frame along T's directions, and the R-factor, transposed, of what it has off them.
  Mat F(t + r, r);
  for (Index i = 0; i < t; ++i) {
    for (Index j = 0; j < r; ++j) F(i, j) = draws.normal();
  }
  const Mat L = bartlett(draws, r, rest - static_cast<double>(t));
  const Index rows = t + L.cols();
  F.middleRows(t, L.cols()) = L.transpose();
  const auto qr = factor_qr(F.topRows(rows));
  // Q is Haar-distributed only if S has a positive diagonal, which Eigen does not ensure. With D
  // the signs of the diagonal, (Q D) A = Q (D A): the signs are applied to the rows of A, so Q can
  // stay a product of reflections.
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

/// Puts rows (rows, k) below those that came before, (18). A full stack is replaced by its
/// R-factor, so that the memory is kRows + k rows for any number of tasks; the factor of the whole
/// is the same, and unlike a sum of A^T A it does not square the condition number.
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

/// Returns the R-factor F of all rows, (min(rows in all, k), k).
Mat RowStack::factor() {
  if (filled_ == 0) return Mat(0, rows_.cols());
  return small_r_factor(rows_.topRows(filled_));
}

/// Draws T = L^T F of (18), L = bartlett(rows of F, rest): the R-factor, in law, of a Gaussian
/// matrix with `rest` rows and row covariance F^T F. One draw serves all tasks of a round, since
/// given the draws in the span their sum is Gaussian.
Mat gaussian_matrix(const Mat& F, double rest, Sequence& draws) {
  const Mat L = bartlett(draws, F.rows(), rest);
  return L.transpose() * F;
}

}  // namespace metaspan
