// How the vector route splits its work, and how much memory it holds. Both the vector route and the
// estimates of its cost call these functions.
#pragma once

#include <algorithm>

#include "metaspan/algebra/method.hpp"
#include "metaspan/base/sizes.hpp"
#include "metaspan/data/data_sizes.hpp"

namespace metaspan {

/// How many tasks the vector route processes together, and how many vectors it keeps.
struct VectorPlan {
  Index d, k;
  Index terms;    // terms of grad_B for each task
  bool features;  // inner loops use Z = X B instead of X
  Index inner;    // vectors of the inner loop for each task that are not terms
  Index panel;    // tasks that share each read of B
  Index most;     // tasks of the largest panel
  Index block;    // tasks whose terms are kept at a time

  /// `row_bytes` is the number of bytes in a row of X, or 0 if X is sparse or generated.
  VectorPlan(const Method& method, Index d, Index k, Index tasks, Index row_bytes);

  /// Returns the number of panels in a block, for rounds of n tasks.
  Index panels(Index n) const { return ceil_div(std::min(block, n), panel); }
};

/// Returns the plan for rounds on samples of the given sizes.
VectorPlan plan_of(const Method& method, const DataSizes& sizes);

/// The number of groups of threads, and the number of threads in a group. Each group processes one
/// panel at a time, and all threads of the group share this panel.
struct Sharing {
  int groups, shares;
};

/// Returns how threads share rounds of n tasks. `task_bytes` is the number of bytes of X in the
/// largest inner set plus that in the largest outer set.
Sharing sharing_of(const VectorPlan& plan, Index n, double task_bytes, bool sparse, int threads);

/// Generated rows of X that are held for a task.
struct HeldRows {
  Index inner, outer;
  bool stay;  // the inner set is generated once a round
};

/// Returns how many rows of X a pass multiplies by u before it multiplies them by their residuals.
Index rows_at_a_time(Index whole_row,  // bytes of a row over the columns of all processes
                     bool in_float32, Index ranks, int threads);

/// Returns how many generated rows are held: whole inner sets if a round makes several passes over
/// inner sets (`again`) and whole inner sets fit, otherwise a block of rows of each set.
HeldRows held_rows(Index tasks, Index row_bytes, Index most_in, bool again, bool in_blocks);

/// Returns the bytes of the vectors of a route with `groups` groups of threads: B^T, B w, the terms
/// of grad_B, the vectors B V + terms, and the vectors of the inner loops.
double vector_bytes(const VectorPlan& plan, int groups);

/// Returns the bytes of the vectors for rounds on arrays, plus the bytes of Z if the vector route
/// forms Z.
double vector_memory(const Method& method, const DataSizes& sizes, int threads);

/// The cost of generating rows, in addition to the work of the vector route.
struct SampledCost {
  double vectors, rows, truth;  // bytes of each
  bool stay;                    // inner sets are generated once a round
  double numbers, calls;        // numbers drawn, and kernel calls, in a round
};

/// Returns the cost of generating rows. `in_blocks` is true if a function of the user supplies the
/// rows, and `with_xi` if tasks have parts xi of their own, (33).
SampledCost sampled_cost(const Method& method, const DataSizes& sizes, bool in_blocks, int threads,
                         bool with_xi);

}  // namespace metaspan
