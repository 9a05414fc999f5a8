// Each task of a round adds to B a part that is orthogonal to the span of the state. The sum of
// these parts, (17) or (18), matters only up to multiplication by an orthogonal matrix from the
// left, so the sum is represented by its R-factor.
#pragma once

#include "metaspan/geometry/coordinates.hpp"

namespace metaspan {

/// Draws the R-factor of V T + U A, (17). V has t orthonormal columns of length `rest`, and U is a
/// Haar-distributed frame of r columns of length `rest`, independent of V, T and A. T has size (t,
/// k) and A has size (r, k), with t <= rest and r <= rest.
Mat add_frame(const Mat& T, const Mat& A, double rest, Sequence& draws);

/// Computes the R-factor of small matrices stacked on top of each other. When the buffer of a
/// RowStack is full, the rows in the buffer are replaced by their R-factor, so that the memory does
/// not grow with the number of rows.
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

/// Draws T of (18): L^T F with L = bartlett(rows of F, rest). T^T T has the same distribution as
/// G^T G, where G has `rest` independent Gaussian rows with covariance F^T F.
Mat gaussian_matrix(const Mat& F, double rest, Sequence& draws);

}  // namespace metaspan
