// What the engines on arrays share: the tasks of a round, and what they tell.
#pragma once

#include <numeric>

#include "metaspan/metrics.hpp"
#include "metaspan/random.hpp"
#include "metaspan/routes.hpp"

namespace metaspan {

/// n of N tasks a round without replacement, in the order drawn; all of them in order if n = N.
class RoundChoice {
 public:
  RoundChoice(Index all, Index n, std::uint64_t seed, std::uint64_t trial)
      : all_(all), n_(n), seed_(seed), trial_(trial) {
    if (n == all) return;
    order_.resize(static_cast<std::size_t>(all));
    std::iota(order_.begin(), order_.end(), Index{0});
    swaps_.resize(static_cast<std::size_t>(n));
    taken_.resize(static_cast<std::size_t>(n));
  }

  Index n() const { return n_; }

  Taken take(Index round) {
    if (order_.empty()) return {n_, nullptr};
    const Key key = derive_key(seed_, trial_, static_cast<std::uint64_t>(round), Stream::pool);
    choose(key, all_, n_, order_.data(), swaps_.data(), taken_.data());
    return {n_, taken_.data()};
  }

 private:
  Index all_, n_;
  std::uint64_t seed_, trial_;
  std::vector<Index> order_, swaps_, taken_;
};

/// Hands over what the round found and the records ask for.
inline void tell(const Mat& heads, const Taken& taken, const RoundOutputs& found,
                 TaskOutputs& tasks) {
  if (tasks.want_losses) tasks.losses = found.losses;
  if (tasks.want_adapted) tasks.adapted = found.adapted;
  if (!tasks.want_heads) return;
  tasks.heads.resize(taken.n, heads.cols());
  for (Index i = 0; i < taken.n; ++i) tasks.heads.row(i) = heads.row(taken[i]);
}

}  // namespace metaspan
