#include "metaspan/sweeps/leaf_copies.hpp"

#include <algorithm>

#include "metaspan/base/parallel.hpp"
#include "sparse.hpp"

namespace metaspan {
namespace {

/// Copies a set. The entries of a row are sorted by column, so those of a leaf are a range.
template <class Scalar>
LeafRows<Scalar> copy_set(const Samples<Scalar>& set, const Shard::Pieces& leaves) {
  const SparseRows<Scalar>& X = set.sparse();
  LeafRows<Scalar> copy;
  copy.columns.reserve(static_cast<std::size_t>(set.entries()));
  copy.values.reserve(static_cast<std::size_t>(set.entries()));
  std::vector<std::int64_t> next(X.starts,
                                 X.starts + set.m);  // first entry of a row not yet copied
  for (Index leaf = 0; leaf < leaves.count; ++leaf) {
    const Index begin = leaves.begin(leaf), end = leaves.begin(leaf + 1);
    std::vector<std::int64_t>& starts = copy.starts.emplace_back();
    for (Index i = 0; i < set.m; ++i) {
      starts.push_back(static_cast<std::int64_t>(copy.columns.size()));
      std::int64_t& p = next[static_cast<std::size_t>(i)];
      for (; p < X.starts[i + 1] && X.columns[p] < end; ++p) {
        copy.columns.push_back(static_cast<std::int32_t>(X.columns[p] - begin));
        copy.values.push_back(X.values[p]);
      }
    }
    starts.push_back(static_cast<std::int64_t>(copy.columns.size()));
    copy.begins.push_back(begin);
  }
  copy.begins.push_back(leaves.begin(leaves.count));
  return copy;
}

}  // namespace

template <class Scalar>
LeafCopies<Scalar> copy_by_leaves(TaskSet<Scalar>& tasks) {
  const Shard::Pieces leaves = tasks.shard().leaves();
  LeafCopies<Scalar> copies;
  const auto copy = [&](Samples<Scalar>& set) {
    copies.push_back(std::make_unique<const LeafRows<Scalar>>(copy_set(set, leaves)));
    set.leaves = copies.back().get();
  };
  for (Index i = 0; i < tasks.size(); ++i) {
    const auto at = static_cast<std::size_t>(i);
    copy(tasks.inner[at]);
    if (tasks.outer.empty()) continue;
    if (tasks.shares(i)) {
      tasks.outer[at].leaves = tasks.inner[at].leaves;
    } else {
      copy(tasks.outer[at]);
    }
  }
  return copies;
}

template <class Scalar>
TaskSet<Scalar> tasks_in_leaf(const TaskSet<Scalar>& tasks, const TaskSelection& taken,
                              Index leaf) {
  TaskSet<Scalar> part;
  part.d = tasks.in(0).leaves->size(leaf);
  for (Index i = 0; i < taken.n; ++i) {
    part.inner.push_back(tasks.in(taken[i]).in_leaf(leaf));
    if (!tasks.outer.empty()) part.outer.push_back(tasks.out(taken[i]).in_leaf(leaf));
  }
  return part;
}

template <class Scalar>
void times_leaves(const Samples<Scalar>& set, const double* u, double* parts, int threads) {
  const LeafRows<Scalar>& cut = *set.leaves;
  parallel_for(threads, cut.count(), [&](Index leaf, int) {
    const SparseRows<Scalar> X = cut.rows(leaf);
    kernels::sparse_times(set.m, X.starts, X.columns, X.values, u + cut.begin(leaf),
                          parts + leaf * set.m);
  });
}

/// Leaves are disjoint columns, so threads may take them in any order.
template <class Scalar>
void combine_leaves(const Samples<Scalar>& set, const double* r, double* v, int threads) {
  const LeafRows<Scalar>& cut = *set.leaves;
  parallel_for(threads, cut.count(), [&](Index leaf, int) {
    const SparseRows<Scalar> X = cut.rows(leaf);
    double* of_leaf = v + cut.begin(leaf);
    std::fill_n(of_leaf, cut.size(leaf), 0.0);
    kernels::sparse_combine(set.m, X.starts, X.columns, X.values, 0, cut.size(leaf), r, of_leaf);
  });
}

// Instantiations for every type of X.
template <class Scalar>
struct LeafInstances {
  static constexpr auto copy = &copy_by_leaves<Scalar>;
  static constexpr auto part = &tasks_in_leaf<Scalar>;
  static constexpr auto times = &times_leaves<Scalar>;
  static constexpr auto combine = &combine_leaves<Scalar>;
};
template struct LeafInstances<float>;
template struct LeafInstances<double>;

}  // namespace metaspan
