#include "metaspan/sweeps/row_products.hpp"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "metaspan/base/error.hpp"
#include "metaspan/sweeps/row_sweeps.hpp"

namespace metaspan {
namespace {

/// The most bytes of X per thread in a block of tasks whose rows two products read, one after the
/// other. The rows stay in the L2 caches. If the transform between the products is called in
/// Python, blocks are larger, because a call takes as long as reading many rows.
constexpr Index kBlockBytes = 1 << 20, kCalledBlockBytes = 1 << 24;
/// The most bytes of X in a block whose successor is prefetched: an L3 cache holds both. A block of
/// one task can be larger than blocks should be.
constexpr Index kPrefetchedBytes = 1 << 23;
/// Rows of X that a sweep processes together, so that a tile of B is packed once for all of them.
constexpr Index kGroupRows = 48;

/// Returns the number of outer samples of a task that are rows of X in addition to the inner ones.
template <class XScalar>
Index more_rows(const TaskSet<XScalar>& tasks, Index i) {
  return tasks.outer.empty() || tasks.shares(i) ? 0 : tasks.out(i).m;
}

/// Splits the tasks of a block into smaller blocks of at most `most` bytes per process, so that the
/// rows of a block are still in a cache when the second product reads them. All processes make the
/// same split, since they exchange numbers in every block; an exchange is a call in Python.
template <class XScalar>
std::vector<Block> cached_blocks(const TaskSet<XScalar>& tasks, const Shard& shard, Index n,
                                 Index most) {
  if (shard.is_shared()) most = kCalledBlockBytes * shard.ranks();
  std::vector<Block> blocks;
  Index bytes = 0;
  for (Index i = 0; i < n; ++i) {
    const Index rows = tasks.in(i).m + more_rows(tasks, i);
    const Index more = static_cast<Index>(sizeof(XScalar)) * rows * shard.d();
    if (blocks.empty() || bytes + more > most) {
      blocks.push_back({i, 0});
      bytes = 0;
    }
    ++blocks.back().count;
    bytes += more;
  }
  return blocks;
}

/// Returns the rows of dense tasks as runs, each as long as possible.
template <class XScalar>
RowRuns<XScalar> runs_of(const TaskSet<XScalar>& tasks, const TaskSelection& taken) {
  RowRuns<XScalar> runs;
  const auto append = [&](const Samples<XScalar>& set) {
    const auto& [X, stride] = set.dense();
    const bool follows = !runs.empty() && runs.back().stride == stride &&
                         X == runs.back().X + runs.back().count * stride;
    if (!follows) runs.push_back({X, 0, stride});
    runs.back().count += set.m;
  };
  for (Index i = 0; i < taken.n; ++i) {
    append(tasks.in(taken[i]));
    if (more_rows(tasks, taken[i]) > 0) append(tasks.out(taken[i]));
  }
  return runs;
}

/// Returns the first run of the rows of dense tasks, if these rows have no gaps and an L3 cache has
/// room for them beside as many others.
template <class XScalar>
Upcoming<XScalar> upcoming_rows(const TaskSet<XScalar>& tasks, const TaskSelection& taken) {
  const RowRuns<XScalar> runs = runs_of(tasks, taken);
  if (runs.empty() || runs.front().stride != tasks.d) return {};
  const Index count = runs.front().count * tasks.d;
  if (count * static_cast<Index>(sizeof(XScalar)) > kPrefetchedBytes) return {};
  return {runs.front().X, count};
}

/// Collects the rows of dense tasks in groups of up to kGroupRows rows. A group may contain rows of
/// several tasks and of several runs, so that tasks with few samples do not give small groups.
template <class XScalar>
struct RowGroups {
  RowGroups(const TaskSet<XScalar>& tasks, const TaskSelection& taken) {
    const RowRuns<XScalar> all = runs_of(tasks, taken);
    for (const auto& run : all) rows += run.count;
    const Index count = ceil_div(rows, kGroupRows);
    auto run = all.begin();
    Index row = 0, used = 0;  // used: rows of this run that are in a group
    for (Index g = 0; g < count; ++g) {
      const Index end = (g + 1) * rows / count;
      groups.push_back({row, end - row});
      RowRuns<XScalar>& parts = runs.emplace_back();
      while (row < end) {
        const Index some = std::min(end - row, run->count - used);
        parts.push_back({run->X + used * run->stride, some, run->stride});
        row += some;
        used += some;
        if (used == run->count) {
          ++run;
          used = 0;
        }
      }
    }
  }

  /// Sets `out` to the columns of the rows of a group that begin with column `first`.
  void operator()(Index group, Index first, Index, int, RowRuns<XScalar>& out) const {
    out = runs[static_cast<std::size_t>(group)];
    for (auto& run : out) run.X += first;
  }

  Index rows = 0;
  std::vector<RowGroup> groups;
  std::vector<RowRuns<XScalar>> runs;  // of each group
};

/// Returns X B of some sparse tasks, (rows, k).
template <class XScalar>
void sparse_features(const TaskSet<XScalar>& tasks, const TaskSelection& taken, const double* B,
                     Index k, double* Z, int threads, Cancel* cancel) {
  std::vector<TaskProducts> products;
  first_sweep(B, k, tasks, taken, {false, false}, tasks.shard(), threads, cancel, products);
  const auto copy = [&](const Mat& from, Index rows) {
    for (Index r = 0; r < rows; ++r, Z += k) std::copy_n(from.data() + r * from.cols(), k, Z);
  };
  for (Index i = 0; i < taken.n; ++i) {
    copy(products[static_cast<std::size_t>(i)].Z_in, tasks.in(taken[i]).m);
    copy(products[static_cast<std::size_t>(i)].Z_out, more_rows(tasks, taken[i]));
  }
}

/// Computes X^T C of all tasks for sparse X. The rows of C are copied and padded to whole
/// registers, so that the second sweep can read them in place.
template <class XScalar>
void combine_sparse(const TaskSet<XScalar>& tasks,
                    const double* C,  // (N, k)
                    Index k, double* out, int threads, Cancel* cancel) {
  const Index rows = row_offsets(tasks).back(), width = padded(k);
  Mat wide = Mat::Zero(rows, width);
  for (Index r = 0; r < rows; ++r) std::copy_n(C + r * k, k, wide.data() + r * width);
  std::vector<Factors> factors(static_cast<std::size_t>(2 * tasks.size()));
  std::vector<Part<XScalar>> parts;
  const double* row = wide.data();
  const auto append = [&](const Samples<XScalar>& set) {
    Factors& factor = factors[parts.size()];
    factor.borrow(row, set.m, k);
    parts.push_back({&set, &factor});
    row += set.m * width;
  };
  for (Index i = 0; i < tasks.size(); ++i) {
    append(tasks.in(i));
    if (more_rows(tasks, i) > 0) append(tasks.out(i));
  }
  second_sweep(parts, tasks.d, k, static_cast<const double*>(nullptr), out, threads, cancel);
}

/// Calls body(held, taken, block, next) for blocks that together contain all dense tasks, in order.
/// Each block of a store is split into blocks of at most `most` bytes. `next` selects the tasks of
/// the next block if they are in memory, else none.
template <class XScalar, class Body>
void each_task_block(const TaskSet<XScalar>& tasks, const Shard& shard, Index k, Index most,
                     Body&& body) {
  const TaskSelection every{tasks.size()};
  each_block(tasks, every, blocks_of<double>(tasks, every, k, every.n),
             [&](const auto& held, const TaskSelection& taken, const Block& block) {
               const auto parts = cached_blocks(held, shard, taken.n, most);
               for (std::size_t p = 0; p < parts.size(); ++p) {
                 const bool last = p + 1 == parts.size();
                 const TaskSelection next = last ? TaskSelection{} : part_of(taken, parts[p + 1]);
                 body(held, part_of(taken, parts[p]),
                      Block{block.first + parts[p].first, parts[p].count}, next);
               }
             });
}

/// Calls body(rows) for the rows of blocks that together contain all dense tasks, in order.
template <class XScalar, class Body>
void each_row_block(const TaskSet<XScalar>& tasks, const Shard& shard, Index k, Body&& body) {
  each_task_block(tasks, shard, k, kCalledBlockBytes,
                  [&](const auto& held, const TaskSelection& taken, const Block&,
                      const TaskSelection&) { body(RowGroups(held, taken)); });
}

/// Adds sum_i v_i (X_i^T c_i)^T to `sums`, task by task. X_i^T c_i is a vector, so X is read at the
/// cost of a single column, and the outer products take n d k instead of N d k multiplications.
template <class XScalar>
void combine_outer(const TaskSet<XScalar>& tasks, const TaskSelection& taken,
                   const double* c,      // (rows,)
                   const double* heads,  // (tasks, k)
                   Index k,
                   double* sums,  // (k, d)
                   int threads, Cancel* cancel) {
  const ColumnPieces pieces = combine_pieces(tasks.d);
  parallel_for(threads, pieces.count(), cancel, [&](Index piece, int) {
    const Index first = pieces.begin(piece), columns = pieces.size(piece);
    thread_local std::vector<double> terms;  // (tasks, columns)
    terms.resize(static_cast<std::size_t>(taken.n * columns));
    const double* factors = c;
    const auto& append = [&](const Samples<XScalar>& set, auto add, double* out) {
      const auto& [X, stride] = set.dense();
      kernels::sweep_combine<add.value>(set.m, columns, X + first, stride, factors, out);
      factors += set.m;
    };
    for (Index i = 0; i < taken.n; ++i) {
      double* out = terms.data() + i * columns;
      append(tasks.in(taken[i]), std::false_type{}, out);
      if (more_rows(tasks, taken[i]) > 0) append(tasks.out(taken[i]), std::true_type{}, out);
    }
    const kernels::Run<double> vectors{terms.data(), taken.n, columns};
    kernels::sweep_combine_matrix(&vectors, 1, columns, k, heads, sums + first, tasks.d);
  });
  throw_if_requested(cancel);
}

/// Computes c_i = scales_i X_i P v_i for the tasks of a block. The vectors P v_i are formed first,
/// so that X is read at the cost of a single column. A task is processed in steps of kStep rows;
/// how the sum of a row over a piece of the columns is ordered depends only on the place of the row
/// in its set.
template <class XScalar>
void directional_features(const TaskSet<XScalar>& tasks, const TaskSelection& taken,
                          const Shard& shard,
                          const double* P_t,  // (k, d)
                          Index k,
                          const double* heads,     // (tasks, k)
                          const double* scales,    // (tasks,)
                          std::vector<double>& D,  // scratch
                          double* c,               // (rows,) out
                          int threads, Cancel* cancel) {
  constexpr Index kStep = 16;
  const Index d = tasks.d;
  Mat heads_t(k, taken.n);
  for (Index i = 0; i < taken.n; ++i) {
    for (Index j = 0; j < k; ++j) heads_t(j, i) = heads[i * k + j];
  }
  D.assign(static_cast<std::size_t>(taken.n * d), 0.0);
  const ColumnPieces pieces = combine_pieces(d);
  parallel_for(threads, pieces.count(), cancel, [&](Index piece, int) {
    const Index first = pieces.begin(piece);
    const kernels::Run<double> columns{P_t + first, k, d};
    kernels::sweep_combine_matrix(&columns, 1, pieces.size(piece), taken.n, heads_t.data(),
                                  D.data() + first, d);
  });
  struct Step {
    const XScalar* X;
    Index stride, first, rows, task;  // first: among the rows of the block
  };
  std::vector<Step> steps;
  Index rows = 0;
  const auto append = [&](const Samples<XScalar>& set, Index task) {
    const auto& [X, stride] = set.dense();
    for (Index row = 0; row < set.m; row += kStep) {
      const Index some = std::min(kStep, set.m - row);
      steps.push_back({X + row * stride, stride, rows, some, task});
      rows += some;
    }
  };
  for (Index i = 0; i < taken.n; ++i) {
    append(tasks.in(taken[i]), i);
    if (more_rows(tasks, taken[i]) > 0) append(tasks.out(taken[i]), i);
  }
  const Shard::Pieces summed = feature_pieces(shard);
  const Index P = summed.count;
  std::vector<double> parts(static_cast<std::size_t>(P * rows));  // sums over the pieces
  parallel_for(threads, static_cast<Index>(steps.size()) * P, cancel, [&](Index item, int) {
    const Step& step = steps[static_cast<std::size_t>(item / P)];
    const Index piece = item % P, first = summed.begin(piece);
    kernels::sweep_times(step.rows, summed.size(piece), step.X + first, step.stride,
                         D.data() + step.task * d + first,
                         parts.data() + piece * rows + step.first);
  });
  throw_if_requested(cancel);
  sum_pieces(shard, summed, rows, parts.data(), c, threads);
  for (const Step& step : steps) {
    for (Index r = 0; r < step.rows; ++r) c[step.first + r] *= scales[step.task];
  }
}

}  // namespace

template <class XScalar>
std::vector<Index> row_offsets(const TaskSet<XScalar>& tasks) {
  std::vector<Index> offsets{0};
  for (Index i = 0; i < tasks.size(); ++i) {
    offsets.push_back(offsets.back() + tasks.in(i).m + more_rows(tasks, i));
  }
  return offsets;
}

template <class XScalar>
void copy_responses(const TaskSet<XScalar>& tasks, double* y) {
  for (Index i = 0; i < tasks.size(); ++i) {
    y = std::copy_n(tasks.in(i).y, tasks.in(i).m, y);
    if (more_rows(tasks, i) > 0) y = std::copy_n(tasks.out(i).y, tasks.out(i).m, y);
  }
}

/// Computes Z = X B. Dense rows are multiplied by B^T, whose rows are contiguous.
template <class XScalar>
void features_of_rows(const TaskSet<XScalar>& tasks, const double* B, Index k, double* Z,
                      int threads, Cancel* cancel) {
  const Shard shard = tasks.shard();
  cancel = pollable(shard, cancel);
  if (tasks.is_sparse()) {
    return sparse_features(tasks, {tasks.size()}, B, k, Z, threads, cancel);
  }
  Mat B_t(k, tasks.d);
  transpose_columns(B, tasks.d, k, B_t.data(), threads);
  each_row_block(tasks, shard, k, [&](const auto& rows) {
    sweep_rows<XScalar>(rows, rows.groups, shard, B_t.data(), k, Z, threads, cancel);
    Z += rows.rows * k;
  });
}

/// Computes X^T C. The rows of every block are added, in order, to the sums over all earlier rows,
/// so the bits do not depend on the division into blocks.
template <class XScalar>
void combine_all_rows(const TaskSet<XScalar>& tasks, const double* C, Index k, double* out,
                      int threads, Cancel* cancel) {
  const Shard shard = tasks.shard();
  cancel = pollable(shard, cancel);
  if (tasks.is_sparse()) return combine_sparse(tasks, C, k, out, threads, cancel);
  Mat sums = Mat::Zero(k, tasks.d);
  each_row_block(tasks, shard, k, [&](const auto& rows) {
    combine_rows<XScalar>(rows, rows.groups, tasks.d, C, k, sums.data(), {}, threads, cancel);
    C += rows.rows * k;
  });
  transpose_rows(sums.data(), tasks.d, k, out, threads);
}

/// Computes X^T transform(X B) block by block. Each block goes through the first sweep, the
/// transform and the second sweep, which finds the rows of the block in a cache.
template <class XScalar>
void combine_features_of_rows(const TaskSet<XScalar>& tasks, const double* B, Index k,
                              const RowTransform& transform, bool is_native, double* out,
                              int threads, Cancel* cancel) {
  const Shard shard = tasks.shard();
  cancel = pollable(shard, cancel);
  std::vector<double> Z, C;
  const auto resize = [&](Index rows) {
    Z.resize(static_cast<std::size_t>(rows * k));
    C.resize(Z.size());
  };
  if (tasks.is_sparse()) {
    resize(row_offsets(tasks).back());
    sparse_features(tasks, {tasks.size()}, B, k, Z.data(), threads, cancel);
    transform(0, tasks.size(), Z.data(), C.data());
    return combine_sparse(tasks, C.data(), k, out, threads, cancel);
  }
  Mat B_t(k, tasks.d), sums = Mat::Zero(k, tasks.d);
  transpose_columns(B, tasks.d, k, B_t.data(), threads);
  const Index most = is_native ? kBlockBytes * threads : kCalledBlockBytes;
  each_task_block(tasks, shard, k, most,
                  [&](const auto& held, const TaskSelection& taken, const Block& block,
                      const TaskSelection& next) {
                    const RowGroups rows(held, taken);
                    resize(rows.rows);
                    sweep_rows<XScalar>(rows, rows.groups, shard, B_t.data(), k, Z.data(), threads,
                                        cancel);
                    transform(block.first, block.count, Z.data(), C.data());
                    combine_rows<XScalar>(rows, rows.groups, tasks.d, C.data(), k, sums.data(),
                                          upcoming_rows(held, next), threads, cancel);
                  });
  transpose_rows(sums.data(), tasks.d, k, out, threads);
}

/// Computes sum_i X_i^T c_i v_i^T block by block, where c_i and v_i depend on X_i B. Sparse tasks
/// are combined from the matrix C with the rows c_r v_i^T.
template <class XScalar>
void combine_outer_of_rows(const TaskSet<XScalar>& tasks, const double* B, Index k,
                           const OuterTransform& transform, double* out, int threads,
                           Cancel* cancel) {
  const Shard shard = tasks.shard();
  cancel = pollable(shard, cancel);
  std::vector<double> Z, c, heads;
  const auto prepare = [&](Index rows, Index count) {
    Z.resize(static_cast<std::size_t>(rows * k));
    c.resize(static_cast<std::size_t>(rows));
    heads.resize(static_cast<std::size_t>(count * k));
  };
  if (tasks.is_sparse()) {
    const std::vector<Index> offsets = row_offsets(tasks);
    prepare(offsets.back(), tasks.size());
    sparse_features(tasks, {tasks.size()}, B, k, Z.data(), threads, cancel);
    transform(0, tasks.size(), Z.data(), c.data(), heads.data());
    for (Index i = 0; i < tasks.size(); ++i) {
      const auto at = static_cast<std::size_t>(i);
      for (Index r = offsets[at]; r < offsets[at + 1]; ++r) {
        for (Index j = 0; j < k; ++j) Z[r * k + j] = c[r] * heads[i * k + j];
      }
    }
    return combine_sparse(tasks, Z.data(), k, out, threads, cancel);
  }
  Mat B_t(k, tasks.d), sums = Mat::Zero(k, tasks.d);
  transpose_columns(B, tasks.d, k, B_t.data(), threads);
  each_task_block(
      tasks, shard, k, kBlockBytes * threads,
      [&](const auto& held, const TaskSelection& taken, const Block& block, const TaskSelection&) {
        const RowGroups rows(held, taken);
        prepare(rows.rows, taken.n);
        sweep_rows<XScalar>(rows, rows.groups, shard, B_t.data(), k, Z.data(), threads, cancel);
        transform(block.first, block.count, Z.data(), c.data(), heads.data());
        combine_outer(held, taken, c.data(), heads.data(), k, sums.data(), threads, cancel);
      });
  transpose_rows(sums.data(), tasks.d, k, out, threads);
}

/// Subtracts from the numbers c, one for each row of the taken tasks, the mean of their task.
template <class XScalar>
void centre(const TaskSet<XScalar>& tasks, const TaskSelection& taken, double* c) {
  for (Index i = 0; i < taken.n; ++i) {
    const Index m = tasks.in(taken[i]).m + more_rows(tasks, taken[i]);
    double sum = 0;
    for (Index row = 0; row < m; ++row) sum += c[row];
    for (Index row = 0; row < m; ++row) c[row] -= sum / static_cast<double>(m);
    c += m;
  }
}

/// Computes sum_i scales_i X_i^T X_i P v_i v_i^T block by block; with intercepts, the rows of X_i
/// are less their mean, for which it suffices to centre X_i P v_i. Both products with X have a
/// single column per task, so the cost is that of one fused pass with one column, and 4 n d k
/// operations.
template <class XScalar>
void combine_curvature(const TaskSet<XScalar>& tasks, const double* P, Index k, const double* heads,
                       const double* scales, bool intercepts, double* out, int threads,
                       Cancel* cancel) {
  require(!tasks.is_sparse(), "products along heads need dense tasks");
  const Shard shard = tasks.shard();
  cancel = pollable(shard, cancel);
  std::vector<double> c, D;
  Mat P_t(k, tasks.d), sums = Mat::Zero(k, tasks.d);
  transpose_columns(P, tasks.d, k, P_t.data(), threads);
  each_task_block(
      tasks, shard, k, kBlockBytes * threads,
      [&](const auto& held, const TaskSelection& taken, const Block& block, const TaskSelection&) {
        const double* v = heads + block.first * k;
        c.resize(static_cast<std::size_t>(RowGroups(held, taken).rows));
        directional_features(held, taken, shard, P_t.data(), k, v, scales + block.first, D,
                             c.data(), threads, cancel);
        if (intercepts) centre(held, taken, c.data());
        combine_outer(held, taken, c.data(), v, k, sums.data(), threads, cancel);
      });
  transpose_rows(sums.data(), tasks.d, k, out, threads);
}

/// Computes X_i X_i^T from the blocks K, K' and X' X'^T of a first sweep with B = 0.
template <class XScalar>
std::vector<Mat> grams_of_rows(const TaskSet<XScalar>& tasks, Index first, Index count, int threads,
                               Cancel* cancel) {
  const Mat B = Mat::Zero(tasks.d, 1);
  const Shard shard = tasks.shard();
  cancel = pollable(shard, cancel);
  const TaskSelection some{count, nullptr, first};
  std::vector<Mat> grams;
  std::vector<TaskProducts> products;
  each_block(tasks, some, blocks_of<double>(tasks, some, 1, count),
             [&](const auto& held, const TaskSelection& taken, const Block&) {
               const bool outer = !held.outer.empty();
               first_sweep(B.data(), 1, held, taken, {true, outer, outer, outer}, shard, threads,
                           cancel, products);
               for (Index i = 0; i < taken.n; ++i) {
                 const auto& task = products[static_cast<std::size_t>(i)];
                 const Index m = held.in(taken[i]).m, more = more_rows(held, taken[i]);
                 Mat gram(m + more, m + more);
                 gram.topLeftCorner(m, m) = task.K;
                 if (more > 0) {
                   gram.bottomLeftCorner(more, m) = task.K_cross;
                   gram.topRightCorner(m, more) = task.K_cross.transpose();
                   gram.bottomRightCorner(more, more) = task.K_outer;
                 }
                 grams.push_back(std::move(gram));
               }
             });
  return grams;
}

// Instantiations for every type of X.
template <class XScalar>
struct RowInstances {
  static constexpr auto offsets = &row_offsets<XScalar>;
  static constexpr auto responses = &copy_responses<XScalar>;
  static constexpr auto features = &features_of_rows<XScalar>;
  static constexpr auto combine = &combine_all_rows<XScalar>;
  static constexpr auto both = &combine_features_of_rows<XScalar>;
  static constexpr auto outer = &combine_outer_of_rows<XScalar>;
  static constexpr auto curvature = &combine_curvature<XScalar>;
  static constexpr auto grams = &grams_of_rows<XScalar>;
};
template struct RowInstances<double>;
template struct RowInstances<float>;

}  // namespace metaspan
