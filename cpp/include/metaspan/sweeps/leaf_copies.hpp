// Copies of sparse sets that are cut at the leaves of a shard. In a sharded run every sum over a
// sparse row is a sum over leaves, whose sums are added in the tree of Shard. A run that holds all
// columns sums over whole rows, which takes less time, and gets other last bits.
#pragma once

#include <memory>

#include "metaspan/data/samples.hpp"

namespace metaspan {

/// Copies of the sets of a batch. The batch owns the copies, and the sets refer to them.
template <class Scalar>
using LeafCopies = std::vector<std::unique_ptr<const LeafRows<Scalar>>>;

/// Copies all sets of sparse tasks whose columns are shared, and sets the member `leaves` of each.
/// A set that serves both loops is copied once.
template <class Scalar>
LeafCopies<Scalar> copy_by_leaves(TaskSet<Scalar>& tasks);

/// Returns the taken tasks, in their order, in the columns of a leaf.
template <class Scalar>
TaskSet<Scalar> tasks_in_leaf(const TaskSet<Scalar>& tasks, const TaskSelection& taken, Index leaf);

/// Computes X u for the columns of each leaf of a set that has a copy. Threads divide the leaves.
template <class Scalar>
void times_leaves(const Samples<Scalar>& set,
                  const double* u,  // (d,)
                  double* parts,    // (leaves, m) out
                  int threads);

/// Computes X^T r of a set that has a copy.
template <class Scalar>
void combine_leaves(const Samples<Scalar>& set,
                    const double* r,  // (m,)
                    double* v,        // (d,) out
                    int threads);

}  // namespace metaspan
