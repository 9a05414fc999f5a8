// The division of the vector route's work into panels and blocks, and the memory that it takes. The
// route itself and the estimates of its cost use the same plan.
#pragma once

#include <algorithm>

#include "metaspan/algebra/method.hpp"
#include "metaspan/base/sizes.hpp"
#include "metaspan/data/data_sizes.hpp"

namespace metaspan {

/// Sizes of the memory that the vector route keeps for tasks.
struct VectorPlan {
  Index d, k;
  Index terms;  // terms v c^T of grad_B per task
  Index inner;  // vectors of the inner loop per task that are not terms of grad_B too
  Index panel;  // tasks that share a read of each piece of B
  Index most;   // tasks of the largest panel
  Index block;  // tasks whose terms are kept at a time

  VectorPlan(const Method& method, Index d, Index k, Index tasks);

  Index panels(Index n) const { return ceil_div(std::min(block, n), panel); }
};

/// The division of the threads of a round: groups, each with a panel of its own, and the threads of
/// a group, which share its panel.
struct Sharing {
  int groups, shares;
};

/// Divides the threads of a round of n tasks. `task_bytes` are the bytes of X of the largest inner
/// and the largest outer set.
Sharing sharing_of(const VectorPlan& plan, Index n, double task_bytes, bool sparse, int threads);

/// Numbers of generated rows of X that are held for a task at a time.
struct HeldRows {
  Index inner, outer;
  bool stay;  // whether the whole inner set is generated once and kept
};

/// Returns the rows that a task holds: a block of each set, or the whole inner set if it is passed
/// over `again` and fits.
HeldRows held_rows(Index tasks, Index row_bytes, Index most_in, bool again, bool in_blocks);

/// Returns the bytes of the vectors of a route with `groups` groups of threads: B^T and B w, terms,
/// directions, and vectors of the inner loop.
double vector_bytes(const VectorPlan& plan, int groups);

double vector_memory(const Method& method, const DataSizes& sizes, int threads);

/// The cost of rounds on generated rows: the memory, and the work in addition to that of the vector
/// route on stored rows.
struct SampledCost {
  double vectors, rows, truth;  // bytes
  bool stay;                    // whether inner sets are generated only once in a round
  double numbers, calls;        // random numbers, kernel calls
};

/// Returns the cost of rounds on generated rows. `in_blocks`: a user's function generates the rows.
SampledCost sampled_cost(const Method& method, const DataSizes& sizes, bool in_blocks, int threads);

}  // namespace metaspan
