// The samples of tasks: arrays of the user, or rows that are generated when a sweep needs them.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <type_traits>
#include <variant>

#include "metaspan/base/shard.hpp"
#include "metaspan/data/sparse_rows.hpp"
#include "metaspan/data/truth.hpp"
#include "metaspan/random/features.hpp"
#include "metaspan/random/round_choice.hpp"

namespace metaspan {

/// A dense X (m, d) in memory. Each row is contiguous, and rows begin `stride` elements apart.
template <class Scalar>
struct DenseRows {
  const Scalar* X;
  Index stride;

  bool operator==(const DenseRows& other) const { return X == other.X && stride == other.stride; }
};

/// Rows of X that are generated from a FeatureLaw when a sweep needs them, (12). In y such a set
/// stores only the noise; the rest of a response is computed from the generated row.
struct MadeRows {
  const RowMaker* maker;
  Index task;  // number of the task, passed to the RowMaker

  bool operator==(const MadeRows& other) const {
    return maker == other.maker && task == other.task;
  }
};

/// Rows of X that a function of the user supplies during a sweep. Here y holds the noise only.
struct SourcedRows {
  const RowSource* source;
  const double* roots;  // (d,)  square roots of a diagonal covariance, or null for I
  Index task;           // number of the task, passed to the source

  bool operator==(const SourcedRows& other) const {
    return source == other.source && task == other.task;
  }
};

/// An X in a store. For a sweep, the store reads this X into memory as dense rows.
struct StoredRows {
  Index number;  // number of the set in the store

  bool operator==(const StoredRows& other) const { return number == other.number; }
};

/// One data set of one task.
template <class Scalar>
struct Samples {
  std::variant<DenseRows<Scalar>, SparseRows<Scalar>, MadeRows, SourcedRows, StoredRows> rows;
  const Scalar* y;  // (m,)
  Index m;
  const BandedRows<Scalar>* banded = nullptr;  // a copy of sparse rows, or null
  const LeafRows<Scalar>* leaves = nullptr;    // a copy of sparse rows in a sharded run, or null

  template <class Rows>
  bool has() const {
    return std::holds_alternative<Rows>(rows);
  }
  bool is_sparse() const { return has<SparseRows<Scalar>>(); }
  bool is_stored() const { return has<StoredRows>(); }
  /// Returns whether rows are generated during a sweep.
  bool is_made() const { return has<MadeRows>() || has<SourcedRows>(); }

  const DenseRows<Scalar>& dense() const { return std::get<DenseRows<Scalar>>(rows); }
  const SparseRows<Scalar>& sparse() const { return std::get<SparseRows<Scalar>>(rows); }
  /// Returns the number of entries of a sparse set.
  Index entries() const { return sparse().entries(m); }

  /// Returns the bytes of X if X has d columns.
  Index bytes(Index d) const {
    const auto number = static_cast<Index>(sizeof(Scalar));
    if (!is_sparse()) return number * m * d;
    return (number + static_cast<Index>(sizeof(std::int32_t))) * entries();
  }

  /// Returns the part of a sparse set in the columns of a leaf.
  Samples in_leaf(Index leaf) const { return {leaves->rows(leaf), y, m}; }

  bool operator==(const Samples& other) const {
    if (y != other.y || m != other.m || rows.index() != other.rows.index()) return false;
    return std::visit(
        [&](const auto& a) {
          using Rows = std::decay_t<decltype(a)>;
          const Rows& b = std::get<Rows>(other.rows);
          if constexpr (std::is_same_v<Rows, SparseRows<Scalar>>) {
            return a.columns == b.columns && a.values == b.values &&
                   std::equal(a.starts, a.starts + m + 1, b.starts);
          } else {
            return a == b;
          }
        },
        rows);
  }
};

template <class Scalar>
class Store;

/// The tasks of a batch, all with d features. In a sharded run these are the features of this
/// process, and so are the rows of B.
template <class Scalar>
struct TaskSet {
  Index d = 0;
  std::vector<Samples<Scalar>> inner, outer;  // (n,) each; outer may be empty to adapt alone
  const Truth* truth = nullptr;               // of generated rows
  Store<Scalar>* store = nullptr;             // of stored rows
  // in_order: X B, for a far B (see Reach), adds the entries of a sparse row in the order of copies
  // by bands, even without copies. on_device: dense X are in device memory; y never is.
  bool in_order = false, on_device = false;
  std::vector<double> weights;          // (n,) with mean 1, or empty if all tasks have the weight 1
  std::shared_ptr<const Shard> shared;  // the columns of this process, or null if it holds all

  /// Returns the columns of this process among those of all processes.
  Shard shard() const { return shared == nullptr ? Shard(d) : *shared; }
  /// Returns the number of columns of all processes.
  Index all_columns() const { return shared == nullptr ? d : shared->d(); }
  Index size() const { return static_cast<Index>(inner.size()); }
  const Samples<Scalar>& in(Index i) const { return inner[static_cast<std::size_t>(i)]; }
  const Samples<Scalar>& out(Index i) const { return outer[static_cast<std::size_t>(i)]; }
  bool shares(Index i) const { return in(i) == out(i); }
  double weight(Index i) const {
    return weights.empty() ? 1 : weights[static_cast<std::size_t>(i)];
  }
  // All sets have rows of the same type, so testing the first set is enough.
  bool is_sparse() const { return !inner.empty() && inner.front().is_sparse(); }
  bool is_made() const { return !inner.empty() && inner.front().is_made(); }
  bool is_stored() const { return !inner.empty() && inner.front().is_stored(); }

  Index most_in() const { return most(inner); }
  Index most_out() const { return most(outer); }
  /// Returns the bytes of the X of the largest set.
  Index most_bytes(const std::vector<Samples<Scalar>>& sets) const {
    Index largest = 0;
    for (const auto& set : sets) largest = std::max(largest, set.bytes(d));
    return largest;
  }

 private:
  static Index most(const std::vector<Samples<Scalar>>& sets) {
    Index largest = 0;
    for (const auto& set : sets) largest = std::max(largest, set.m);
    return largest;
  }
};

/// A request for columns [first, first + columns) of the X of some tasks.
struct Request {
  TaskSelection tasks;
  Index first, columns;
};

/// A store of the X of a batch that is larger than memory.
template <class Scalar>
class Store {
 public:
  virtual ~Store() = default;
  /// Returns the tasks that `now` requests, which stay valid until the next call. The call also
  /// starts to read what `next` requests. Throws the exception of a read that failed.
  virtual TaskSet<Scalar>& read(const Request& now, const Request& next,
                                const TaskSet<Scalar>& all) = 0;
};

/// Returns 1 / sqrt(m), which scales m samples to the units of the algebra, (5)-(10); 0 if m = 0.
inline double normalisation(Index m) { return m > 0 ? 1 / std::sqrt(static_cast<double>(m)) : 0; }

/// Computes y / sqrt(m) in double.
template <class Scalar>
void normalise_y(const Samples<Scalar>& set, Vec& y) {
  y.resize(set.m);
  for (Index i = 0; i < set.m; ++i) y[i] = normalisation(set.m) * static_cast<double>(set.y[i]);
}

}  // namespace metaspan
