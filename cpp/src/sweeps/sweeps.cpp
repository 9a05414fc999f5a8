#include "metaspan/sweeps/sweeps.hpp"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "metaspan/base/error.hpp"
#include "metaspan/base/parallel.hpp"
#include "metaspan/sweeps/leaf_copies.hpp"
#include "metaspan/sweeps/sparse_sweeps.hpp"
#include "metaspan/sweeps/term_tile.hpp"
#include "sweep.hpp"

namespace metaspan {
namespace {

/// A first sweep over n tasks has at least kItems items of work if d is large enough for items of
/// more than kItemColumns columns. No item with several leaves has more than kItemNumbers numbers
/// of X, so that several threads can share a large task.
constexpr Index kItems = 64;
constexpr Index kItemColumns = 8192;
constexpr Index kItemNumbers = 1 << 21;

/// Copies columns [column, column + columns) of X, (m, columns), into the first columns of `tile`,
/// converted to double.
template <class Scalar>
void copy_tile(const Samples<Scalar>& set, Index column, Index columns, Mat& tile) {
  const auto& [X, stride] = set.dense();
  for (Index i = 0; i < set.m; ++i) {
    std::copy_n(X + i * stride + column, columns, tile.data() + i * tile.cols());
  }
}

/// Some columns of X as doubles, stored row by row.
struct Tile {
  const double* data;  // (m, columns)
  Index stride;

  auto matrix(Index m, Index columns) const {
    return Eigen::Map<const Mat, 0, Eigen::OuterStride<>>(data, m, columns,
                                                          Eigen::OuterStride<>(stride));
  }
};

/// Returns columns of X as doubles. If X is in double, the columns are not copied; otherwise they
/// are converted to doubles in `scratch` once for all products of a tile.
template <class Scalar>
Tile tile_of(const Samples<Scalar>& set, Index column, Index columns, Mat& scratch) {
  if constexpr (std::is_same_v<Scalar, double>) {
    const auto& [X, stride] = set.dense();
    return {X + column, stride};
  } else {
    copy_tile(set, column, columns, scratch);
    return {scratch.data(), scratch.cols()};
  }
}

/// Copies rows of B as doubles into a tile, (rows, padded(k)). The columns beyond k are not
/// written, since the caller has set them to zero.
template <class Scalar>
void load_rows(const Scalar* B, Index k, Index row, Index rows, double* tile) {
  const Index width = padded(k);
  for (Index i = 0; i < rows; ++i) {
    kernels::copy_wide(k, B + (row + i) * k, tile + i * width);
  }
}

/// A thread's memory for the first sweep: columns of X and X' as doubles, and the rows of B that
/// belong to them. The rows of B are not loaded again if the next item of work needs the same rows,
/// for example if all d columns form a single tile.
struct Tiles {
  Mat in, out;
  Mat B;  // (columns, padded(k)), zeros beyond k
  Index first = -1, columns = 0;

  template <class Scalar>
  void load(const Scalar* all, Index k, Index begin, Index count) {
    if (begin == first && count == columns) return;  // the tile of the task before
    first = begin;
    columns = count;
    load_rows(all, k, begin, count, B.data());
  }
};

/// Sets a Gram matrix to zeros, or makes it empty if it is not needed. In rounds of small tasks, a
/// call of Eigen on an empty matrix is a measurable part of the work of a task.
inline void clear(Mat& K, bool needed, Index rows, Index columns) {
  if (needed) {
    K.setZero(rows, columns);
  } else if (K.size() > 0) {
    K.resize(0, 0);
  }
}

/// Makes the first sweep, (5), over the columns [begin, end) of one task: Z += X B, Z' += X' B and,
/// if needed, K += X X^T, K' += X' X^T and X' X'^T, tile by tile. All products of a tile are
/// computed while its columns are in the cache, so X is read once. Sums are taken in the order of
/// the columns, so the bits do not depend on threads.
template <class XScalar, class BScalar>
void sweep_leaf(const BScalar* B, Index k, const Samples<XScalar>& in, const Samples<XScalar>& out,
                GramsNeeded needed, Index begin, Index end, Tiles& tiles, TaskProducts& blocks) {
  const Index width = padded(k);
  blocks.Z_in.setZero(in.m, width);
  blocks.Z_out.setZero(out.m, width);
  // K and K' are in memory that Eigen allocates. How Eigen cuts a product into blocks depends on
  // the address of the result, and the blocks determine the last bits of the product.
  clear(blocks.K, needed.K, in.m, in.m);
  clear(blocks.K_cross, needed.K_cross, out.m, in.m);
  clear(blocks.K_outer, needed.K_outer, out.m, out.m);
  const Index most = std::min(kProjectedColumns, end - begin);
  const Index converted = std::is_same_v<XScalar, double> ? 0 : most;
  tiles.in.resize(in.m, converted);
  tiles.out.resize(out.m, converted);
  if (tiles.B.rows() < most) tiles.B.setZero(most, width);
  for (Index column = begin; column < end; column += most) {
    const Index columns = std::min(most, end - column);
    tiles.load(B, k, column, columns);
    const Tile P = tile_of(in, column, columns, tiles.in),
               Q = tile_of(out, column, columns, tiles.out);
    kernels::product<true>(in.m, columns, width, P.data, P.stride, 1, tiles.B.data(),
                           blocks.Z_in.data());
    kernels::product<true>(out.m, columns, width, Q.data, Q.stride, 1, tiles.B.data(),
                           blocks.Z_out.data());
    const auto inner = P.matrix(in.m, columns), outer = Q.matrix(out.m, columns);
    if (needed.K) blocks.K.noalias() += inner * inner.transpose();
    if (needed.K_cross) blocks.K_cross.noalias() += outer * inner.transpose();
    if (needed.K_outer) blocks.K_outer.noalias() += outer * outer.transpose();
  }
}

/// Adds the products `part` of some columns to the products of the columns before them.
void add(TaskProducts& sum, const TaskProducts& part) {
  sum.Z_in += part.Z_in;
  sum.Z_out += part.Z_out;
  sum.K += part.K;
  sum.K_cross += part.K_cross;
  sum.K_outer += part.K_outer;
}

/// A thread's memory for the first sweep.
struct SweepScratch {
  Tiles tiles;
  std::vector<TaskProducts> right;  // at each depth of the tree, the sum over its right half
};

/// Computes the products of leaves [first, first + count), a power of two of them, by
/// leaf(i, tiles, products). The products of both halves are computed and added.
template <class Leaf>
void sweep_leaves(const Leaf& leaf, Index first, Index count, std::size_t depth,
                  SweepScratch& scratch, TaskProducts& sum) {
  if (count == 1) return leaf(first, scratch.tiles, sum);
  if (scratch.right.size() <= depth) scratch.right.resize(depth + 1);
  sweep_leaves(leaf, first, count / 2, depth + 1, scratch, sum);
  // The vector may have grown, so the element is looked up after the recursive call.
  TaskProducts right = std::move(scratch.right[depth]);
  sweep_leaves(leaf, first + count / 2, count / 2, depth + 1, scratch, right);
  add(sum, right);
  scratch.right[depth] = std::move(right);
}

/// Leaves [first, first + count), which a thread sweeps together.
struct Chunk {
  Index first, count;
};

/// Cuts the leaves of every node into chunks of at most `most` leaves, where `most` is a power of
/// two, and appends to `starts` the number of the first chunk of every node.
std::vector<Chunk> chunks_of(const std::vector<Shard::Node>& nodes, Index most,
                             std::vector<std::size_t>& starts) {
  std::vector<Chunk> chunks;
  for (const auto& [begin, end] : nodes) {
    starts.push_back(chunks.size());
    const Index count = std::min(most, end - begin);
    for (Index leaf = begin; leaf < end; leaf += count) chunks.push_back({leaf, count});
  }
  starts.push_back(chunks.size());
  return chunks;
}

/// Calls body(matrix, columns) for the products of a task in a fixed order; columns are those
/// without padding.
template <class Body>
void each_product(TaskProducts& task, Index k, Body&& body) {
  body(task.Z_in, k);
  body(task.Z_out, k);
  for (Mat* K : {&task.K, &task.K_cross, &task.K_outer}) body(*K, K->cols());
}

/// Adds the products of the nodes of all processes. nodes[n] has the products of every task for
/// node n of this process; the sums are written to `out`.
void exchange_products(const Shard& shard, const std::vector<std::vector<TaskProducts*>>& nodes,
                       Index k, std::vector<TaskProducts>& out) {
  std::vector<double> packed;
  for (const auto& node : nodes) {
    for (TaskProducts* task : node) {
      each_product(*task, k, [&](const Mat& P, Index columns) {
        for (Index i = 0; i < P.rows(); ++i) {
          packed.insert(packed.end(), P.row(i).data(), P.row(i).data() + columns);
        }
      });
    }
  }
  const auto numbers = static_cast<Index>(packed.size() / nodes.size());
  std::vector<double> sums(static_cast<std::size_t>(numbers));
  shard.sum_nodes(numbers, packed.data(), sums.data());
  const double* from = sums.data();
  for (std::size_t i = 0; i < nodes.front().size(); ++i) {
    each_product(out[i], k, [&](Mat& P, Index columns) {
      for (Index row = 0; row < P.rows(); ++row, from += columns) {
        std::copy_n(from, columns, P.row(row).data());
      }
    });
  }
}

/// Makes the second sweep, (10), for the features [row, row + rows): out = [start +] sum_i X_i^T
/// C_i, with the parts i in their order. If C of a part is a matrix, a tile of X^T is multiplied by
/// this matrix. If C is stored as terms, a vector X^T s is computed for each term, and the TermTile
/// adds several terms at a time. The sum over the parts, (rows, width), is in double, stays in the
/// cache until all parts are added, and is then rounded to the type of B.
template <class XScalar, class BScalar>
void combine(const std::vector<Part<XScalar>>& parts, Index k, Index row, Index rows,
             const BScalar* start, BScalar* out) {
  // The rows of the tile are an odd number of cache lines apart. If the distance were a power of
  // two, all elements of a column would be in the same few sets of the cache.
  constexpr Index kPadding = 8;
  constexpr Index kStride = kCombinedRows + kPadding;
  const Index width = padded(k);
  Index whole = 0;
  bool any_terms = false;
  for (const auto& part : parts) {
    if (part.C->whole()) whole = std::max(whole, part.set->m);
    any_terms |= !part.C->whole();
  }
  Mat tile(whole, kStride), sum = Mat::Zero(rows, width);
  TermTile terms(any_terms ? rows : 0, width, kStride);
  if (start != nullptr) load_rows(start, k, row, rows, sum.data());
  for (const auto& [set, C] : parts) {
    if (C->whole()) {
      // The terms in the TermTile belong to earlier parts, so these terms are added before this
      // part.
      terms.add_to(sum.data());
      copy_tile(*set, row, rows, tile);
      kernels::product<true>(rows, set->m, width, tile.data(), 1, kStride, C->matrix(), sum.data());
      continue;
    }
    const auto& [X, stride] = set->dense();
    for (Index t = 0; t < C->count(); ++t) {
      kernels::sweep_combine<false>(set->m, rows, X + row, stride, C->s(t),
                                    terms.next(C->c() + t * width, sum.data()));
    }
  }
  terms.add_to(sum.data());
  for (Index i = 0; i < rows; ++i) {
    for (Index j = 0; j < k; ++j) {
      out[(row + i) * k + j] = static_cast<BScalar>(sum(i, j));
    }
  }
}

/// Makes the first sweep over sparse tasks whose columns are shared. The products of each leaf are
/// computed one after the other, each by all threads, and added in the order of the tree.
template <class XScalar, class BScalar>
void shared_sparse_sweep(const BScalar* B, Index k, const TaskSet<XScalar>& tasks,
                         const TaskSelection& taken, GramsNeeded needed, const Shard& shard,
                         int threads, Cancel* cancel, std::vector<TaskProducts>& products) {
  const auto n = static_cast<std::size_t>(taken.n);
  const auto sweep = [&](auto&& self, Index first, Index count, std::vector<TaskProducts>& sum) {
    sum.resize(std::max(sum.size(), n));
    if (count == 1) {
      const TaskSet<XScalar> part = tasks_in_leaf(tasks, taken, first);
      const BScalar* rows = B + tasks.in(0).leaves->begin(first) * k;
      return sparse_first_sweep(rows, k, part, {taken.n}, needed, threads, cancel, sum);
    }
    std::vector<TaskProducts> right;
    self(self, first, count / 2, sum);
    self(self, first + count / 2, count / 2, right);
    for (std::size_t i = 0; i < n; ++i) add(sum[i], right[i]);
  };
  const std::vector<Shard::Node> nodes = shard.nodes(shard.leaves());
  std::vector<std::vector<TaskProducts>> others(nodes.size() - 1);
  std::vector<std::vector<TaskProducts*>> sums(nodes.size());
  for (std::size_t node = 0; node < nodes.size(); ++node) {
    std::vector<TaskProducts>& sum = node == 0 ? products : others[node - 1];
    sweep(sweep, nodes[node].begin, nodes[node].end - nodes[node].begin, sum);
    for (std::size_t i = 0; i < n; ++i) sums[node].push_back(&sum[i]);
  }
  exchange_products(shard, sums, k, products);
}

/// Makes the second sweep over sparse sets whose columns are shared, leaf by leaf.
template <class XScalar, class BScalar>
void sweep_leaves_of_parts(const std::vector<Part<XScalar>>& parts, Index k, const BScalar* start,
                           BScalar* out, int threads, Cancel* cancel) {
  const LeafRows<XScalar>& cut = *parts.front().set->leaves;
  for (Index leaf = 0; leaf < cut.count(); ++leaf) {
    std::vector<Samples<XScalar>> sets;
    for (const auto& part : parts) sets.push_back(part.set->in_leaf(leaf));
    std::vector<Part<XScalar>> in_leaf;
    for (std::size_t p = 0; p < parts.size(); ++p) in_leaf.push_back({&sets[p], parts[p].C});
    const Index at = cut.begin(leaf) * k;
    sparse_second_sweep(in_leaf, cut.size(leaf), k, start == nullptr ? nullptr : start + at,
                        out + at, threads, cancel);
  }
}

}  // namespace

/// Returns how many leaves a thread sweeps together, a power of two: all leaves of the shard,
/// unless there would be few items of work or large ones. The sums over leaves are added in a tree,
/// so the result affects no bits.
Index leaves_together(const Shard& shard, Index rows, Index n) {
  const Shard::Pieces leaves = shard.leaves();
  const Index numbers = rows * leaves.widest();
  Index together = 1;
  const auto is_better = [&](Index more) {
    const bool leaves_enough = n * leaves.count >= more * kItems;
    return more * numbers <= kItemNumbers &&
           (leaves_enough || more * leaves.widest() <= kItemColumns);
  };
  while (2 * together <= leaves.count && is_better(2 * together)) together *= 2;
  return together;
}

/// Makes the first sweep, (5). Every chunk of leaves of every task is a separate item of work, so
/// that all threads have work both if there are many small tasks and if there are a few large
/// tasks. The first chunk of a task writes its products to `products`, and every other chunk writes
/// its products to separate matrices. When all threads are done, the matrices of each node are
/// added in the order of the tree, and the nodes of all processes are added by an exchange.
template <class XScalar, class BScalar>
void first_sweep(const BScalar* B, Index k, const TaskSet<XScalar>& tasks,
                 const TaskSelection& taken, GramsNeeded needed, const Shard& shard, int threads,
                 Cancel* cancel, std::vector<TaskProducts>& products) {
  const Index n = taken.n;
  if (static_cast<Index>(products.size()) < n) products.resize(static_cast<std::size_t>(n));
  if (tasks.is_sparse() && shard.is_shared()) {
    return shared_sparse_sweep(B, k, tasks, taken, needed, shard, threads, cancel, products);
  }
  if (tasks.is_sparse()) {
    return sparse_first_sweep(B, k, tasks, taken, needed, threads, cancel, products);
  }
  const bool has_outer = !tasks.outer.empty() && needed.outer;
  const Shard::Pieces leaves = shard.leaves();
  std::vector<std::size_t> starts;
  const std::vector<Chunk> chunks = chunks_of(
      shard.nodes(leaves), leaves_together(shard, tasks.most_in() + tasks.most_out(), n), starts);
  const auto count = static_cast<Index>(chunks.size());
  std::vector<TaskProducts> others(static_cast<std::size_t>(n * (count - 1)));
  const auto products_of = [&](Index i, Index chunk) -> TaskProducts& {
    return chunk == 0 ? products[static_cast<std::size_t>(i)]
                      : others[static_cast<std::size_t>(i * (count - 1) + chunk - 1)];
  };
  std::vector<SweepScratch> scratch(static_cast<std::size_t>(threads));
  parallel_for(threads, n * count, cancel, [&](Index item, int thread) {
    const Index i = item / count, task = taken[i];
    // If a data set serves both loops, the sweep passes over it once.
    const bool same = has_outer && tasks.shares(task);
    const Samples<XScalar> out =
        has_outer && !same ? tasks.out(task) : Samples<XScalar>{{}, nullptr, 0};
    const auto& [first, some] = chunks[static_cast<std::size_t>(item % count)];
    const auto sweep = [&](Index leaf, Tiles& tiles, TaskProducts& sum) {
      sweep_leaf(B, k, tasks.in(task), out, same ? needed.of_one_set() : needed, leaves.begin(leaf),
                 leaves.begin(leaf + 1), tiles, sum);
    };
    sweep_leaves(sweep, first, some, 0, scratch[static_cast<std::size_t>(thread)],
                 products_of(i, item % count));
  });
  throw_if_requested(cancel);
  const std::size_t nodes = starts.size() - 1;
  std::vector<std::vector<TaskProducts*>> sums(nodes);
  for (std::size_t node = 0; node < nodes; ++node) {
    const auto begin = static_cast<Index>(starts[node]), end = static_cast<Index>(starts[node + 1]);
    for (Index i = 0; i < n; ++i) {
      for (Index step = 1; step < end - begin; step *= 2) {
        for (Index c = begin; c + step < end; c += 2 * step) {
          add(products_of(i, c), products_of(i, c + step));
        }
      }
      sums[node].push_back(&products_of(i, begin));
    }
  }
  if (shard.is_shared()) exchange_products(shard, sums, k, products);
  for (Index i = 0; has_outer && i < n; ++i) {
    TaskProducts& sum = products[static_cast<std::size_t>(i)];
    if (!tasks.shares(taken[i])) continue;
    sum.Z_out = sum.Z_in;
    if (needed.K_cross) sum.K_cross = sum.K;
    if (needed.K_outer) sum.K_outer = sum.K;
  }
}

/// Computes Z = X B of all tasks, (5), without Gram matrices. If X is in a store, one block is
/// processed after another, and the TaskProducts of each block are appended to the result.
template <class XScalar, class BScalar>
std::vector<TaskProducts> features_of_all(const BScalar* B, Index k, const TaskSet<XScalar>& tasks,
                                          int threads, Cancel* cancel) {
  const TaskSelection every{tasks.size()};
  const Shard shard = tasks.shard();
  std::vector<TaskProducts> all;
  all.reserve(static_cast<std::size_t>(every.n));
  const auto blocks = blocks_of<BScalar>(tasks, every, k, every.n);
  each_block(tasks, every, blocks, [&](const auto& held, const TaskSelection& taken, const Block&) {
    std::vector<TaskProducts> products;
    first_sweep<XScalar, BScalar>(B, k, held, taken, {false, false}, shard, threads, cancel,
                                  products);
    for (TaskProducts& task : products) all.push_back(std::move(task));
  });
  return all;
}

/// Makes the second sweep, (10), by tiles of kCombinedRows features. Tiles write to disjoint rows
/// of `out`, so threads may take the tiles in any order. `start` may be `out`, since a tile reads
/// its rows of `start` before it writes its rows of `out`.
template <class XScalar, class BScalar>
void second_sweep(const std::vector<Part<XScalar>>& parts, Index d, Index k, const BScalar* start,
                  BScalar* out, int threads, Cancel* cancel) {
  if (!parts.empty() && parts.front().set->leaves != nullptr) {
    return sweep_leaves_of_parts(parts, k, start, out, threads, cancel);
  }
  if (!parts.empty() && parts.front().set->is_sparse()) {
    return sparse_second_sweep(parts, d, k, start, out, threads, cancel);
  }
  parallel_for(threads, ceil_div(d, kCombinedRows), cancel, [&](Index tile, int) {
    const Index row = tile * kCombinedRows;
    combine(parts, k, row, std::min(kCombinedRows, d - row), start, out);
  });
  throw_if_requested(cancel);
}

// Instantiations for every type of X with every type of B.
template <class XScalar, class BScalar>
struct SweepInstances {
  static constexpr auto first = &first_sweep<XScalar, BScalar>;
  static constexpr auto features = &features_of_all<XScalar, BScalar>;
  static constexpr auto second = &second_sweep<XScalar, BScalar>;
};
template struct SweepInstances<double, double>;
template struct SweepInstances<double, float>;
template struct SweepInstances<float, double>;
template struct SweepInstances<float, float>;

}  // namespace metaspan
