// The two sweeps over the data of a round, (5) and (10), for as many columns as B has.
#pragma once

#include "metaspan/base/cancel.hpp"
#include "metaspan/data/blocks.hpp"
#include "metaspan/sweeps/task_products.hpp"

namespace metaspan {

constexpr Index kProjectedColumns = 1024;  // of X: their rows of B stay in the cache
constexpr Index kCombinedRows = 256;       // of d at a time in the second sweep

/// Pieces of d that the first sweep of a round is cut into, by shape alone: of n tasks with so many
/// rows of X at most.
Index pieces_of(Index d, Index rows, Index n);

template <class XScalar>
Index pieces_of(const TaskSet<XScalar>& tasks, Index n) {
  return pieces_of(tasks.d, tasks.most_in() + tasks.most_out(), n);
}

/// The first sweep, (5), over tasks whose X is in memory: X B and the Grams, not normalised yet,
/// into the first blocks of `found`. What is there is reused.
template <class XScalar, class BScalar>
void first_sweep(const BScalar* B,  // (d, k)
                 Index k, const TaskSet<XScalar>& tasks, const TaskSelection& taken,
                 GramsNeeded needed, Index pieces, int threads, Cancel* cancel,
                 std::vector<TaskProducts>& found);  // out, >= taken.n

/// X B alone, of all tasks, wherever their X is.
template <class XScalar, class BScalar>
std::vector<TaskProducts> features_of_all(const BScalar* B,  // (d, k)
                                          Index k, const TaskSet<XScalar>& tasks, int threads,
                                          Cancel* cancel);

/// The second sweep: out <- [start +] the sum over the parts of X^T C, (10), in their order.
template <class XScalar, class BScalar>
void second_sweep(const std::vector<Part<XScalar>>& parts, Index d, Index k,
                  const BScalar* start,  // (d, k), or null; may be out
                  BScalar* out,          // (d, k)
                  int threads, Cancel* cancel);

}  // namespace metaspan
