// The two sweeps over the data of a round: the first sweep computes X B and Gram matrices, (5), and
// the second sweep computes the gradient, (10).
#pragma once

#include "metaspan/base/cancel.hpp"
#include "metaspan/base/shard.hpp"
#include "metaspan/data/blocks.hpp"
#include "metaspan/sweeps/task_products.hpp"

namespace metaspan {

/// The first sweep multiplies kProjectedColumns columns of X at a time, so that the rows of B for
/// these columns stay in a cache. The second sweep computes kCombinedRows rows of the gradient at a
/// time.
constexpr Index kProjectedColumns = 1024;
constexpr Index kCombinedRows = 256;

/// Returns how many leaves of a task with at most `rows` samples a thread of the first sweep takes
/// together, for rounds of n tasks.
Index leaves_together(const Shard& shard, Index rows, Index n);

/// Makes the first sweep, (5), over tasks whose X is in memory. The sweep computes Z = X B and the
/// needed Gram matrices, without normalisation, and writes them to the first n elements of
/// `products`, reusing the memory of these elements. The sums over the leaves of all d columns are
/// added in a tree. `tasks` and B have the columns of this process.
template <class XScalar, class BScalar>
void first_sweep(const BScalar* B,  // (d, k)
                 Index k, const TaskSet<XScalar>& tasks, const TaskSelection& taken,
                 GramsNeeded needed, const Shard& shard, int threads, Cancel* cancel,
                 std::vector<TaskProducts>& products);  // out, >= taken.n

/// Computes Z = X B of all tasks. The X of the tasks may be in memory or in a store.
template <class XScalar, class BScalar>
std::vector<TaskProducts> features_of_all(const BScalar* B,  // (d, k)
                                          Index k, const TaskSet<XScalar>& tasks, int threads,
                                          Cancel* cancel);

/// Makes the second sweep, (10): computes out <- [start +] the sum of X^T C over the parts, in the
/// order of the parts. The sweep completes one tile of rows of the gradient at a time.
template <class XScalar, class BScalar>
void second_sweep(const std::vector<Part<XScalar>>& parts, Index d, Index k,
                  const BScalar* start,  // (d, k), or null; may be out
                  BScalar* out,          // (d, k)
                  int threads, Cancel* cancel);

}  // namespace metaspan
