#include "metaspan/sweeps/made_tasks.hpp"

#include <algorithm>

#include "metaspan/base/huge_pages.hpp"
#include "metaspan/sweeps/row_sweeps.hpp"

namespace metaspan {
namespace {

/// Number of rows that are generated and multiplied together; their columns fit an L2 cache.
constexpr Index kGroupRows = 16;

/// Splits the rows [0, rows) into groups.
std::vector<RowGroup> groups_of(Index rows) {
  std::vector<RowGroup> groups;
  const Index count = ceil_div(rows, kGroupRows);
  for (Index g = 0; g < count; ++g) {
    const Index begin = g * rows / count;
    groups.push_back({begin, (g + 1) * rows / count - begin});
  }
  return groups;
}

/// Generates columns of consecutive rows of X, starting at row `first_row`, into memory of the
/// calling thread.
class MadeSource {
 public:
  MadeSource(const MadeTasks& tasks, const std::vector<RowGroup>& groups, Index first_row,
             int threads)
      : tasks_(tasks),
        groups_(groups),
        first_row_(first_row),
        scratch_(static_cast<std::size_t>(threads)) {}

  void operator()(Index group, Index first, Index columns, int thread, RowRuns<double>& runs) {
    auto& scratch = scratch_[static_cast<std::size_t>(thread)];
    scratch.resize(static_cast<std::size_t>(kGroupRows * columns));
    write(group, first, columns, scratch.data(), columns);
    runs.assign(1, {scratch.data(), groups_[static_cast<std::size_t>(group)].count, columns});
  }

  /// Generates columns of the rows of a group; successive rows begin `stride` numbers apart.
  void write(Index group, Index first, Index columns, double* out, Index stride) const {
    const auto& [row, count] = groups_[static_cast<std::size_t>(group)];
    for (Index i = 0; i < count; ++i) {
      const Index at = first_row_ + row + i;
      tasks_.maker.piece(at / tasks_.m, at % tasks_.m, first, columns, out + i * stride);
    }
  }

 private:
  const MadeTasks& tasks_;
  const std::vector<RowGroup>& groups_;
  Index first_row_;
  std::vector<std::vector<double>> scratch_;
};

}  // namespace

void make_rows(const MadeTasks& tasks, Index first, Index count, double* X, int threads,
               Cancel* cancel) {
  const Index d = tasks.shard.size();
  parallel_for(threads, count * tasks.m, cancel, [&](Index row, int) {
    tasks.maker.piece(first + row / tasks.m, row % tasks.m, 0, d, X + row * d);
  });
  throw_if_requested(cancel);
}

/// Computes the responses as sums over pieces of the columns. For each piece, -theta_i is formed
/// once for all rows of task i, and the sums of the pieces are added in the order of Shard. With
/// xi_std = 0, the cost is that of generating X.
void make_responses(const MadeTasks& tasks, const Truth& truth, double* y, double* squares,
                    int threads, Cancel* cancel) {
  const Shard& shard = tasks.shard;
  cancel = pollable(shard, cancel);
  const Shard::Pieces pieces = feature_pieces(shard);
  const Index P = pieces.count, m = tasks.m, N = tasks.rows();
  Mat parts(P, 2 * N), sums(1, 2 * N);  // of the responses, and then of the squares
  std::vector<std::vector<double>> scratch(static_cast<std::size_t>(threads));
  parallel_for(threads, tasks.n * P, cancel, [&](Index item, int thread) {
    const Index task = item / P, piece = item % P;
    const Index first = pieces.begin(piece), columns = pieces.size(piece);
    auto& memory = scratch[static_cast<std::size_t>(thread)];
    memory.assign(static_cast<std::size_t>(2 * pieces.widest()), 0.0);
    double *theta = memory.data(), *x = theta + pieces.widest();
    truth.subtract(task, first, columns, theta);
    for (Index i = 0; i < m; ++i) {
      parts(piece, N + task * m + i) = tasks.maker.piece(task, i, first, columns, x);
      double product;
      kernels::sweep_times(1, columns, x, columns, theta, &product);
      parts(piece, task * m + i) = -product;
    }
  });
  throw_if_requested(cancel);
  sum_pieces(shard, pieces, 2 * N, parts.data(), sums.data(), threads);
  std::copy_n(sums.data(), N, y);
  std::copy_n(sums.data() + N, N, squares);
}

/// Computes Z = X B in blocks of rows, so that the partial sums of the pieces of columns take
/// little memory. The processes exchange numbers in every block, so all of them use the same
/// blocks.
void features_of_made(const MadeTasks& tasks, const double* B, Index k, double* Z, int threads,
                      Cancel* cancel) {
  const Shard& shard = tasks.shard;
  cancel = pollable(shard, cancel);
  const Index d = shard.size(), N = tasks.rows(),
              block = std::max<Index>(kGroupRows, (1 << 25) / ceil_div(shard.d(), shard.ranks()));
  Mat B_t(k, d);
  transpose_columns(B, d, k, B_t.data(), threads);
  for (Index first = 0; first < N; first += block) {
    const auto groups = groups_of(std::min(block, N - first));
    sweep_rows<double>(MadeSource(tasks, groups, first, threads), groups, shard, B_t.data(), k,
                       Z + first * k, threads, cancel);
  }
}

/// Computes X^T C. Each thread generates the columns of its piece for one group of rows after the
/// other.
void combine_made(const MadeTasks& tasks, const double* C, Index k, double* out, int threads,
                  Cancel* cancel) {
  const Index d = tasks.shard.size();
  cancel = pollable(tasks.shard, cancel);
  Mat sums = Mat::Zero(k, d);
  const auto groups = groups_of(tasks.rows());
  combine_rows<double>(MadeSource(tasks, groups, 0, threads), groups, d, C, k, sums.data(), {},
                       threads, cancel);
  transpose_rows(sums.data(), d, k, out, threads);
}

/// Computes X^T transform(X B) by blocks of tasks. The first sweep stores the generated rows of a
/// block, and the second sweep reads them, because reading a number from memory takes much less
/// time than generating it again. The blocks depend only on shapes and the number of processes.
void combine_features_of_made(const MadeTasks& tasks, const double* B, Index k,
                              const RowTransform& transform, double* out, int threads,
                              Cancel* cancel) {
  const Shard& shard = tasks.shard;
  cancel = pollable(shard, cancel);
  const Index d = shard.size(), m = tasks.m;
  const Index most = kMadeBytes / static_cast<Index>(sizeof(double));  // numbers of a block
  const Index count =
      std::clamp<Index>(most / (m * ceil_div(shard.d(), shard.ranks())), 1, tasks.n);
  std::vector<double> X;
  reserve_huge(X, count * m * d);
  X.resize(static_cast<std::size_t>(count * m * d));
  std::vector<double> Z(static_cast<std::size_t>(count * m * k)), C(Z.size());
  Mat B_t(k, d), sums = Mat::Zero(k, d);
  transpose_columns(B, d, k, B_t.data(), threads);
  for (Index first = 0; first < tasks.n; first += count) {
    const Index some = std::min(count, tasks.n - first);
    const auto groups = groups_of(some * m);
    const MadeSource made(tasks, groups, first * m, threads);
    const auto read = [&](Index group, Index begin, Index, int, RowRuns<double>& runs) {
      const auto& [row, rows] = groups[static_cast<std::size_t>(group)];
      runs.assign(1, {X.data() + row * d + begin, rows, d});
    };
    const auto generate = [&](Index group, Index begin, Index columns, int thread,
                              RowRuns<double>& runs) {
      const Index row = groups[static_cast<std::size_t>(group)].first;
      made.write(group, begin, columns, X.data() + row * d + begin, d);
      read(group, begin, columns, thread, runs);
    };
    sweep_rows<double>(generate, groups, shard, B_t.data(), k, Z.data(), threads, cancel);
    transform(first, some, Z.data(), C.data());
    combine_rows<double>(read, groups, d, C.data(), k, sums.data(), {}, threads, cancel);
  }
  transpose_rows(sums.data(), d, k, out, threads);
}

}  // namespace metaspan
