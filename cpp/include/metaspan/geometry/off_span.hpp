// What the tasks of a round add to B off the span of the state, known up to an orthogonal factor
// from the left: (17) and (18).
#pragma once

#include "metaspan/geometry/coordinates.hpp"

namespace metaspan {

/// The R-factor of T + U A, in law, where T (t, k) stands for V T with orthonormal V in `rest`
/// dimensions, and U (rest, rows of A) is a Haar-distributed frame, independent of V and of A,
/// (17). t and the rows of A are at most `rest`.
Mat add_frame(const Mat& T, const Mat& A, double rest, Sequence& draws);

/// Rows of small matrices one below the other, folded into an R-factor as they come.
class RowStack {
 public:
  explicit RowStack(Index k) : rows_(kRows + k, k) {}
  void clear() { filled_ = 0; }
  void add(const Mat& A);  // (rows, k)
  Mat factor();            // (min(rows in all, k), k)

 private:
  static constexpr Index kRows = 64;
  void fold();
  Mat rows_;
  Index filled_ = 0;
};

/// One Gaussian matrix in `rest` dimensions with row covariance F^T F, by its R-factor, (18).
Mat gaussian_matrix(const Mat& F, double rest, Sequence& draws);

}  // namespace metaspan
