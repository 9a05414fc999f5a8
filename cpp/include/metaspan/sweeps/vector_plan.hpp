// How the vector route cuts its work, and what it holds: for the route itself and for estimates.
#pragma once

#include <algorithm>

#include "metaspan/algebra/method.hpp"
#include "metaspan/base/sizes.hpp"
#include "metaspan/data/data_sizes.hpp"

namespace metaspan {

/// What the route keeps of tasks.
struct VectorPlan {
  Index d, k;
  Index terms;  // vectors of grad_B a task
  Index inner;  // vectors of the inner loop a task, where they are no terms
  Index panel;  // tasks that meet a piece of B together
  Index most;   // tasks of the largest panel
  Index block;  // tasks whose terms are kept together

  VectorPlan(const Method& method, Index d, Index k, Index tasks);

  Index panels(Index n) const { return ceil_div(std::min(block, n), panel); }
};

/// Threads that take panels of their own, and threads that share a panel.
struct Sharing {
  int groups, shares;
};

/// Of rounds of n tasks with so many bytes of X, those of the largest inner and outer set.
Sharing sharing_of(const VectorPlan& plan, Index n, double task_bytes, bool sparse, int threads);

/// Rows of X that are made and held for a task.
struct HeldRows {
  Index inner, outer;
  bool stay;  // the inner set is made once
};

/// Blocks of both sets, or whole inner sets where they are passed over again and fit.
HeldRows held_rows(Index tasks, Index row_bytes, Index most_in, bool again, bool in_blocks);

/// Bytes of the vectors of a route with so many groups of threads: B^T and B w, terms, directions,
/// inner loops.
double vector_bytes(const VectorPlan& plan, int groups);

double vector_memory(const Method& method, const DataSizes& sizes, int threads);

/// What rounds on rows that are made take beside the vector route's own work.
struct SampledCost {
  double vectors, rows, truth;  // bytes
  bool stay;                    // inner sets are made once a round
  double numbers, calls;        // that are drawn, and of kernels
};

/// `in_blocks` where a function of the user's makes rows.
SampledCost sampled_cost(const Method& method, const DataSizes& sizes, bool in_blocks, int threads);

}  // namespace metaspan
