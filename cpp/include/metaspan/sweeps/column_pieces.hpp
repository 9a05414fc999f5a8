// Pieces of columns of X that are processed apart, and the transposes of matrices with d rows.
#pragma once

#include <algorithm>

#include "metaspan/base/parallel.hpp"
#include "metaspan/base/sizes.hpp"

namespace metaspan {

/// The division of the columns of this process into pieces whose results are not added. The pieces
/// begin at multiples of kColumns and have about equal numbers of columns.
class ColumnPieces {
 public:
  ColumnPieces(Index d, Index most) : d_(d) {
    const Index pieces = ceil_div(d, most);
    width_ = round_up(ceil_div(d, pieces), kColumns);
    count_ = ceil_div(d, width_);
  }
  Index count() const { return count_; }
  Index width() const { return width_; }
  Index begin(Index piece) const { return std::min(d_, piece * width_); }
  Index size(Index piece) const { return begin(piece + 1) - begin(piece); }

 private:
  static constexpr Index kColumns = 32;
  Index d_, width_, count_;
};

/// Returns the pieces of columns for the second sweep. There are at least kLeast pieces if d is
/// large enough, so that all threads have work. The sums of a piece stay in a cache while all rows
/// of a block are added.
inline ColumnPieces combine_pieces(Index d) {
  constexpr Index kMost = 2048, kLeast = 16;
  return {d, std::clamp<Index>(ceil_div(d, kLeast), 32, kMost)};
}

/// Transposes B (d, k) to B^T (k, d).
inline void transpose_columns(const double* B, Index d, Index k, double* B_t, int threads) {
  const ColumnPieces pieces(d, 1024);
  parallel_for(threads, pieces.count(), [&](Index piece, int) {
    const Index begin = pieces.begin(piece), end = begin + pieces.size(piece);
    for (Index j = 0; j < k; ++j) {
      for (Index i = begin; i < end; ++i) B_t[j * d + i] = B[i * k + j];
    }
  });
}

/// Transposes B^T (k, d) to B (d, k).
inline void transpose_rows(const double* B_t, Index d, Index k, double* B, int threads) {
  const ColumnPieces pieces(d, 1024);
  parallel_for(threads, pieces.count(), [&](Index piece, int) {
    const Index begin = pieces.begin(piece), end = begin + pieces.size(piece);
    for (Index i = begin; i < end; ++i) {
      for (Index j = 0; j < k; ++j) B[i * k + j] = B_t[j * d + i];
    }
  });
}

}  // namespace metaspan
