// The tasks of a round in blocks: where a batch is larger than memory, the X of one at a time.
#pragma once

#include <algorithm>

#include "metaspan/data/samples.hpp"
#include "metaspan/random/round_choice.hpp"

namespace metaspan {

/// Tasks [first, first + count) of a round.
struct Block {
  Index first, count;
};

constexpr double kBlockBytes = 1 << 27;  // of X at a time, or as many as of B, and more

/// Bytes of X.
template <class Scalar>
double bytes_of(const Samples<Scalar>& set, Index d) {
  if (!set.sparse()) return static_cast<double>(set.m * d) * sizeof(Scalar);
  return static_cast<double>(set.entries()) * (sizeof(Scalar) + sizeof(std::int32_t));
}

/// Blocks of at most `most` tasks. Where X is in a store, or where what blocks add to B is rounded
/// to less than double between them, a block holds the kBlockBytes of X that fill it, or four times
/// the bytes of B: cut by shape alone, so that a store changes no bit.
template <class BScalar, class XScalar>
std::vector<Block> blocks_of(const TaskSet<XScalar>& tasks, const Taken& taken, Index k,
                             Index most) {
  const bool limited = tasks.store != nullptr || sizeof(BScalar) < sizeof(double);
  const double room =
      std::max(kBlockBytes, 4.0 * sizeof(BScalar) * static_cast<double>(tasks.d * k));
  std::vector<Block> blocks;
  double bytes = 0;
  for (Index i = 0; i < taken.n; ++i) {
    const Index task = taken[i];
    const bool twice = !tasks.outer.empty() && !tasks.shares(task);
    const double own =
        bytes_of(tasks.in(task), tasks.d) + (twice ? bytes_of(tasks.out(task), tasks.d) : 0);
    const bool full = blocks.empty() || blocks.back().count == most;
    if (full || (limited && bytes + own > room)) {
      blocks.push_back({i, 0});
      bytes = 0;
    }
    ++blocks.back().count;
    bytes += own;
  }
  return blocks;
}

/// The tasks of a block as a choice of their own.
inline Taken part_of(const Taken& taken, const Block& block) {
  if (taken.tasks != nullptr) return {block.count, taken.tasks + block.first, 0};
  return {block.count, nullptr, taken.first + block.first};
}

/// body(tasks, taken, block) for every block, with the tasks and the choice among them that `block`
/// stands for. A store reads the next block meanwhile; all tasks in order are expected again.
template <class Scalar, class Body>
void each_block(const TaskSet<Scalar>& tasks, const Taken& taken, const std::vector<Block>& blocks,
                Body&& body) {
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    const Taken now = part_of(taken, blocks[b]);
    if (tasks.store == nullptr) {
      body(tasks, now, blocks[b]);
      continue;
    }
    const bool last = b + 1 == blocks.size();
    const bool known = !last || taken.tasks == nullptr;
    const Taken next = known ? part_of(taken, blocks[last ? 0 : b + 1]) : Taken{};
    TaskSet<Scalar>& held = tasks.store->read({now, 0, tasks.d}, {next, 0, tasks.d}, tasks);
    body(held, Taken{now.n}, blocks[b]);
  }
}

}  // namespace metaspan
