// Trials of small rounds side by side: a panel holds one trial in each column, so that a SIMD
// register holds numbers of several trials. A column whose trial has ended takes the next trial.
#pragma once

#include <functional>
#include <memory>

#include "metaspan/engines/advance.hpp"

namespace metaspan {

/// The rounds of a panel of trials. Every trial has its own state, round and heads, and no sum
/// mixes columns: a trial in a panel has the same bits as on its engine alone.
class TrialPanel {
 public:
  virtual ~TrialPanel() = default;

  virtual Index width() const = 0;
  /// Puts a trial into a column: copies the state of its engine, which must stay alive.
  virtual void load(Index column, Engine& engine) = 0;
  /// Copies the state of a column back to its engine.
  virtual void store(Index column) = 0;
  /// Empties a column.
  virtual void drop(Index column) = 0;

  /// The round of a column. `outputs` is null in an empty column.
  struct Round {
    Index number = 0;
    const double* heads = nullptr;  // (n, k_star), or null where the engine draws them
    TaskOutputs* outputs = nullptr;
  };
  /// Computes the gradients of a round, (10), and the outputs that each column requests.
  virtual void gradient(const Round* rounds) = 0;  // (width,)

  /// Takes the steps of all columns. If the engine of a column would refuse its step, see
  /// Engine::step(), the column stays unchanged.
  virtual void step(const double* factors,  // (width,)  of the step sizes
                    bool* taken) = 0;       // (width,) out

  /// Whether distances() can compute the record dist. If not, dist is computed from the coordinates
  /// of each trial's engine.
  virtual bool measures_distance() const = 0;
  virtual void distances(double* dist) = 0;  // (width,)
};

using PanelMaker = std::function<std::unique_ptr<TrialPanel>()>;

/// The heads that a caller passes to rounds of several trials, (trials, rounds, n, k_star).
struct GivenHeads {
  const double* values = nullptr;  // null where the engine draws them
  Index first_round = 0;
  Index trial_stride = 0, round_stride = 0;
};

/// Advances the live trials to round `end`, with the same results as Trial::advance(). Every thread
/// has a panel, and the columns of all panels take trials from one queue. The results of a trial do
/// not depend on its column. Throws Cancelled; the trials keep the rounds that were completed.
void advance_in_panels(const std::vector<std::unique_ptr<Trial>>& trials, const Plan& plan,
                       Index end, const GivenHeads& heads, const PanelMaker& make_panel,
                       int threads, Cancel* cancel);

}  // namespace metaspan
