// The choice of the tasks of a round from a fixed set of tasks.
#pragma once

#include <numeric>

#include "metaspan/random/random.hpp"

namespace metaspan {

/// The tasks of a round: consecutive tasks, or a list of tasks.
struct TaskSelection {
  Index n = 0;
  const Index* tasks = nullptr;  // (n,), or null: first .. first + n - 1
  Index first = 0;
  /// Returns the index, among all tasks, of the i-th task of the round.
  Index operator[](Index i) const { return tasks == nullptr ? first + i : tasks[i]; }
};

/// Chooses n of `all` tasks in every round, without replacement, and keeps the order in which the
/// tasks were drawn. If n equals `all`, every round takes all tasks, in the order of their indices.
class RoundChoice {
 public:
  RoundChoice() = default;
  RoundChoice(Index all, Index n, std::uint64_t seed, std::uint64_t trial)
      : all_(all), n_(n), seed_(seed), trial_(trial) {
    if (n == all) return;
    order_.resize(static_cast<std::size_t>(all));
    std::iota(order_.begin(), order_.end(), Index{0});
    swaps_.resize(static_cast<std::size_t>(n));
    taken_.resize(static_cast<std::size_t>(n));
  }

  Index n() const { return n_; }

  /// Returns the tasks of a round. The selection is valid until the next call.
  TaskSelection take(Index round) {
    if (order_.empty()) return {n_};
    const Key key = derive_key(seed_, trial_, static_cast<std::uint64_t>(round), Stream::pool);
    choose(key, all_, n_, order_.data(), swaps_.data(), taken_.data());
    return {n_, taken_.data(), 0};
  }

 private:
  Index all_ = 0, n_ = 0;
  std::uint64_t seed_ = 0, trial_ = 0;
  std::vector<Index> order_, swaps_, taken_;
};

}  // namespace metaspan
