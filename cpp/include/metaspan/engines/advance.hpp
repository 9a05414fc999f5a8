// Rounds [begin, end) on an engine -> rows of records. No files, no clock, no Python.
#pragma once

#include <memory>

#include "metaspan/engines/engine.hpp"

namespace metaspan {

enum class TrialStatus { live = 0, converged = 1, diverged = 2, underflow = 3 };

/// What to record, how often, and when to stop.
struct Plan {
  std::vector<Record> records;
  Index record_every = 1;
  double stop_dist = 0;  // 0: never
  double stop_loss = 0;  // of loss_out; 0: never
};

/// Below this, distances are made of denormal numbers and mean nothing: the trial ends.
constexpr double kLeastDist = 1e-300;

/// One trial: its engine, where it stands, and the rows not yet taken.
class Trial {
 public:
  Trial(std::unique_ptr<Engine> engine, Index round, double alpha);

  /// Rounds until `end` or the trial's own end. A row is recorded before each round that
  /// record_every divides; a stop rule met there, or a distance below kLeastDist, ends the trial
  /// with that row as its last. Throws Cancelled, with the rounds before it done.
  void advance(const Plan& plan, Index end,
               const double* heads,  // (end - heads_begin, n, k_star), or null
               Index heads_begin, Index heads_stride, int threads, Cancel* cancel);

  /// A row where the trial stands, without a step.
  void measure(const Plan& plan, const double* heads, int threads, Cancel* cancel);

  Index row_columns(const Plan& plan) const;
  Index round() const { return round_; }
  TrialStatus status() const { return status_; }
  Engine& engine() const { return *engine_; }

  void drop_rows() {
    row_rounds.clear();
    row_values.clear();
  }

  std::vector<Index> row_rounds;   // (rows,)
  std::vector<double> row_values;  // (rows, row_columns)

 private:
  void record(const Plan& plan, int threads);
  TrialStatus judge(const Plan& plan, int threads);

  std::unique_ptr<Engine> engine_;
  Index round_;
  double alpha_;
  TrialStatus status_ = TrialStatus::live;
  bool was_apart_ = false;  // a row had a distance above 0
  Meter meter_;
  TaskOutputs tasks_;
  const Mat no_state_;
};

}  // namespace metaspan
