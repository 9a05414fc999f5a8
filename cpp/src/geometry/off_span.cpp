#include "metaspan/geometry/off_span.hpp"

#include <algorithm>

#include "metaspan/geometry/decompositions.hpp"

namespace metaspan {

Mat add_frame(const Mat& T, const Mat& A, double rest, Sequence& draws) {
  const Index t = T.rows(), r = A.rows(), k = A.cols();
  if (r == 0) return T;
  if (t == 0) return small_r_factor(A);
  // The frame along V, and a factor of what it has off V.
  Mat F(t + r, r);
  for (Index i = 0; i < t; ++i) {
    for (Index j = 0; j < r; ++j) F(i, j) = draws.normal();
  }
  const Mat L = bartlett(draws, r, rest - static_cast<double>(t));
  const Index rows = t + L.cols();
  F.middleRows(t, L.cols()) = L.transpose();
  const Eigen::HouseholderQR<Mat> qr(F.topRows(rows));
  // F = Q S is Haar-distributed as Q only where S has a positive diagonal.
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

void RowStack::add(const Mat& A) {
  for (Index i = 0; i < A.rows(); ++i) {
    if (filled_ == rows_.rows()) fold();
    rows_.row(filled_++) = A.row(i);
  }
}

void RowStack::fold() {
  const Mat folded = small_r_factor(rows_.topRows(filled_));
  filled_ = folded.rows();
  rows_.topRows(filled_) = folded;
}

Mat RowStack::factor() {
  if (filled_ == 0) return Mat(0, rows_.cols());
  return small_r_factor(rows_.topRows(filled_));
}

Mat gaussian_matrix(const Mat& F, double rest, Sequence& draws) {
  const Mat L = bartlett(draws, F.rows(), rest);
  return L.transpose() * F;
}

}  // namespace metaspan
