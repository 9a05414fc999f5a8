// What the engines on arrays hand over of a round.
#pragma once

#include "metaspan/metrics.hpp"
#include "metaspan/round_choice.hpp"
#include "metaspan/samples.hpp"

namespace metaspan {

/// What the records ask for of what the round found.
inline void tell(const Mat& heads, const Taken& taken, const RoundOutputs& found,
                 TaskOutputs& tasks) {
  if (tasks.want_losses) tasks.losses = found.losses;
  if (tasks.want_adapted) tasks.adapted = found.adapted;
  if (!tasks.want_heads) return;
  tasks.heads.resize(taken.n, heads.cols());
  for (Index i = 0; i < taken.n; ++i) tasks.heads.row(i) = heads.row(taken[i]);
}

}  // namespace metaspan
