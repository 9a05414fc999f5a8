#include "metaspan/sweeps/leaf_copies.hpp"

#include <algorithm>

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
TaskSet<Scalar> tasks_in_leaf(const TaskSet<Scalar>& tasks, Index leaf) {
  TaskSet<Scalar> part;
  part.d = tasks.in(0).leaves->size(leaf);
  for (const auto& set : tasks.inner) part.inner.push_back(set.in_leaf(leaf));
  for (const auto& set : tasks.outer) part.outer.push_back(set.in_leaf(leaf));
  return part;
}

template LeafCopies<float> copy_by_leaves(TaskSet<float>&);
template LeafCopies<double> copy_by_leaves(TaskSet<double>&);
template TaskSet<float> tasks_in_leaf(const TaskSet<float>&, Index);
template TaskSet<double> tasks_in_leaf(const TaskSet<double>&, Index);

}  // namespace metaspan
