// The samples of tasks: where the user's own lie, or how rows are made when a sweep needs them.
#pragma once

#include <algorithm>
#include <cmath>

#include "metaspan/random/features.hpp"
#include "metaspan/random/round_choice.hpp"

namespace metaspan {

/// One data set of one task, in place: rows contiguous, `stride` elements from one to the next.
/// Where X is made row by row, y is the noise alone: the rest of a response comes with the row.
/// Where X is in a store, it is null until it has been read.
/// Where only entries are stored, X holds those of row i from starts[i] on, in rising order of
/// columns.
template <class Scalar>
struct Samples {
  const Scalar* X = nullptr;  // (m, d)
  Index stride = 0;
  const Scalar* y = nullptr;  // (m,)
  Index m = 0;
  const RowMaker* maker = nullptr;        // of a set without X
  Index task = 0;                         // its number for the maker or the store
  const std::int64_t* starts = nullptr;   // (m + 1,) of a sparse set
  const std::int32_t* columns = nullptr;  // as many as X

  bool sparse() const { return starts != nullptr; }
  Index entries() const { return starts[m] - starts[0]; }
  /// Bytes of X, of so many columns.
  Index bytes(Index d) const {
    const auto number = static_cast<Index>(sizeof(Scalar));
    return sparse() ? (number + static_cast<Index>(sizeof *columns)) * entries() : number * m * d;
  }

  bool operator==(const Samples& other) const {
    return X == other.X && stride == other.stride && y == other.y && m == other.m &&
           maker == other.maker && task == other.task && columns == other.columns &&
           sparse() == other.sparse() &&
           (!sparse() || std::equal(starts, starts + m + 1, other.starts));
  }
};

/// What responses are made of where X is.
struct Truth {
  Mat B_star_t;     // (k_star, d)
  Mat minus_heads;  // (n, k_star)  -w_star of the tasks
};

template <class Scalar>
class Store;

/// The tasks of a batch, all with d features.
template <class Scalar>
struct TaskSet {
  Index d = 0;
  std::vector<Samples<Scalar>> inner, outer;  // (n,) each; adaptation alone needs no outer ones
  const Truth* truth = nullptr;               // where rows are made
  Store<Scalar>* store = nullptr;             // where X is not in memory

  Index size() const { return static_cast<Index>(inner.size()); }
  const Samples<Scalar>& in(Index i) const { return inner[static_cast<std::size_t>(i)]; }
  const Samples<Scalar>& out(Index i) const { return outer[static_cast<std::size_t>(i)]; }
  bool shares(Index i) const { return in(i) == out(i); }
  bool sparse() const { return !inner.empty() && inner.front().sparse(); }

  Index most_in() const { return most(inner); }
  Index most_out() const { return most(outer); }
  /// What a pass reads of X of the largest set.
  Index most_bytes(const std::vector<Samples<Scalar>>& sets) const {
    Index found = 0;
    for (const auto& set : sets) found = std::max(found, set.bytes(d));
    return found;
  }

 private:
  static Index most(const std::vector<Samples<Scalar>>& sets) {
    Index found = 0;
    for (const auto& set : sets) found = std::max(found, set.m);
    return found;
  }
};

/// Columns [first, first + columns) of X of some tasks.
struct Request {
  TaskSelection tasks;
  Index first, columns;
};

/// X of a batch that is larger than memory.
template <class Scalar>
class Store {
 public:
  virtual ~Store() = default;
  /// The tasks of `now`, one after the other, until the next call; what `next` asks for is read
  /// meanwhile. Throws what reading throws.
  virtual TaskSet<Scalar>& read(const Request& now, const Request& next,
                                const TaskSet<Scalar>& all) = 0;
};

/// 1 / sqrt(m): what brings a data set to the algebra's units.
inline double normalisation(Index m) { return m > 0 ? 1 / std::sqrt(static_cast<double>(m)) : 0; }

template <class Scalar>
void normalise_y(const Samples<Scalar>& set, Vec& y) {
  y.resize(set.m);
  for (Index i = 0; i < set.m; ++i) y[i] = normalisation(set.m) * static_cast<double>(set.y[i]);
}

/// What a round finds besides grad_B: means and, by task of the round, what was asked for.
struct RoundOutputs {
  Vec w;        // (k,)    grad_w
  Mat losses;   // (3, n)  inner before, inner after, outer
  Mat adapted;  // (n, k)  w_J
};

}  // namespace metaspan
