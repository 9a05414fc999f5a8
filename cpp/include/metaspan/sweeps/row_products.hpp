// Products of matrices with the rows of all tasks. Estimators see the samples only as such
// products. In a sharded run, matrices with d rows have the rows of this process, and all processes
// make the same calls; N stays the number of rows of X.
#pragma once

#include <functional>

#include "metaspan/sweeps/sweeps.hpp"

namespace metaspan {

// X (N, d) has the rows of all tasks in the order of the tasks. The rows of a task are its inner
// samples followed by its outer samples; samples that serve both loops are counted once.

/// Returns the first row of every task, and N: (n + 1,).
template <class XScalar>
std::vector<Index> row_offsets(const TaskSet<XScalar>& tasks);

/// Writes the responses of all rows as doubles.
template <class XScalar>
void copy_responses(const TaskSet<XScalar>& tasks,
                    double* y);  // (N,) out

/// Maps the rows Z of X B of the tasks [first, first + count) to a matrix C with as many rows.
using RowTransform = std::function<void(Index first, Index count,
                                        const double* Z,  // (rows, k)
                                        double* C)>;      // (rows, k) out

/// Computes Z = X B. Like all functions of this file, it reads X once, and its bits do not depend
/// on the number of threads or processes, on the storage of X, or on the blocks in which X is read.
template <class XScalar>
void features_of_rows(const TaskSet<XScalar>& tasks,
                      const double* B,  // (d, k)
                      Index k,
                      double* Z,  // (N, k) out
                      int threads, Cancel* cancel);

/// Computes X^T C.
template <class XScalar>
void combine_all_rows(const TaskSet<XScalar>& tasks,
                      const double* C,  // (N, k)
                      Index k,
                      double* out,  // (d, k) out
                      int threads, Cancel* cancel);

/// Computes X^T transform(X B). Dense tasks are processed in blocks that stay in a cache between
/// the two products. `transform` is called on the calling thread, with consecutive ranges of tasks.
/// Blocks are smaller if it is native, since a call in Python is expensive.
template <class XScalar>
void combine_features_of_rows(const TaskSet<XScalar>& tasks,
                              const double* B,  // (d, k)
                              Index k, const RowTransform& transform, bool is_native,
                              double* out,  // (d, k) out
                              int threads, Cancel* cancel);

/// Maps the rows Z of X B of the tasks [first, first + count) to a vector c_i and a head v_i of
/// each task.
using OuterTransform = std::function<void(Index first, Index count,
                                          const double* Z,  // (rows, k)
                                          double* c,        // (rows,)
                                          double* heads)>;  // (count, k)

/// Computes sum_i X_i^T c_i v_i^T, where `transform` computes c_i and v_i from X_i B, in the blocks
/// and on the thread of combine_features_of_rows().
template <class XScalar>
void combine_outer_of_rows(const TaskSet<XScalar>& tasks,
                           const double* B,  // (d, k)
                           Index k, const OuterTransform& transform,
                           double* out,  // (d, k) out
                           int threads, Cancel* cancel);

/// Computes sum_i scales_i X_i^T X_i P v_i v_i^T for dense tasks, the second derivative of the loss
/// in B at the heads v_i, applied to P. With intercepts, X_i is less the mean of its rows.
template <class XScalar>
void combine_curvature(const TaskSet<XScalar>& tasks,
                       const double* P,  // (d, k)
                       Index k,
                       const double* heads,   // (n, k)
                       const double* scales,  // (n,)
                       bool intercepts,
                       double* out,  // (d, k) out
                       int threads, Cancel* cancel);

/// Computes the Gram matrices X_i X_i^T, (m_i, m_i), of the tasks [first, first + count).
template <class XScalar>
std::vector<Mat> grams_of_rows(const TaskSet<XScalar>& tasks, Index first, Index count, int threads,
                               Cancel* cancel);

}  // namespace metaspan
