// The Gram matrix of all samples of a batch, (24), which the dual route computes once.
#pragma once

#include <algorithm>

#include "metaspan/algebra/method.hpp"
#include "metaspan/base/cancel.hpp"
#include "metaspan/data/samples.hpp"

namespace metaspan {

/// The Gram matrix G of (24) of all normalised samples of a batch. The first rows of G belong to
/// the samples of the inner sets, in the order of the tasks, and the later rows to the samples of
/// the outer sets. An outer set that is also the inner set of its task has no further rows.
struct DualGram {
  Mat G;                            // (N, N)
  std::vector<Index> inner, outer;  // (tasks,)  first row of each task's sets
  Index inner_rows = 0;             // number of inner samples
};

/// Which inner products of pairs of inner samples are computed: those of all pairs, only those of
/// two samples of the same task (the K of this task), or none.
enum class InnerProducts { all, own, none };

/// Returns which inner products of pairs of inner samples the rounds of a method read. The gradient
/// of a first-order method combines outer samples only, so its rounds read at most the K of each
/// task.
inline InnerProducts inner_products_of(const Method& method) {
  if (method.has_inner_part()) return InnerProducts::all;
  return method.adapt_B ? InnerProducts::own : InnerProducts::none;
}

/// Returns how many of the d columns of X are held in double at a time, each for all N samples.
inline Index tile_columns(Index N) {
  constexpr Index kTileBytes = 1 << 23, kLeast = 512, kMost = 1 << 15;
  return std::clamp(kTileBytes / (8 * N), kLeast, kMost);
}

/// Computes G in O(N^2 d) by matrix products. X is read once.
template <class XScalar>
DualGram make_dual_gram(const TaskSet<XScalar>& tasks, InnerProducts wanted, int threads,
                        Cancel* cancel);

}  // namespace metaspan
