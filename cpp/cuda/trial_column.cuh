// What one thread does in the rounds of population trials: it owns a trial, or a piece of the tasks
// of a trial, and runs the task algebra, (5)-(10), in its column of a panel.
#pragma once

#include <algorithm>

#include "distance_math.hpp"
#include "heads.cuh"
#include "launch.hpp"
#include "metaspan/algebra/attention_impl.hpp"
#include "metaspan/algebra/contributions_impl.hpp"
#include "metaspan/algebra/task_algebra_impl.hpp"
#include "metaspan/algebra/trials_design.hpp"
#include "metaspan/cuda/population.hpp"
#include "metaspan/geometry/trial_rules.hpp"

namespace metaspan::cuda {

using TrialDesign = TrialsDesign<TrialColumn<kPanelColumns>>;
using TrialAlgebra = PanelAlgebra<TrialDesign>;
constexpr auto kLive = static_cast<std::int32_t>(TrialStatus::live);

METASPAN_HD inline Index min_of(Index a, Index b) { return a < b ? a : b; }

/// Warps of a block of advance_trials(), which share the pieces of 32 trials.
constexpr int kMostWarps = 3;

/// Returns the number of tasks of each piece of n tasks. Few tasks make one piece for each warp of
/// a block, so that a few thousand trials fill a device; otherwise a piece has four tasks.
METASPAN_HD inline Index tasks_of_piece(Index n) {
  return n > 3 * kMostWarps ? 4 : (n + kMostWarps - 1) / kMostWarps;
}

/// Rows of the memory of a panel, which has the state, and of each warp that works on the panel.
/// The scratch memory of the algebra and of the distance begins at row 0 of the warp: a round uses
/// one after the other.
struct TrialLayout {
  TrialLayout(const Method& method, const PopulationSizes& sizes)
      : algebra(method, sizes.k, sizes.gradient_rows(), sizes.gradient_rows()),
        state(sizes.rows() * sizes.k),
        gradient(sizes.gradient_rows() * sizes.k),
        parameters(method.parameters(sizes.k)),
        total(state + parameters),
        status(total + gradient + parameters),
        panel_rows(status + 1) {
    const Index angles = std::min<Index>(sizes.k, kernels::kMostAngles);
    head = std::max<Index>(algebra.rows, kernels::distance_scratch(angles, sizes.e));
    sums = head + sizes.k_star;
    own_rows = sums + gradient + parameters;
  }

  AlgebraLayout algebra;
  Index state, gradient, parameters;  // numbers of Z, of grad_B, and of w
  // The memory of a panel has Z and w at row 0, the gradient, and the status of the trial.
  Index total, status, panel_rows;
  // The memory of a warp has, after the scratch memory, w_star of the task and the sums of a piece.
  Index head, sums, own_rows;
};

/// What a call computes, and its memory.
struct Job {
  Method method;
  PopulationSizes sizes;
  PopulationTrials trials;
  PopulationHeads heads;
  TrialLayout layout;
  Index pieces;
  double* columns;  // memory of all blocks; null: in shared memory
  double* sums;     // (panels of pieces, gradient + parameters, 32)
};

/// One trial, in the column of a thread. `warps` warps work on its panel; `warp` is the index of
/// this thread's warp.
struct Column {
  const Job& job;
  Index trial;
  double *panel, *own;  // the column in the memory of the panel and of the warp
  int warp, warps;

  __device__ bool is_empty() const { return trial >= job.trials.count; }
  /// Returns the memory of another warp that works on the panel.
  __device__ double* of_warp(int other) const {
    return own + (other - warp) * job.layout.own_rows * kPanelColumns;
  }
};

/// Returns where number 0 of a column is in panels of `numbers` numbers.
__device__ inline Index place_of(Index column, Index numbers) {
  return column / kPanelColumns * numbers * kPanelColumns + column % kPanelColumns;
}

/// Copies a column of numbers from device memory to the memory of a thread, and back.
__device__ inline void load_numbers(Index numbers, const double* from, double* to) {
  for (Index i = 0; i < numbers; ++i) to[i * kPanelColumns] = load_global(from + i * kPanelColumns);
}
__device__ inline void store_numbers(Index numbers, const double* from, double* to) {
  for (Index i = 0; i < numbers; ++i) store_global(to + i * kPanelColumns, from[i * kPanelColumns]);
}

/// Copies the state to the memory of the panel, and back; each warp copies a share of the rows.
__device__ inline double* state_number(const Column& column, Index i) {
  const TrialLayout& layout = column.job.layout;
  if (i < layout.state) {
    return column.job.trials.Z + place_of(column.trial, layout.state) + i * kPanelColumns;
  }
  return column.job.trials.w + place_of(column.trial, layout.parameters) +
         (i - layout.state) * kPanelColumns;
}
__device__ inline void load_state(const Column& column) {
  for (Index i = column.warp; !column.is_empty() && i < column.job.layout.total;
       i += column.warps) {
    column.panel[i * kPanelColumns] = load_global(state_number(column, i));
  }
}
__device__ inline void store_state(const Column& column) {
  for (Index i = column.warp; !column.is_empty() && i < column.job.layout.total;
       i += column.warps) {
    store_global(state_number(column, i), column.panel[i * kPanelColumns]);
  }
}

/// The progress of a trial in a call. An empty column counts as a trial that has ended.
struct Progress {
  std::int32_t status;
  Index round, rows;
  bool was_apart;
};

__device__ inline Progress load_progress(const Column& column) {
  const PopulationTrials& trials = column.job.trials;
  const Index i = column.trial;
  if (column.is_empty()) return {static_cast<std::int32_t>(TrialStatus::diverged), 0, 0, false};
  return {trials.status[i], static_cast<Index>(trials.round[i]), 0, trials.was_apart[i] != 0};
}
__device__ inline void store_progress(const Column& column, const PopulationRounds& rounds,
                                      const Progress& progress) {
  if (column.is_empty()) return;
  const PopulationTrials& trials = column.job.trials;
  trials.status[column.trial] = progress.status;
  trials.round[column.trial] = progress.round;
  trials.was_apart[column.trial] = progress.was_apart ? 1 : 0;
  rounds.rows[column.trial] = static_cast<std::int32_t>(progress.rows);
}

/// Whether a trial takes a round of a call.
__device__ inline bool takes_round(const Progress& progress, const PopulationRounds& rounds) {
  return progress.status == kLive && progress.round < rounds.end &&
         (rounds.records || progress.round % rounds.record_every != 0);
}

/// Writes the head w_star of a task to the column: drawn, or passed for round `index` of the call.
__device__ inline void place_head(const Column& column, Key key, Index task, Index index) {
  const PopulationHeads& heads = column.job.heads;
  const Index k_star = column.job.sizes.k_star, n = column.job.sizes.n;
  double* head = column.own + column.job.layout.head * kPanelColumns;
  if (heads.given == nullptr) {
    return draw_head(key, static_cast<std::uint32_t>(task), heads.law, kPanelColumns, head);
  }
  const double* given = heads.given + place_of(column.trial, heads.rounds * n * k_star);
  load_numbers(k_star, given + (index * n + task) * k_star * kPanelColumns, head);
}

/// Copies the outputs of a task that the call wants.
__device__ inline void store_outputs(const Column& column, const TrialAlgebra& algebra, Index task,
                                     const PopulationGradients& out) {
  const Index k_star = column.job.sizes.k_star, k = column.job.sizes.k, n = column.job.sizes.n;
  const Index trial = column.trial;
  if (out.losses != nullptr) {
    double* losses = out.losses + place_of(trial, 3 * n) + task * kPanelColumns;
    for (int i = 0; i < 3; ++i) {
      const auto which = static_cast<TrialAlgebra::Loss>(i);
      store_global(losses + i * n * kPanelColumns, *algebra.loss(which));
    }
  }
  if (out.adapted != nullptr) {
    store_numbers(k, algebra.adapted(),
                  out.adapted + place_of(trial, n * k) + task * k * kPanelColumns);
  }
  if (out.heads != nullptr) {
    store_numbers(k_star, column.own + column.job.layout.head * kPanelColumns,
                  out.heads + place_of(trial, n * k_star) + task * k_star * kPanelColumns);
  }
}

/// Computes the sums of the contributions (10) of the tasks of a piece to grad_B and grad_w, in
/// order, for the state in the column.
__device__ inline void sum_piece(const Column& column, Index round, Index index, Index piece,
                                 const PopulationGradients& out) {
  using Columns = TrialDesign::Columns;
  const Job& job = column.job;
  const TrialLayout& layout = job.layout;
  double* G = column.own + layout.sums * kPanelColumns;
  double* g_w = G + layout.gradient * kPanelColumns;
  Columns::fill(layout.gradient + layout.parameters, 0.0, G);
  Key key{};
  if (job.heads.given == nullptr) {
    key = derive_key(job.heads.seed, job.heads.trials[column.trial],
                     static_cast<std::uint64_t>(round), metaspan::Stream::heads);
  }
  TrialAlgebra algebra(job.method, layout.algebra, column.own);
  TrialDesign design(job.sizes.rows(), job.sizes.k, column.panel,
                     column.own + layout.head * kPanelColumns, job.sizes.k_star, layout.algebra,
                     column.own, {G}, job.sizes.tracks ? job.sizes.k : 0);
  const Index first = piece * tasks_of_piece(job.sizes.n);
  const Index last = min_of(first + tasks_of_piece(job.sizes.n), job.sizes.n);
  for (Index task = first; task < last; ++task) {
    place_head(column, key, task, index);
    Columns::copy(layout.parameters, column.panel + layout.state * kPanelColumns, algebra.start());
    algebra.gradient(design, out.losses != nullptr);
    const double* omega = algebra.grad_w();
    Columns::each(layout.parameters, [=](Index i) { g_w[i] += omega[i]; });
    store_outputs(column, algebra, task, out);
  }
}

/// Adds the sums of `count` pieces, of which piece `first` + v is in the memory of warp v, to the
/// rows of the gradient that belong to this warp, and divides by n after the last piece.
__device__ inline void add_sums(const Column& column, Index first, Index count) {
  const Job& job = column.job;
  const Index numbers = job.layout.gradient + job.layout.parameters;
  const double share = 1.0 / static_cast<double>(job.sizes.n);
  for (Index i = column.warp; i < numbers; i += column.warps) {
    double* total = column.panel + (job.layout.total + i) * kPanelColumns;
    double sum = first == 0 ? 0 : *total;
    for (int v = 0; v < count; ++v) {
      sum += column.of_warp(v)[(job.layout.sums + i) * kPanelColumns];
    }
    *total = first + count == job.pieces ? sum * share : sum;
  }
}

/// Returns the distance (20) of a state with k = k_star. A call that is not inlined leaves the
/// registers to the gradient, which every round computes.
__device__ __attribute__((noinline)) inline double measure_distance(Index k, Index e,
                                                                    const double* Z,
                                                                    double* scratch) {
  return kernels::distance(k, e, Z, kPanelColumns,
                           kernels::Numbers<double, kPanelColumns>(scratch));
}

/// If the round has a row, counts it, writes its distance (20), and applies the rules on distances.
__device__ inline void record(const Column& column, const PopulationRounds& rounds,
                              Progress& progress) {
  if (progress.round % rounds.record_every != 0) return;
  const Index row = progress.rows++;
  double dist = 1;  // if k < k_star, some vector in span(B_star) is orthogonal to span(B)
  if (rounds.measures) {
    const PopulationSizes& sizes = column.job.sizes;
    if (sizes.k == sizes.k_star) {
      dist = measure_distance(sizes.k, sizes.e, column.panel, column.own);
    }
    store_global(rounds.dist + place_of(column.trial, rounds.most_rows) + row * kPanelColumns,
                 dist);
    const TrialStatus status =
        judge_distance(dist, rounds.stop_dist, rounds.resolves, progress.was_apart);
    progress.status = static_cast<std::int32_t>(status);
  }
  if (progress.status == kLive) progress.was_apart = dist > 0;
}

/// Returns the larger of `most` and |x|, as kernels::raise_to_magnitudes() does: as integers, the
/// bits of magnitudes have the order of the doubles, and NaN is above infinity.
__device__ inline double raise_to_magnitude(double x, double most) {
  const long long a = __double_as_longlong(x) & 0x7FFFFFFFFFFFFFFF;
  const long long b = __double_as_longlong(most);
  return __longlong_as_double(a > b ? a : b);
}

/// Writes the largest magnitudes of the warp's rows of the state and of the gradient to rows 0 and
/// 1 of the warp. Whole steps have gradients of the shape of the state.
__device__ inline void measure_magnitudes(const Column& column) {
  const Index numbers = column.job.layout.total;
  double state = 0, gradient = 0;
  for (Index i = column.warp; i < numbers; i += column.warps) {
    state = raise_to_magnitude(column.panel[i * kPanelColumns], state);
    gradient = raise_to_magnitude(column.panel[(numbers + i) * kPanelColumns], gradient);
  }
  column.own[0] = state;
  column.own[kPanelColumns] = gradient;
}

/// Takes the step of Population, (3), in the warp's rows of the state, unless the next state would
/// not be finite: then the trial has diverged. All warps decide from the same magnitudes.
__device__ inline void take_step(const Column& column, const PopulationRounds& rounds,
                                 Progress& progress) {
  const TrialLayout& layout = column.job.layout;
  double state = 0, gradient = 0;
  for (int v = 0; v < column.warps; ++v) {
    state = raise_to_magnitude(column.of_warp(v)[0], state);
    gradient = raise_to_magnitude(column.of_warp(v)[kPanelColumns], gradient);
  }
  const double factor =
      rounds.factors == nullptr ? 1 : rounds.factors[progress.round - rounds.first_factor];
  if (!stays_finite(state, gradient, factor * rounds.longest, layout.total)) {
    progress.status = static_cast<std::int32_t>(TrialStatus::diverged);
    return;
  }
  for (Index i = column.warp; i < layout.total; i += column.warps) {
    const double step = i < layout.state ? rounds.beta : rounds.steps[i - layout.state];
    column.panel[i * kPanelColumns] -=
        factor * step * column.panel[(layout.total + i) * kPanelColumns];
  }
  ++progress.round;
}

}  // namespace metaspan::cuda
