#include "metaspan/sweeps/row_products.hpp"

#include <algorithm>

namespace metaspan {
namespace {

/// Bytes of X of a block whose rows are read twice, once by each of two products.
constexpr Index kCachedBlockBytes = 1 << 24;

/// Returns the number of outer samples of a task that are rows of X beside its inner samples.
template <class XScalar>
Index more_rows(const TaskSet<XScalar>& tasks, Index i) {
  return tasks.outer.empty() || tasks.shares(i) ? 0 : tasks.out(i).m;
}

/// Splits the tasks of a block into blocks of at most kCachedBlockBytes, so that the rows of a
/// block are still in a cache when they are read for the second time. The split depends on shapes
/// alone. Sparse tasks are not split: their second sweep has a cost for every call.
template <class XScalar>
std::vector<Block> cached_blocks(const TaskSet<XScalar>& tasks, Index n) {
  std::vector<Block> blocks;
  Index bytes = 0;
  for (Index i = 0; i < n; ++i) {
    const Index rows = tasks.in(i).m + more_rows(tasks, i);
    const Index more = static_cast<Index>(sizeof(XScalar)) * rows * tasks.d;
    if (blocks.empty() || (!tasks.is_sparse() && bytes + more > kCachedBlockBytes)) {
      blocks.push_back({i, 0});
      bytes = 0;
    }
    ++blocks.back().count;
    bytes += more;
  }
  return blocks;
}

/// The memory of the products with one block of tasks.
struct Workspace {
  std::vector<TaskProducts> products;
  std::vector<double> Z, C;  // (rows, k)
  Mat wide;                  // (rows, padded(k))  C with zeros beyond k
  std::vector<Factors> factors;
};

/// Copies X B of the first n tasks from the products of the first sweep to `Z`, (rows, k).
template <class XScalar>
void copy_features(const TaskSet<XScalar>& tasks, const TaskSelection& taken,
                   const std::vector<TaskProducts>& products, Index k, double* Z) {
  const auto copy = [&](const Mat& from, Index rows) {
    for (Index r = 0; r < rows; ++r, Z += k) std::copy_n(from.data() + r * from.cols(), k, Z);
  };
  for (Index i = 0; i < taken.n; ++i) {
    const auto& task = products[static_cast<std::size_t>(i)];
    copy(task.Z_in, tasks.in(taken[i]).m);
    copy(task.Z_out, more_rows(tasks, taken[i]));
  }
}

/// Adds X^T C of some tasks to out, or sets out to this sum. C is copied to rows that fill whole
/// registers, which the second sweep reads in place.
template <class XScalar>
void add_combined(const TaskSet<XScalar>& tasks, const TaskSelection& taken,
                  const double* C,  // (rows, k)
                  Index rows, Index k, bool set, double* out, int threads, Cancel* cancel,
                  Workspace& work) {
  work.wide.setZero(rows, padded(k));
  for (Index r = 0; r < rows; ++r) std::copy_n(C + r * k, k, work.wide.data() + r * padded(k));
  work.factors.resize(static_cast<std::size_t>(2 * taken.n));
  std::vector<Part<XScalar>> parts;
  Index row = 0;
  const auto append = [&](const Samples<XScalar>& samples) {
    Factors& factor = work.factors[parts.size()];
    factor.borrow(work.wide.data() + row * padded(k), samples.m, k);
    parts.push_back({&samples, &factor});
    row += samples.m;
  };
  for (Index i = 0; i < taken.n; ++i) {
    append(tasks.in(taken[i]));
    if (more_rows(tasks, taken[i]) > 0) append(tasks.out(taken[i]));
  }
  second_sweep(parts, tasks.d, k, set ? nullptr : static_cast<const double*>(out), out, threads,
               cancel);
}

/// Calls body(tasks, taken, block) for blocks of all tasks, in order: for the blocks of a store,
/// and within each of them for blocks that stay in a cache. `block` numbers tasks of the batch,
/// and `taken` selects the same tasks from `tasks`.
template <class XScalar, class Body>
void each_cached_block(const TaskSet<XScalar>& tasks, Index k, Body&& body) {
  const TaskSelection every{tasks.size()};
  each_block(tasks, every, blocks_of<double>(tasks, every, k, every.n),
             [&](const auto& held, const TaskSelection& taken, const Block& block) {
               // A store gives the tasks of the block alone; tasks in memory are one block.
               for (const Block& part : cached_blocks(held, taken.n)) {
                 body(held, part_of(taken, part), Block{block.first + part.first, part.count});
               }
             });
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

/// Computes Z = X B by first sweeps. The number of pieces of columns is that of a single task,
/// whatever the block, so that the order of the sums does not depend on the blocks.
template <class XScalar>
void features_of_rows(const TaskSet<XScalar>& tasks, const double* B, Index k, double* Z,
                      int threads, Cancel* cancel) {
  const std::vector<Index> offsets = row_offsets(tasks);
  const Index pieces = pieces_of(tasks, 1);
  std::vector<TaskProducts> products;
  each_cached_block(
      tasks, k, [&](const auto& held, const TaskSelection& taken, const Block& block) {
        first_sweep(B, k, held, taken, {false, false}, pieces, threads, cancel, products);
        const Index row = offsets[static_cast<std::size_t>(block.first)];
        copy_features(held, taken, products, k, Z + row * k);
      });
}

/// Computes X^T C by second sweeps. A sweep adds the rows of its tasks, in order, to the sums of
/// the sweeps before it, so the bits do not depend on the blocks.
template <class XScalar>
void combine_all_rows(const TaskSet<XScalar>& tasks, const double* C, Index k, double* out,
                      int threads, Cancel* cancel) {
  const std::vector<Index> offsets = row_offsets(tasks);
  Workspace work;
  const TaskSelection every{tasks.size()};
  each_block(tasks, every, blocks_of<double>(tasks, every, k, every.n),
             [&](const auto& held, const TaskSelection& taken, const Block& block) {
               const auto first = static_cast<std::size_t>(block.first);
               const Index row = offsets[first];
               const Index rows = offsets[first + static_cast<std::size_t>(block.count)] - row;
               add_combined(held, taken, C + row * k, rows, k, row == 0, out, threads, cancel,
                            work);
             });
}

/// Computes X^T transform(X B), block by block: a first sweep, the transform, and a second sweep
/// over rows that the first sweep has left in the cache.
template <class XScalar>
void combine_features_of_rows(const TaskSet<XScalar>& tasks, const double* B, Index k,
                              const RowTransform& transform, double* out, int threads,
                              Cancel* cancel) {
  const std::vector<Index> offsets = row_offsets(tasks);
  const Index pieces = pieces_of(tasks, 1);
  Workspace work;
  each_cached_block(
      tasks, k, [&](const auto& held, const TaskSelection& taken, const Block& block) {
        const auto first = static_cast<std::size_t>(block.first);
        const Index rows = offsets[first + static_cast<std::size_t>(block.count)] - offsets[first];
        work.Z.resize(static_cast<std::size_t>(rows * k));
        work.C.resize(work.Z.size());
        first_sweep(B, k, held, taken, {false, false}, pieces, threads, cancel, work.products);
        copy_features(held, taken, work.products, k, work.Z.data());
        transform(block.first, block.count, work.Z.data(), work.C.data());
        add_combined(held, taken, work.C.data(), rows, k, block.first == 0, out, threads, cancel,
                     work);
      });
}

/// Computes X_i X_i^T from the blocks K, K' and X' X'^T of a first sweep with B = 0.
template <class XScalar>
std::vector<Mat> grams_of_rows(const TaskSet<XScalar>& tasks, Index first, Index count, int threads,
                               Cancel* cancel) {
  const Mat B = Mat::Zero(tasks.d, 1);
  const Index pieces = pieces_of(tasks, 1);
  const TaskSelection some{count, nullptr, first};
  std::vector<Mat> grams;
  std::vector<TaskProducts> products;
  each_block(tasks, some, blocks_of<double>(tasks, some, 1, count),
             [&](const auto& held, const TaskSelection& taken, const Block&) {
               const bool outer = !held.outer.empty();
               first_sweep(B.data(), 1, held, taken, {true, outer, outer, outer}, pieces, threads,
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
  static constexpr auto grams = &grams_of_rows<XScalar>;
};
template struct RowInstances<double>;
template struct RowInstances<float>;

}  // namespace metaspan
