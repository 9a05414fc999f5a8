// Per-task outputs of a round: their sizes, and copies from panels and from routes.
#pragma once

#include "metaspan/algebra/task_algebra.hpp"
#include "metaspan/data/round_outputs.hpp"
#include "metaspan/data/samples.hpp"
#include "metaspan/geometry/metrics.hpp"
#include "metaspan/random/round_choice.hpp"

namespace metaspan {

/// Sizes the outputs that the records ask for, before threads fill their columns and rows: losses
/// (3, n), adapted heads (n, k), true heads (n, k_star).
inline void make_room(Index n, Index k, Index k_star, TaskOutputs& tasks) {
  if (tasks.want_losses) tasks.losses.resize(3, n);
  if (tasks.want_adapted) tasks.adapted.resize(n, k);
  if (tasks.want_heads) tasks.heads.resize(n, k_star);
}

/// Copies the requested outputs of a panel's tasks into the rows of the tasks [first, first +
/// tasks). `added` is added to the three losses: sigma^2 / 2 where a set has infinitely many
/// samples, whose residuals do not contain the noise, (1). Panels write disjoint entries, so
/// threads may process them in any order.
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

/// Copies the per-task outputs that the records request on arrays: losses and adapted heads from
/// the route's outputs, and the true heads of the round's tasks.
inline void copy_outputs(const Mat& heads, const TaskSelection& taken, const RoundOutputs& round,
                         TaskOutputs& tasks) {
  if (tasks.want_losses) tasks.losses = round.losses;
  tasks.weights = round.weights;
  if (tasks.want_adapted) tasks.adapted = round.adapted;
  if (!tasks.want_heads) return;
  tasks.heads.resize(taken.n, heads.cols());
  for (Index i = 0; i < taken.n; ++i) tasks.heads.row(i) = heads.row(taken[i]);
}

}  // namespace metaspan
