#include "metaspan/sweeps/dual_gram.hpp"

#include <algorithm>
#include <utility>

#include "metaspan/base/error.hpp"
#include "metaspan/base/parallel.hpp"
#include "metaspan/data/blocks.hpp"
#include "metaspan/sweeps/leaf_copies.hpp"
#include "metaspan/sweeps/sparse_gram.hpp"

namespace metaspan {
namespace {

/// All samples of a batch, (N, d), in the order of the rows of G: the inner sets, then those outer
/// sets that are not also the inner set of their task. Samples in memory are not copied; only their
/// addresses are stored.
template <class XScalar>
struct Rows {
  explicit Rows(const TaskSet<XScalar>& tasks) {
    const auto append = [&](const Samples<XScalar>& set) {
      const auto first = static_cast<Index>(scale.size());
      scale.insert(scale.end(), static_cast<std::size_t>(set.m), normalisation(set.m));
      if (set.is_sparse()) append_rows(set, normalisation(set.m), sparse);
      if (!set.template has<DenseRows<XScalar>>()) return first;
      const auto& [X, stride] = set.dense();
      for (Index i = 0; i < set.m; ++i) row.push_back(X + i * stride);
      return first;
    };
    for (const auto& set : tasks.inner) inner.push_back(append(set));
    inner_rows = static_cast<Index>(scale.size());
    for (Index i = 0; i < tasks.size(); ++i) {
      outer.push_back(tasks.shares(i) ? inner[static_cast<std::size_t>(i)] : append(tasks.out(i)));
    }
  }
  std::vector<const XScalar*> row;         // addresses of the rows of dense sets
  std::vector<SparseRow<XScalar>> sparse;  // the rows of sparse sets
  std::vector<double> scale;
  std::vector<Index> inner, outer;
  Index inner_rows = 0;
};

/// Rows [begin, end) of G.
struct Range {
  Index begin, end;
  Index size() const { return end - begin; }
};

/// Cuts the rows of G into blocks of nearly equal size. No block has both inner and outer samples,
/// so inner products that a method does not need can be left out in whole blocks. The blocks depend
/// on the numbers of samples only.
std::vector<Range> blocks_of(Index inner_rows, Index N) {
  std::vector<Range> blocks;
  for (const auto& [begin, end] : {Range{0, inner_rows}, Range{inner_rows, N}}) {
    const Index count = ceil_div(end - begin, kListedRows);
    for (Index b = 0; b < count; ++b) {
      blocks.push_back(
          {begin + b * (end - begin) / count, begin + (b + 1) * (end - begin) / count});
    }
  }
  return blocks;
}

/// Returns whether two blocks contain rows of the same task's inner set, so that the product of the
/// two blocks has entries of K of this task.
template <class XScalar>
bool share_a_task(const TaskSet<XScalar>& tasks, const Rows<XScalar>& rows, const Range& a,
                  const Range& b) {
  for (Index i = 0; i < tasks.size(); ++i) {
    const Index begin = rows.inner[static_cast<std::size_t>(i)], end = begin + tasks.in(i).m;
    const auto meets = [&](const Range& block) { return begin < block.end && end > block.begin; };
    if (meets(a) && meets(b)) return true;
  }
  return false;
}

/// Columns [begin, end) of all samples, in memory.
template <class XScalar>
struct Stripe {
  Index begin, end;
  std::vector<const XScalar*> row;  // (N,)  from column `begin` on
};

/// Reads the next columns of all samples, before column `all`, from a store: as many tiles of
/// `most` columns as fit in kStoreBlockBytes, and at least one tile. Reading several tiles at once
/// lets the store read long pieces of every row, and read each element once. The next stripe is
/// requested in the same call, so that the store reads ahead.
template <class XScalar>
Stripe<XScalar> next_stripe(const TaskSet<XScalar>& tasks, Index N, Index most, Index begin,
                            Index all) {
  const Index tile_bytes = static_cast<Index>(sizeof(XScalar)) * N * most;
  const Index columns =
      most * std::max<Index>(1, static_cast<Index>(kStoreBlockBytes) / tile_bytes);
  const auto request = [&](Index first) {
    return Request{{tasks.size()}, first, std::min(columns, all - first)};
  };
  const Index end = std::min(all, begin + columns);
  const Request now = request(begin), next = end < all ? request(end) : Request{{}, 0, 0};
  return {begin, end, Rows<XScalar>(tasks.store->read(now, next, tasks)).row};
}

/// Multiplies two ranges of rows of a tile (N, depth), and adds the product to the block of G for
/// these ranges.
void add_product(const Mat& tile, Index depth, const Range& a, const Range& b, Mat& G) {
  // The product is computed in a matrix that Eigen allocates. How Eigen cuts a product into blocks
  // depends on the address of the result, and the blocks determine the last bits of the product.
  const Mat product =
      tile.block(a.begin, 0, a.size(), depth) * tile.block(b.begin, 0, b.size(), depth).transpose();
  G.block(a.begin, b.begin, a.size(), b.size()) += product;
}

/// Computes G for sparse rows. Each thread takes one pair of blocks of rows at a time. Different
/// pairs write to disjoint blocks of G, so threads may process the pairs in any order.
template <class XScalar>
void add_sparse_products(const Rows<XScalar>& rows, Index d,
                         const std::vector<std::pair<Range, Range>>& pairs, int threads,
                         Cancel* cancel, Mat& G) {
  std::vector<SparseProducts> products(static_cast<std::size_t>(threads));
  const SparseRow<XScalar>* first = rows.sparse.data();
  parallel_for(threads, static_cast<Index>(pairs.size()), cancel, [&](Index p, int thread) {
    const auto& [a, b] = pairs[static_cast<std::size_t>(p)];
    products[static_cast<std::size_t>(thread)].add(first + a.begin, a.size(), first + b.begin,
                                                   b.size(), d, &G(a.begin, b.begin), G.cols());
  });
  throw_if_requested(cancel);
}

/// Adds to the blocks of G the products of columns [begin, end) of dense rows. For each tile of
/// columns, the threads first convert the columns to double and scale them, and then compute the
/// pairs of blocks. Both are divided among all threads. Each block of G is summed over the tiles in
/// order, so the bits do not depend on the number of threads.
template <class XScalar>
void add_dense_products(const TaskSet<XScalar>& tasks, const Rows<XScalar>& rows,
                        const std::vector<Range>& blocks,
                        const std::vector<std::pair<Range, Range>>& pairs, Index begin, Index end,
                        int threads, Cancel* cancel, Mat& G) {
  const Index N = G.rows(), most = tile_columns(N);
  Mat tile(N, std::min(most, end - begin));
  Stripe<XScalar> stripe{0, tasks.is_stored() ? begin : end, rows.row};
  for (Index column = begin; column < end; column += most) {
    const Index depth = std::min(most, end - column);
    if (column == stripe.end) stripe = next_stripe(tasks, N, most, column, end);
    parallel_for(threads, static_cast<Index>(blocks.size()), cancel, [&](Index block, int) {
      const auto [first, last] = blocks[static_cast<std::size_t>(block)];
      for (Index i = first; i < last; ++i) {
        const auto at = static_cast<std::size_t>(i);
        for (Index c = 0; c < depth; ++c) {
          tile(i, c) =
              rows.scale[at] * static_cast<double>(stripe.row[at][column - stripe.begin + c]);
        }
      }
    });
    parallel_for(threads, static_cast<Index>(pairs.size()), cancel, [&](Index p, int) {
      const auto& [a, b] = pairs[static_cast<std::size_t>(p)];
      add_product(tile, depth, a, b, G);
    });
    throw_if_requested(cancel);
  }
}

/// Computes the sum of add(leaf, G) over leaves [first, first + count), a power of two of them, in
/// the order of the tree.
template <class Add>
void add_leaves(const Add& add, Index first, Index count, Mat& G) {
  if (count == 1) return add(first, G);
  add_leaves(add, first, count / 2, G);
  Mat right = Mat::Zero(G.rows(), G.cols());
  add_leaves(add, first + count / 2, count / 2, right);
  G += right;
}

/// Computes G over the columns of all processes: the sum over each node of this process, and then
/// the sums of the nodes by an exchange.
template <class Add>
void add_shared_products(const Shard& shard, const Add& add, Mat& G) {
  const Index numbers = G.size();
  const std::vector<Shard::Node> nodes = shard.nodes(shard.leaves());
  std::vector<double> sums;
  for (const auto& [begin, end] : nodes) {
    G.setZero();
    add_leaves(add, begin, end - begin, G);
    if (nodes.size() > 1) sums.insert(sums.end(), G.data(), G.data() + numbers);
  }
  shard.sum_nodes(numbers, nodes.size() > 1 ? sums.data() : G.data(), G.data());
}

}  // namespace

/// Computes the normalised G = X_all X_all^T, (N, N), in the only sweep over the data that (24)
/// needs. G is symmetric, so only blocks on and below the diagonal are computed; their transposes
/// are the blocks above the diagonal. Inner products of two inner samples are computed only if the
/// method reads them. If other processes hold columns, the sum over d is cut into leaves. Their
/// sums take further memory of several times the size of G: one sum for each depth of the tree, and
/// one for each node of this process. Otherwise it is a sum over tiles, whose last bits differ.
template <class XScalar>
DualGram make_dual_gram(const TaskSet<XScalar>& tasks, InnerProducts wanted, int threads,
                        Cancel* cancel) {
  const Rows<XScalar> rows(tasks);
  for (Index i = 0; i < tasks.size(); ++i) {
    if (tasks.shares(i)) wanted = InnerProducts::all;  // its inner samples are outer ones too
  }
  const auto N = static_cast<Index>(rows.scale.size());
  const std::vector<Range> blocks = blocks_of(rows.inner_rows, N);
  std::vector<std::pair<Range, Range>> pairs;  // on and below the diagonal
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      const Range &a = blocks[i], &b = blocks[j];
      const bool skipped = a.end <= rows.inner_rows &&
                           (wanted == InnerProducts::none ||
                            (wanted == InnerProducts::own && !share_a_task(tasks, rows, a, b)));
      if (skipped) continue;
      if (i != j) {
        pairs.emplace_back(a, b);
        continue;
      }
      // A block on the diagonal is cut in two, which saves a quarter of its inner products.
      const Index middle = a.begin + a.size() / 2;
      const Range low{a.begin, middle}, high{middle, a.end};
      for (const auto& part : {std::pair{low, low}, std::pair{high, low}, std::pair{high, high}}) {
        pairs.push_back(part);
      }
    }
  }
  DualGram gram{Mat::Zero(N, N), rows.inner, rows.outer, rows.inner_rows};
  const Shard shard = tasks.shard();
  const Shard::Pieces leaves = shard.leaves();
  const auto add_leaf = [&](Index leaf, Mat& G) {
    if (tasks.is_sparse()) {
      const Rows<XScalar> in_leaf(tasks_in_leaf(tasks, {tasks.size()}, leaf));
      return add_sparse_products(in_leaf, leaves.size(leaf), pairs, threads, cancel, G);
    }
    add_dense_products(tasks, rows, blocks, pairs, leaves.begin(leaf), leaves.begin(leaf + 1),
                       threads, cancel, G);
  };
  if (shard.is_shared()) {
    add_shared_products(shard, add_leaf, gram.G);
  } else if (tasks.is_sparse()) {
    add_sparse_products(rows, tasks.d, pairs, threads, cancel, gram.G);
  } else {
    add_dense_products(tasks, rows, blocks, pairs, 0, tasks.d, threads, cancel, gram.G);
  }
  // The upper triangle of G is the transpose of the lower triangle.
  parallel_for(threads, static_cast<Index>(pairs.size()), [&](Index p, int) {
    const auto& [a, b] = pairs[static_cast<std::size_t>(p)];
    if (a.begin == b.begin) return;
    gram.G.block(b.begin, a.begin, b.size(), a.size()) =
        gram.G.block(a.begin, b.begin, a.size(), b.size()).transpose();
  });
  return gram;
}

template DualGram make_dual_gram<float>(const TaskSet<float>&, InnerProducts, int, Cancel*);
template DualGram make_dual_gram<double>(const TaskSet<double>&, InnerProducts, int, Cancel*);

}  // namespace metaspan
