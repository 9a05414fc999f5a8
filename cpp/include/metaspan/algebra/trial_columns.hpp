// TrialsDesign on the CPU: the trials of a panel side by side in SIMD registers.
#pragma once

#include "metaspan/algebra/shared_design.hpp"
#include "metaspan/algebra/trials_design.hpp"
#include "trials.hpp"

namespace metaspan {

/// Trials of TrialsDesign in the columns of a panel. Sums have the same order as in SharedDesign
/// with panels of `OfTasks` tasks, so a trial has the same bits with either class.
template <int Width, int OfTasks>
struct TrialColumns {
  using Columns = PanelColumns<Width, SharedDesign<OfTasks>::Columns::chains>;

  static void product(Index rows, Index depth, const double* A, Index a_row, Index a_step,
                      const double* V, double* out) {
    kernels::trial_product<Width>(rows, depth, A, a_row, a_step, V, out);
  }

  /// Notes terms without adding them to grad_B. The caller must add the noted terms in the order of
  /// SharedDesign: the first term of all tasks, then the second term of all tasks, and so on. Until
  /// they are added, the algebra that owns their memory must stay alive.
  struct Sink {
    kernels::TrialTerm* terms;  // out, terms of the task, `step` elements apart
    Index step;

    void add(Index, Index, const double* a, const double* c) {
      *terms = {a, c};
      terms += step;
    }
  };
};

}  // namespace metaspan
