// Products of matrices with generated rows: samples that every product draws again, so that they
// are never stored.
#pragma once

#include "metaspan/data/truth.hpp"
#include "metaspan/random/features.hpp"
#include "metaspan/sweeps/row_products.hpp"

namespace metaspan {

/// n tasks with m generated rows each. X (N, d) has the rows of all tasks in order, and row r of X
/// is row r % m of task r / m. The rows of X are not yet multiplied by their radii. In a sharded
/// run, a process generates its columns of X; matrices with d rows have the rows of this process.
struct MadeTasks {
  RowMaker maker;
  Index n, m;
  Shard shard;

  Index rows() const { return n * m; }
};

/// Writes the rows of the tasks [first, first + count).
void make_rows(const MadeTasks& tasks, Index first, Index count,
               double* X,  // (count m, d) out
               int threads, Cancel* cancel);

/// Computes the responses <x, theta_i> without noise, and the sums of squares of all rows, which
/// are 0 unless the law is `sphere`; see RowMaker::piece().
void make_responses(const MadeTasks& tasks, const Truth& truth,
                    double* y,        // (N,) out
                    double* squares,  // (N,) out
                    int threads, Cancel* cancel);

/// Computes Z = X B. The bits of all products do not depend on the number of threads.
void features_of_made(const MadeTasks& tasks,
                      const double* B,  // (d, k)
                      Index k,
                      double* Z,  // (N, k) out
                      int threads, Cancel* cancel);

/// Computes X^T C.
void combine_made(const MadeTasks& tasks,
                  const double* C,  // (N, k)
                  Index k,
                  double* out,  // (d, k) out
                  int threads, Cancel* cancel);

/// Computes X^T transform(X B). The rows of a block of tasks are generated once, and stored until
/// both products of the block are computed.
void combine_features_of_made(const MadeTasks& tasks,
                              const double* B,  // (d, k)
                              Index k, const RowTransform& transform,
                              double* out,  // (d, k) out
                              int threads, Cancel* cancel);

}  // namespace metaspan
