// The Gram matrix of all samples of a batch: what fixed data cost once, (24).
#pragma once

#include <algorithm>

#include "metaspan/algebra/method.hpp"
#include "metaspan/base/cancel.hpp"
#include "metaspan/data/samples.hpp"

namespace metaspan {

/// Gram matrix of all samples of a batch, normalised: the only sweep over the data that the dual
/// route, (24), ever needs. Rows: the inner sets one below the other, then the outer sets that are
/// not the inner ones too.
struct DualGram {
  Mat G;                            // (N, N)
  std::vector<Index> inner, outer;  // (tasks,)  first row of a task's sets
  Index inner_rows = 0;             // of all inner sets
};

/// Which products of the inner sets with each other are wanted: all, those of one task (K), none.
enum class InnerProducts { all, own, none };

/// What the rounds of a method read of G: first-order ones combine no inner samples.
inline InnerProducts inner_products_of(const Method& method) {
  if (method.has_inner_part()) return InnerProducts::all;
  return method.adapt_B ? InnerProducts::own : InnerProducts::none;
}

/// Columns of X of all N samples that are in memory in double at a time.
inline Index tile_columns(Index N) {
  constexpr Index kTileBytes = 1 << 23, kLeast = 512, kMost = 1 << 15;
  return std::clamp(kTileBytes / (8 * N), kLeast, kMost);
}

/// O(N^2 d), at the rate of a matrix product; X is read once.
template <class XScalar>
DualGram make_dual_gram(const TaskSet<XScalar>& tasks, InnerProducts wanted, int threads,
                        Cancel* cancel);

}  // namespace metaspan
