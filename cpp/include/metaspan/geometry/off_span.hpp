// Each task of a round adds to B a part off the span of the state. The sum of these parts, (17) or
// (18), is known only up to an orthogonal factor from the left, so it is represented by its
// R-factor.
#pragma once

#include "metaspan/geometry/coordinates.hpp"

namespace metaspan {

/// Draws the R-factor of V T + U A, (17). V has t orthonormal columns of length `rest`, and U is a
/// Haar-distributed frame of r columns of length `rest`, independent of V, T and A; T is (t, k) and
/// A (r, k) with t, r <= rest.
Mat add_frame(const Mat& T, const Mat& A, double rest, Sequence& draws);

/// Computes the R-factor of small matrices stacked on top of each other. When its buffer is full,
/// the rows are replaced by their R-factor, so that memory does not grow with the number of rows.
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

/// Draws T of (18): L^T F with L = bartlett(rows of F, rest). T^T T is equal in law to G^T G, where
/// G has `rest` independent Gaussian rows with covariance F^T F.
Mat gaussian_matrix(const Mat& F, double rest, Sequence& draws);

}  // namespace metaspan
