// What the engines hand over of the tasks of a round.
#pragma once

#include "metaspan/algebra/task_algebra.hpp"
#include "metaspan/data/samples.hpp"
#include "metaspan/geometry/metrics.hpp"
#include "metaspan/random/round_choice.hpp"

namespace metaspan {

/// Sizes what the records ask for.
inline void make_room(Index n, Index k, Index k_star, TaskOutputs& tasks) {
  if (tasks.want_losses) tasks.losses.resize(3, n);
  if (tasks.want_adapted) tasks.adapted.resize(n, k);
  if (tasks.want_heads) tasks.heads.resize(n, k_star);
}

/// What the records ask for of the tasks of a panel, into the places from `first` on.
template <class Design>
void copy_panel_outputs(const TaskAlgebra<Design>& algebra,
                        const double* heads,       // (k_star, width)
                        const double (&added)[3],  // to the losses
                        Index first, Index tasks, TaskOutputs& out) {
  constexpr Index kWidth = Design::width;
  using Loss = typename TaskAlgebra<Design>::Loss;
  for (Index t = 0; t < tasks; ++t) {
    for (int which = 0; out.want_losses && which < 3; ++which) {
      out.losses(which, first + t) = algebra.loss(static_cast<Loss>(which))[t] + added[which];
    }
    for (Index i = 0; out.want_adapted && i < out.adapted.cols(); ++i) {
      out.adapted(first + t, i) = algebra.adapted()[i * kWidth + t];
    }
    for (Index i = 0; out.want_heads && i < out.heads.cols(); ++i) {
      out.heads(first + t, i) = heads[i * kWidth + t];
    }
  }
}

/// What the records ask for of what the round found, on arrays.
inline void copy_outputs(const Mat& heads, const TaskSelection& taken, const RoundOutputs& found,
                         TaskOutputs& tasks) {
  if (tasks.want_losses) tasks.losses = found.losses;
  if (tasks.want_adapted) tasks.adapted = found.adapted;
  if (!tasks.want_heads) return;
  tasks.heads.resize(taken.n, heads.cols());
  for (Index i = 0; i < taken.n; ++i) tasks.heads.row(i) = heads.row(taken[i]);
}

}  // namespace metaspan
