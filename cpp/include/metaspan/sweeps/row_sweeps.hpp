// The two sweeps over rows of X, Z = X B and X^T C, for rows in memory and for rows that are
// generated. A sweep reads or generates X once.
#pragma once

#include <algorithm>

#include "combine.hpp"
#include "features.hpp"
#include "metaspan/base/cancel.hpp"
#include "metaspan/base/parallel.hpp"
#include "metaspan/base/sizes.hpp"

namespace metaspan {

/// The rows [first, first + count) of a block; a sweep processes them together.
struct RowGroup {
  Index first, count;
};

/// Columns of the rows of a group.
template <class Scalar>
struct RowColumns {
  const Scalar* X;
  Index stride;
};

/// The division of d columns into pieces. It depends only on d. The pieces begin at multiples of
/// kColumns and have about equal numbers of columns.
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

/// Returns the pieces of columns for the first sweep; a piece of B^T fits an L2 cache.
inline ColumnPieces feature_pieces(Index d) { return {d, kVectorPiece}; }

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

/// Returns how many groups of rows a thread takes at a time, so that an item of work has about
/// kNumbers numbers of X.
inline Index groups_at_once(Index groups, Index rows, Index columns) {
  constexpr Index kNumbers = 1 << 16;
  return std::clamp<Index>(kNumbers * groups / std::max<Index>(1, rows * columns), 1, groups);
}

/// Makes the first sweep: computes Z = X B for the rows of all groups. source(group, begin,
/// columns, thread) returns columns of the rows of a group; their memory stays valid until the next
/// call by the same thread. An element of Z is a sum over the pieces of columns in order, so it
/// does not depend on the groups.
template <class Source>
void sweep_rows(Source&& source, const std::vector<RowGroup>& groups, Index d,
                const double* B_t,  // (k, d)
                Index k,
                double* Z,  // (rows, k) out
                int threads, Cancel* cancel) {
  if (groups.empty()) return;
  const ColumnPieces pieces = feature_pieces(d);
  const Index count = static_cast<Index>(groups.size()), P = pieces.count();
  const Index rows = groups.back().first + groups.back().count;
  Index most = 0;
  for (const RowGroup& group : groups) most = std::max(most, group.count);
  Mat parts(P > 1 ? P * rows : 0, k);  // sums over the pieces
  std::vector<std::vector<double>> sums(static_cast<std::size_t>(threads));
  const Index some = groups_at_once(count, rows, pieces.width());
  parallel_for(threads, ceil_div(count, some) * P, cancel, [&](Index item, int thread) {
    const Index piece = item % P, begin = item / P * some;
    const Index first = pieces.begin(piece), columns = pieces.size(piece);
    auto& scratch = sums[static_cast<std::size_t>(thread)];
    scratch.resize(static_cast<std::size_t>(most * k * kernels::kLane));
    for (Index g = begin; g < std::min(count, begin + some); ++g) {
      const RowGroup& group = groups[static_cast<std::size_t>(g)];
      const auto [X, stride] = source(g, first, columns, thread);
      double* out = P > 1 ? parts.data() + (piece * rows + group.first) * k : Z + group.first * k;
      kernels::sweep_features(group.count, columns, k, X, stride, B_t + first, d, scratch.data(),
                              out);
    }
  });
  throw_if_requested(cancel);
  if (P == 1) return;
  parallel_for(threads, ceil_div(rows, 256), [&](Index item, int) {
    const Index begin = item * 256 * k, end = std::min(rows, (item + 1) * 256) * k;
    for (Index i = begin; i < end; ++i) {
      double sum = parts.data()[i];
      for (Index piece = 1; piece < P; ++piece) sum += parts.data()[piece * rows * k + i];
      Z[i] = sum;
    }
  });
}

/// Makes the second sweep: adds C^T X to `sums`, over the rows of all groups in order. The pieces
/// of columns are disjoint, so threads may process them in any order.
template <class Source>
void combine_rows(Source&& source, const std::vector<RowGroup>& groups, Index d,
                  const double* C,  // (rows, k)
                  Index k,
                  double* sums,  // (k, d)
                  int threads, Cancel* cancel) {
  const ColumnPieces pieces = combine_pieces(d);
  parallel_for(threads, pieces.count(), cancel, [&](Index piece, int thread) {
    const Index first = pieces.begin(piece), columns = pieces.size(piece);
    for (std::size_t g = 0; g < groups.size(); ++g) {
      if (cancel != nullptr) {
        cancel->poll();
        if (cancel->requested()) return;
      }
      const auto [X, stride] = source(static_cast<Index>(g), first, columns, thread);
      kernels::sweep_combine_matrix(groups[g].count, columns, k, X, stride, C + groups[g].first * k,
                                    sums + first, d);
    }
  });
  throw_if_requested(cancel);
}

}  // namespace metaspan
