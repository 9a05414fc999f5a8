#include "metaspan/engines/trial_panel.hpp"

#include <algorithm>
#include <atomic>

#include "metaspan/base/parallel.hpp"

namespace metaspan {
namespace {

/// A thread's panel and the trials in its columns.
class PanelRun {
 public:
  PanelRun(const std::vector<std::unique_ptr<Trial>>& trials, const Plan& plan, Index end,
           const GivenHeads& heads, std::unique_ptr<TrialPanel> panel, std::atomic<Index>& next)
      : trials_(trials),
        plan_(plan),
        end_(end),
        heads_(heads),
        panel_(std::move(panel)),
        next_(next),
        columns_(static_cast<std::size_t>(panel_->width()), kEmpty),
        rounds_(columns_.size()),
        recorded_(columns_.size()),
        taken_(new bool[columns_.size()]),
        factors_(columns_.size()),
        dist_(columns_.size()) {
    for (const Record record : plan.records) {
      const bool from_panel = record == Record::dist && panel_->measures_distance();
      reads_engine_ |= !from_panel && (needs_state(record) || record == Record::w_norm);
    }
    reads_engine_ |= plan.stop_dist > 0 && !panel_->measures_distance();
    measures_ = panel_->measures_distance() &&
                (plan.stop_dist > 0 || std::find(plan.records.begin(), plan.records.end(),
                                                 Record::dist) != plan.records.end());
  }
  PanelRun(const PanelRun&) = delete;

  /// Returns the states to the engines, also after a cancellation, which takes effect between
  /// rounds.
  ~PanelRun() {
    for (std::size_t t = 0; t < columns_.size(); ++t) {
      if (columns_[t] != kEmpty) panel_->store(static_cast<Index>(t));
    }
  }

  /// Fills empty columns from the queue. Returns false once no column holds a trial.
  bool fill() {
    bool any = false;
    for (std::size_t t = 0; t < columns_.size(); ++t) {
      while (columns_[t] == kEmpty && next_ < static_cast<Index>(trials_.size())) {
        const Index i = next_++;
        if (i >= static_cast<Index>(trials_.size())) break;
        Trial& trial = *trials_[static_cast<std::size_t>(i)];
        if (trial.status() != TrialStatus::live || trial.round() >= end_) continue;
        panel_->load(static_cast<Index>(t), trial.engine());
        columns_[t] = i;
      }
      any |= columns_[t] != kEmpty;
    }
    return any;
  }

  /// Runs one round of every column in the order of Trial::advance(): gradient, row, step.
  void round() {
    bool any_recorded = false;
    for (std::size_t t = 0; t < columns_.size(); ++t) {
      rounds_[t] = {};
      recorded_[t] = 0;
      if (columns_[t] == kEmpty) continue;
      Trial& trial = trial_of(t);
      recorded_[t] = trial.begin_round(plan_);
      any_recorded |= recorded_[t] != 0;
      const double* heads = heads_.values;
      if (heads != nullptr) {
        heads += columns_[t] * heads_.trial_stride +
                 (trial.round() - heads_.first_round) * heads_.round_stride;
      }
      rounds_[t] = {trial.round(), heads, &trial.outputs()};
    }
    panel_->gradient(rounds_.data());
    if (any_recorded) record();
    for (std::size_t t = 0; t < columns_.size(); ++t) {
      factors_[t] = columns_[t] == kEmpty ? 1 : plan_.factor(trial_of(t).round());
    }
    panel_->step(factors_.data(), taken_.get());
    for (std::size_t t = 0; t < columns_.size(); ++t) {
      if (columns_[t] == kEmpty) continue;
      trial_of(t).end_round(taken_[t]);
      leave_if_ended(t);
    }
  }

 private:
  static constexpr Index kEmpty = -1;
  Trial& trial_of(std::size_t t) const { return *trials_[static_cast<std::size_t>(columns_[t])]; }

  /// Records a row for every trial that has one in this round, before the step.
  void record() {
    if (measures_) panel_->distances(dist_.data());
    for (std::size_t t = 0; t < columns_.size(); ++t) {
      if (recorded_[t] == 0) continue;
      if (reads_engine_) panel_->store(static_cast<Index>(t));
      trial_of(t).end_gradient(plan_, 1, measures_ ? &dist_[t] : nullptr);
      leave_if_ended(t);
    }
  }

  /// Frees the column of a trial that has ended or has reached the last round.
  void leave_if_ended(std::size_t t) {
    const Trial& trial = trial_of(t);
    if (trial.status() == TrialStatus::live && trial.round() < end_) return;
    panel_->store(static_cast<Index>(t));
    panel_->drop(static_cast<Index>(t));
    columns_[t] = kEmpty;
  }

  const std::vector<std::unique_ptr<Trial>>& trials_;
  const Plan& plan_;
  Index end_;
  GivenHeads heads_;
  std::unique_ptr<TrialPanel> panel_;
  std::atomic<Index>& next_;
  std::vector<Index> columns_;  // (width,)  the trial in each column
  std::vector<TrialPanel::Round> rounds_;
  std::vector<char> recorded_;
  std::unique_ptr<bool[]> taken_;
  std::vector<double> factors_;  // of the step sizes
  std::vector<double> dist_;
  bool reads_engine_ = false;  // a record needs the state in the engine
  bool measures_ = false;      // a record or a stop rule needs the distance
};

}  // namespace

/// Runs a panel in every thread until the queue of trials is empty. A thread that finds the queue
/// empty creates no panel. Cancellation is polled before every round.
void advance_in_panels(const std::vector<std::unique_ptr<Trial>>& trials, const Plan& plan,
                       Index end, const GivenHeads& heads, const PanelMaker& make_panel,
                       int threads, Cancel* cancel) {
  std::atomic<Index> next{0};
  parallel_for(threads, threads, cancel, [&](Index, int) {
    if (next >= static_cast<Index>(trials.size())) return;
    PanelRun run(trials, plan, end, heads, make_panel(), next);
    while (run.fill()) {
      if (cancel != nullptr) {
        cancel->poll();
        if (cancel->requested()) return;
      }
      run.round();
    }
  });
  throw_if_requested(cancel);
}

}  // namespace metaspan
