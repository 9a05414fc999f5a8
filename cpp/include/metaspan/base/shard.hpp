// The d columns of X, (m, d), the pieces into which all sums over d are cut, and the order in which
// the sums of the pieces are added. The processes of a sharded run hold different columns; the cut
// and the order depend on d alone, so a sum has the same bits for any number of processes.
#pragma once

#include <memory>
#include <vector>

#include "metaspan/base/base.hpp"

namespace metaspan {

/// Sends numbers between the processes of a sharded run. All processes make the same calls in the
/// same order, each from one thread, outside parallel loops.
class Exchange {
 public:
  virtual ~Exchange() = default;
  /// Sends `numbers` to every process. Writes counts[r] numbers of each process r to `all`, in the
  /// order of the processes.
  virtual void gather(const double* numbers, const std::vector<Index>& counts, double* all) = 0;
  /// Sends sent[r] numbers of `numbers` to each process r, and writes the received[r] numbers that
  /// process r has sent to `out`, both in the order of the processes.
  virtual void swap(const double* numbers, const std::vector<Index>& sent,
                    const std::vector<Index>& received, double* out) = 0;
};

/// The columns that this process holds, [first, first + size) of d. The d columns are cut into 2^l
/// pieces of nearly equal width for every level l; each piece of a level is the union of two pieces
/// of the next. A process holds whole leaves, the pieces of one level that d determines. Pieces
/// have widths that are multiples of kUnit, except the last.
///
/// A sum over d is computed for every piece of a level at or below the leaves, and the sums of two
/// pieces are added to give the sum of their union, up to the sum of all. This order is a tree that
/// does not depend on the processes. A process adds what it can of the tree, so it has one sum for
/// each of its nodes: the largest unions whose leaves it holds. sum() exchanges the sums of nodes
/// and adds the rest of the tree.
class Shard {
 public:
  static constexpr Index kUnit = 256;  // a multiple of the columns that kernels take together

  /// All d columns, in this process.
  Shard(Index d) : Shard(d, 0, 1, nullptr) {}  // NOLINT(google-explicit-constructor)
  /// The columns of process `rank` of `ranks`, which are at most the number of leaves.
  Shard(Index d, Index rank, Index ranks, std::shared_ptr<Exchange> exchange);

  Index d() const { return d_; }
  Index first() const { return first_; }
  Index size() const { return size_; }
  Index rank() const { return rank_; }
  Index ranks() const { return ranks_; }
  /// Whether other processes hold columns, so that a sum needs an exchange.
  bool is_shared() const { return exchange_ != nullptr; }

  /// Returns the number of leaves into which d columns are cut.
  static Index leaves(Index d);
  /// Returns the first column of each process and d, (ranks + 1,).
  static std::vector<Index> edges(Index d, Index ranks);

  /// The pieces of one level that belong to this process.
  struct Pieces {
    int level;
    Index first, count;  // among all pieces of the level
    Index units, d, offset;

    /// The first column of a piece, 0 <= i <= count, counted from the first of this process.
    Index begin(Index i) const;
    Index size(Index i) const { return begin(i + 1) - begin(i); }
    Index widest() const;
  };
  /// Returns the pieces of the first level, at or below the leaves, whose pieces have at most
  /// `most` columns, where `most` >= kUnit.
  Pieces pieces(Index most) const;
  /// Returns the leaves of this process.
  Pieces leaves() const { return pieces(kUnit * units_); }

  /// Nodes of this process in the order of their columns: ranges of pieces.
  struct Node {
    Index begin, end;  // of the pieces of this process
  };
  std::vector<Node> nodes(const Pieces& pieces) const;

  /// Computes the sum over all pieces of all processes. `parts` has `count` numbers of each piece
  /// of this process, and is overwritten.
  void sum(const Pieces& pieces, Index count, double* parts,
           double* out) const;  // (count,) out
  /// Computes the sum from the sums of the nodes of this process, (nodes, count). `out` may be
  /// `sums` if there is one node.
  void sum_nodes(Index count, const double* sums, double* out) const;

  /// Returns the blocks of `count` numbers of all nodes of all processes, in the order of their
  /// columns, (all nodes, count). `blocks` has those of the nodes of this process.
  std::vector<double> gather_nodes(Index count, const double* blocks) const;
  /// Returns the numbers of leaves of all nodes of all processes, in the order of their columns.
  const std::vector<Index>& sizes_of_nodes() const { return node_sizes_; }

  /// Returns the numbers of columns of all nodes of all processes, in the order of their columns.
  std::vector<Index> columns_of_nodes() const;

  /// Returns the largest of a number over all processes.
  double largest(double number) const;
  /// Replaces each number by the largest over all processes.
  void largest(Index count, double* numbers) const;
  /// Sends numbers of this process to all; `counts` are numbers of each process.
  void gather(const double* numbers, const std::vector<Index>& counts, double* all) const;

 private:
  Index d_, rank_, ranks_, first_, size_;
  Index units_;  // of kUnit columns; the last unit may have fewer
  int leaf_level_;
  Index leaf_first_, leaf_count_;  // the leaves of this process
  std::vector<Index> node_sizes_;  // of all processes
  std::vector<Index> nodes_of_;    // (ranks,) number of nodes of each process
  std::shared_ptr<Exchange> exchange_;
};

/// Adds pairs of neighbours up to one value, in the order of the tree. `sizes` are the leaves of
/// each value, and add(i, j) adds value j to value i, whose leaves precede those of j.
template <class Add>
void add_in_tree(const std::vector<Index>& sizes, Add&& add) {
  struct Held {
    std::size_t at;
    Index size, begin;
  };
  std::vector<Held> held;
  Index begin = 0;
  for (std::size_t i = 0; i < sizes.size(); begin += sizes[i], ++i) {
    held.push_back({i, sizes[i], begin});
    while (held.size() > 1) {
      const Held right = held.back();
      Held& left = held[held.size() - 2];
      if (left.size != right.size || left.begin % (2 * left.size) != 0) break;
      add(left.at, right.at);
      left.size *= 2;
      held.pop_back();
    }
  }
}

}  // namespace metaspan
