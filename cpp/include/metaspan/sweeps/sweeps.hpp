// The two sweeps over the data of a round: the first sweep computes X B and Gram matrices, (5), and
// the second sweep computes the gradient, (10).
#pragma once

#include "metaspan/base/cancel.hpp"
#include "metaspan/data/blocks.hpp"
#include "metaspan/sweeps/task_products.hpp"

namespace metaspan {

/// The first sweep multiplies kProjectedColumns columns of X at a time, so that the rows of B for
/// these columns stay in a cache. The second sweep computes kCombinedRows rows of the gradient at a
/// time.
constexpr Index kProjectedColumns = 1024;
constexpr Index kCombinedRows = 256;

/// Returns the number of pieces into which the first sweep splits the d columns, for rounds of n
/// tasks with at most `rows` samples each. The number of pieces depends on shapes alone.
Index pieces_of(Index d, Index rows, Index n);

template <class XScalar>
Index pieces_of(const TaskSet<XScalar>& tasks, Index n) {
  return pieces_of(tasks.d, tasks.most_in() + tasks.most_out(), n);
}

/// Makes the first sweep, (5), over tasks whose X is in memory. The sweep computes Z = X B and the
/// needed Gram matrices, without normalisation, and writes them to the first n elements of
/// `products`, reusing the memory of these elements. Partial sums over pieces of columns are added
/// in the order of the pieces.
template <class XScalar, class BScalar>
void first_sweep(const BScalar* B,  // (d, k)
                 Index k, const TaskSet<XScalar>& tasks, const TaskSelection& taken,
                 GramsNeeded needed, Index pieces, int threads, Cancel* cancel,
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
