// The two sweeps over the data of a round: products with B, (5), and the gradient, (10).
#pragma once

#include "metaspan/base/cancel.hpp"
#include "metaspan/data/blocks.hpp"
#include "metaspan/sweeps/task_products.hpp"

namespace metaspan {

/// Columns of X that the first sweep takes at a time, so that their rows of B stay in the cache,
/// and rows of d that the second sweep takes at a time.
constexpr Index kProjectedColumns = 1024;
constexpr Index kCombinedRows = 256;

/// Returns the number of pieces of columns into which the first sweep splits d, for n tasks a round
/// of at most `rows` samples each. It depends on shapes alone.
Index pieces_of(Index d, Index rows, Index n);

template <class XScalar>
Index pieces_of(const TaskSet<XScalar>& tasks, Index n) {
  return pieces_of(tasks.d, tasks.most_in() + tasks.most_out(), n);
}

/// The first sweep, (5), over tasks whose X is in memory: computes Z = X B and the needed Gram
/// matrices, not normalised, into the first n elements of `products`, whose memory is reused.
/// Pieces of columns are summed in their order.
template <class XScalar, class BScalar>
void first_sweep(const BScalar* B,  // (d, k)
                 Index k, const TaskSet<XScalar>& tasks, const TaskSelection& taken,
                 GramsNeeded needed, Index pieces, int threads, Cancel* cancel,
                 std::vector<TaskProducts>& products);  // out, >= taken.n

/// Computes Z = X B of all tasks, in memory or in a store.
template <class XScalar, class BScalar>
std::vector<TaskProducts> features_of_all(const BScalar* B,  // (d, k)
                                          Index k, const TaskSet<XScalar>& tasks, int threads,
                                          Cancel* cancel);

/// The second sweep, (10): computes out <- [start +] sum of X^T C over the parts, in their order, a
/// tile of rows of d at a time.
template <class XScalar, class BScalar>
void second_sweep(const std::vector<Part<XScalar>>& parts, Index d, Index k,
                  const BScalar* start,  // (d, k), or null; may be out
                  BScalar* out,          // (d, k)
                  int threads, Cancel* cancel);

}  // namespace metaspan
