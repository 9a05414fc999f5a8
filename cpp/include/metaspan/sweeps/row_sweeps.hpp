// The two sweeps over rows of X, Z = X B and X^T C, for rows in memory and for rows that are
// generated. A sweep reads or generates X once. In a sharded run, X has the columns of this
// process, and so have the rows of B and of X^T C; the first sweep ends with an exchange, which
// adds Z.
#pragma once

#include <algorithm>

#include "combine.hpp"
#include "features.hpp"
#include "metaspan/base/cancel.hpp"
#include "metaspan/base/parallel.hpp"
#include "metaspan/base/shard.hpp"
#include "metaspan/base/sizes.hpp"
#include "metaspan/sweeps/column_pieces.hpp"

namespace metaspan {

/// The rows [first, first + count) of a block; a sweep processes them together.
struct RowGroup {
  Index first, count;
};

/// Columns of the rows of a group, as runs, in order.
template <class Scalar>
using RowRuns = std::vector<kernels::Run<Scalar>>;

/// Numbers that lie one after the other in memory and are read after the current rows.
template <class Scalar>
struct Upcoming {
  const Scalar* begin = nullptr;
  Index count = 0;
  /// Returns the address of number i if `some` numbers from there are known, else null.
  const Scalar* part(Index i, Index some) const { return i + some > count ? nullptr : begin + i; }
};

/// Returns the pieces of columns for the first sweep; a piece of B^T fits an L2 cache. The sums
/// over the pieces are added by sum_pieces().
inline Shard::Pieces feature_pieces(const Shard& shard) { return shard.pieces(kVectorPiece); }

/// Returns the token that a product may poll: none in a sharded run, where the other processes
/// would wait for an exchange with a process that has stopped.
inline Cancel* pollable(const Shard& shard, Cancel* cancel) {
  return shard.is_shared() ? nullptr : cancel;
}

/// Adds the sums over the pieces of all processes as Shard::sum() does, with several threads.
/// `parts` has `count` numbers of each piece, and is overwritten.
inline void sum_pieces(const Shard& shard, const Shard::Pieces& pieces, Index count, double* parts,
                       double* out, int threads) {
  constexpr Index kNumbers = 1 << 12;
  const std::vector<Shard::Node> nodes = shard.nodes(pieces);
  parallel_for(threads, ceil_div(count, kNumbers), [&](Index item, int) {
    const Index first = item * kNumbers, numbers = std::min(kNumbers, count - first);
    double* sum = shard.is_shared() ? parts : out;  // of the first node
    for (std::size_t n = 0; n < nodes.size(); ++n, sum += count) {
      const auto [begin, end] = nodes[n];
      for (Index step = 1; step < end - begin; step *= 2) {
        for (Index i = begin; i + step < end; i += 2 * step) {
          double* left = parts + i * count + first;
          const double* right = left + step * count;
          for (Index c = 0; c < numbers; ++c) left[c] += right[c];
        }
      }
      if (sum != parts + begin * count) {
        std::copy_n(parts + begin * count + first, numbers, sum + first);
      }
    }
  });
  if (shard.is_shared()) shard.sum_nodes(count, parts, out);
}

/// Returns how many groups of rows a thread takes at a time, so that an item of work has about
/// kNumbers numbers of X.
inline Index groups_at_once(Index groups, Index rows, Index columns) {
  constexpr Index kNumbers = 1 << 16;
  return std::clamp<Index>(kNumbers * groups / std::max<Index>(1, rows * columns), 1, groups);
}

/// Makes the first sweep: computes Z = X B for the rows of all groups. source(group, begin,
/// columns, thread, runs) sets `runs` to columns of the rows of a group; their memory stays valid
/// until the next call by the same thread. An element of Z is a sum over pieces of columns in the
/// order of Shard, so it depends neither on the groups nor on the processes.
template <class Scalar, class Source>
void sweep_rows(Source&& source, const std::vector<RowGroup>& groups, const Shard& shard,
                const double* B_t,  // (k, d)
                Index k,
                double* Z,  // (rows, k) out
                int threads, Cancel* cancel) {
  if (groups.empty()) return;
  const Index d = shard.size();
  const Shard::Pieces pieces = feature_pieces(shard);
  const Index count = static_cast<Index>(groups.size()), P = pieces.count;
  const Index rows = groups.back().first + groups.back().count;
  Index most = 0;
  for (const RowGroup& group : groups) most = std::max(most, group.count);
  const bool adds = P > 1 || shard.is_shared();
  Mat parts(adds ? P * rows : 0, k);  // sums over the pieces
  double* sums_of_pieces = adds ? parts.data() : Z;
  const Index some = groups_at_once(count, rows, pieces.widest());
  const auto needed = static_cast<std::size_t>(kernels::features_scratch(most, k));
  parallel_for(threads, ceil_div(count, some) * P, cancel, [&](Index item, int thread) {
    const Index piece = item % P, begin = item / P * some;
    const Index first = pieces.begin(piece), columns = pieces.size(piece);
    // Kept, since a sweep may have a few rows alone.
    thread_local std::vector<double> scratch;
    thread_local RowRuns<Scalar> runs;
    thread_local std::vector<kernels::FeatureRows<Scalar>> blocks;
    scratch.resize(std::max(scratch.size(), needed));
    for (Index g = begin; g < std::min(count, begin + some); ++g) {
      const RowGroup& group = groups[static_cast<std::size_t>(g)];
      source(g, first, columns, thread, runs);
      blocks.clear();
      double* at = sums_of_pieces + (piece * rows + group.first) * k;
      for (const kernels::Run<Scalar>& run : runs) {
        blocks.push_back({run.X, run.count, run.stride, at});
        at += run.count * k;
      }
      kernels::sweep_features(blocks.data(), static_cast<Index>(blocks.size()), columns, k,
                              B_t + first, d, scratch.data());
    }
  });
  throw_if_requested(cancel);
  if (adds) sum_pieces(shard, pieces, rows * k, parts.data(), Z, threads);
}

/// Makes the second sweep: adds C^T X to `sums`, over the rows of all groups in order. The pieces
/// of columns are disjoint, so threads may process them in any order. Each prefetches its share of
/// `upcoming`, which pays if the rows are in a cache.
template <class Scalar, class Source>
void combine_rows(Source&& source, const std::vector<RowGroup>& groups, Index d,
                  const double* C,  // (rows, k)
                  Index k,
                  double* sums,  // (k, d)
                  const Upcoming<Scalar>& upcoming, int threads, Cancel* cancel) {
  if (groups.empty()) return;
  const ColumnPieces pieces = combine_pieces(d);
  const Index rows = groups.back().first + groups.back().count;
  parallel_for(threads, pieces.count(), cancel, [&](Index piece, int thread) {
    const Index first = pieces.begin(piece), columns = pieces.size(piece);
    thread_local RowRuns<Scalar> runs;
    for (std::size_t g = 0; g < groups.size(); ++g) {
      if (cancel != nullptr) {
        cancel->poll();
        if (cancel->requested()) return;
      }
      source(static_cast<Index>(g), first, columns, thread, runs);
      const RowGroup& group = groups[g];
      const Index before = rows * first + group.first * columns;  // numbers of X before these
      kernels::sweep_combine_matrix(runs.data(), static_cast<Index>(runs.size()), columns, k,
                                    C + group.first * k, sums + first, d,
                                    upcoming.part(before, group.count * columns));
    }
  });
  throw_if_requested(cancel);
}

}  // namespace metaspan
