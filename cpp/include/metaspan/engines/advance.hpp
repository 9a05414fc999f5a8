// A trial: advances an engine round by round, records rows, and applies the stop rules. A trial
// uses no files and no clock.
#pragma once

#include <memory>

#include "metaspan/engines/engine.hpp"
#include "metaspan/geometry/trial_rules.hpp"

namespace metaspan {

/// What to record, how often, and when to stop.
struct Plan {
  std::vector<Record> records;
  Index record_every = 1;
  double stop_dist = 0;  // converged once dist is at most this; 0: never
  double stop_loss = 0;  // converged once loss_out is at most this; 0: never
  const double* factors =
      nullptr;  // of the step sizes, starting at round first_factor; null: all 1
  Index first_factor = 0;

  /// Returns the factor of the step sizes of a round.
  double factor(Index round) const {
    return factors == nullptr ? 1 : factors[round - first_factor];
  }
};

/// One trial: its engine, its round and status, and the rows recorded since the last drop_rows().
class Trial {
 public:
  Trial(std::unique_ptr<Engine> engine, Index round, const Method& method);

  /// Runs rounds until round `end`, or until the trial ends. Before every round whose number is a
  /// multiple of record_every, a row is recorded and the stop rules are applied to it: the trial
  /// ends with that row if a rule is met or the distance has underflowed. A trial whose step fails
  /// ends as diverged. Throws Cancelled; the trial keeps the rounds that were completed.
  void advance(const Plan& plan, Index end,
               const double* heads,  // (end - heads_begin, n, k_star), or null
               Index heads_begin, Index heads_stride, int threads, Cancel* cancel);

  // The parts into which a round of advance() is split for trials whose gradients are computed side
  // by side.
  /// Requests the task outputs that the row of the next round needs. Returns whether the round has
  /// a row.
  bool begin_round(const Plan& plan);
  TaskOutputs& outputs() { return tasks_; }
  /// Records the row and applies the stop rules, once the gradient has filled outputs(). `dist` is
  /// the distance of the state, or null if it must be computed from the engine's coordinates.
  void end_gradient(const Plan& plan, int threads, const double* dist = nullptr);
  /// Ends the round; the trial has diverged if no step was taken.
  void end_round(bool stepped);

  /// Adopts rounds that a device has run by the rules of advance(), up to `round`. The row of every
  /// recorded round has the distance alone or, if the plan has no records, no number.
  void adopt(const Plan& plan, Index round, TrialStatus status, Index rows,
             const double* dist,  // (rows,), `stride` apart; null if the plan needs no distance
             Index stride);

  /// Records a row of the current state and applies the stop rules, without a step.
  void measure(const Plan& plan, const double* heads, int threads, Cancel* cancel);

  /// Returns how many numbers a row has.
  Index row_columns(const Plan& plan) const;
  Index round() const { return round_; }
  TrialStatus status() const { return status_; }
  /// Whether the distance in the previous row was above 0.
  bool was_apart() const { return was_apart_; }
  Engine& engine() const { return *engine_; }

  void drop_rows() {
    row_rounds.clear();
    row_values.clear();
  }

  std::vector<Index> row_rounds;   // (rows,)
  std::vector<double> row_values;  // (rows, row_columns)

 private:
  void record(const Plan& plan, int threads, const double* dist);  // appends a row
  /// The mean of the current inner step sizes.
  double step_size() const;
  TrialStatus judge(const Plan& plan, int threads, const double* dist);  // applies the stop rules

  std::unique_ptr<Engine> engine_;
  Index round_;
  Method method_;
  TrialStatus status_ = TrialStatus::live;
  bool was_apart_ = false;
  Meter meter_;
  bool resolves_distance_;  // of the engine; no round changes it
  TaskOutputs tasks_;
  const Mat no_state_;
  Vec w_;  // (k,)  without the parameters that follow it in the engine
};

}  // namespace metaspan
