// Sums of what the tasks of a round add to B off the span of the state, (17) and (18). They are
// known up to an orthogonal factor from the left, so each is represented by an R-factor.
#pragma once

#include "metaspan/geometry/coordinates.hpp"

namespace metaspan {

/// Draws the R-factor of V T + U A, (17). V has t orthonormal columns in `rest` dimensions, and U
/// is a Haar-distributed frame there, independent of V, T and A; T is (t, k) and A (r, k) with t, r
/// <= rest.
Mat add_frame(const Mat& T, const Mat& A, double rest, Sequence& draws);

/// Computes the R-factor of small matrices stacked on top of each other. When its buffer is full,
/// the rows are replaced by their R-factor, so that memory does not grow with their number.
class RowStack {
 public:
  explicit RowStack(Index k) : rows_(kRows + k, k) {}
  void clear() { filled_ = 0; }
  void add(const Mat& A);  // (rows, k)
  Mat factor();            // (min(all rows, k), k)

 private:
  static constexpr Index kRows = 64;
  void fold();  // replaces the rows by their R-factor
  Mat rows_;
  Index filled_ = 0;
};

/// Draws T of (18): L^T F with L = bartlett(rows of F, rest). T^T T has the law of G^T G for a
/// Gaussian matrix G in `rest` dimensions with row covariance F^T F.
Mat gaussian_matrix(const Mat& F, double rest, Sequence& draws);

}  // namespace metaspan
