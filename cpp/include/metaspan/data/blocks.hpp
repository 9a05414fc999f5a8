// The tasks of a round in blocks. If a batch is larger than memory, the X of one block is loaded at
// a time.
#pragma once

#include <algorithm>

#include "metaspan/base/sizes.hpp"
#include "metaspan/data/samples.hpp"
#include "metaspan/random/round_choice.hpp"

namespace metaspan {

/// Tasks [first, first + count) of a round.
struct Block {
  Index first, count;
};

/// Returns whether the number of bytes in a block is limited. Blocks are limited if X is in a
/// store, or if the numbers of B are narrower than double. If the numbers of B are narrower, grad_B
/// is rounded after each block, so data in memory give the same bits as data in a store only if
/// both are cut into the same blocks.
inline bool are_limited(bool stored, Index B_number_bytes) {
  return stored || B_number_bytes < static_cast<Index>(sizeof(double));
}

/// Returns the limit on the bytes of X in a block: kStoreBlockBytes or four times the bytes of B,
/// whichever is more.
inline double block_bytes(Index d, Index k, Index B_number_bytes) {
  return std::max(kStoreBlockBytes,
                  4.0 * static_cast<double>(B_number_bytes) * static_cast<double>(d * k));
}

/// Splits the tasks of a round into blocks of at most `most` tasks. The split depends on shapes
/// alone, so data in a store and data in memory give the same bits. It counts the columns of all
/// processes; of sparse sets, whose entries no process knows all, no bytes are limited if other
/// processes hold columns.
template <class BScalar, class XScalar>
std::vector<Block> blocks_of(const TaskSet<XScalar>& tasks, const TaskSelection& taken, Index k,
                             Index most) {
  constexpr auto kNumber = static_cast<Index>(sizeof(BScalar));
  const Index d = tasks.all_columns();
  const bool limited =
      are_limited(tasks.is_stored(), kNumber) && !(tasks.is_sparse() && tasks.shared != nullptr);
  const double room = block_bytes(d, k, kNumber);
  std::vector<Block> blocks;
  Index bytes = 0;
  for (Index i = 0; i < taken.n; ++i) {
    const Index task = taken[i];
    const bool twice = !tasks.outer.empty() && !tasks.shares(task);
    const Index more = tasks.in(task).bytes(d) + (twice ? tasks.out(task).bytes(d) : 0);
    const bool full = blocks.empty() || blocks.back().count == most;
    if (full || (limited && static_cast<double>(bytes + more) > room)) {
      blocks.push_back({i, 0});
      bytes = 0;
    }
    ++blocks.back().count;
    bytes += more;
  }
  return blocks;
}

/// Returns the part of the selection `taken` that has the tasks of `block`.
inline TaskSelection part_of(const TaskSelection& taken, const Block& block) {
  if (taken.tasks != nullptr) return {block.count, taken.tasks + block.first, 0};
  return {block.count, nullptr, taken.first + block.first};
}

/// Calls body(tasks, taken, block) for every block, where `taken` selects the tasks of the block
/// from `tasks`. If X is in a store, the store reads the next block while the body runs. If the
/// round uses all tasks in order, the store reads the first block of the next round while the body
/// runs on the last block.
template <class Scalar, class Body>
void each_block(const TaskSet<Scalar>& tasks, const TaskSelection& taken,
                const std::vector<Block>& blocks, Body&& body) {
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    const TaskSelection now = part_of(taken, blocks[b]);
    if (!tasks.is_stored()) {
      body(tasks, now, blocks[b]);
      continue;
    }
    const bool last = b + 1 == blocks.size();
    const bool known = !last || taken.tasks == nullptr;
    const TaskSelection next = known ? part_of(taken, blocks[last ? 0 : b + 1]) : TaskSelection{};
    TaskSet<Scalar>& held = tasks.store->read({now, 0, tasks.d}, {next, 0, tasks.d}, tasks);
    body(held, TaskSelection{now.n}, blocks[b]);
  }
}

}  // namespace metaspan
