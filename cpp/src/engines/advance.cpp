#include "metaspan/engines/advance.hpp"

#include <algorithm>
#include <utility>

namespace metaspan {
namespace {

/// What the row of a plan needs of the round's tasks.
void request_all(const Plan& plan, TaskOutputs& tasks) {
  tasks.want_losses = tasks.want_adapted = tasks.want_heads = false;
  for (const Record record : plan.records) request(record, tasks);
  if (plan.stop_loss > 0) request(Record::loss_out, tasks);
}

}  // namespace

Trial::Trial(std::unique_ptr<Engine> engine, Index round, double alpha)
    : engine_(std::move(engine)),
      round_(round),
      alpha_(alpha),
      meter_(engine_->shape().k_star, engine_->shape().e, engine_->shape().k) {}

void Trial::advance(const Plan& plan, Index end, const double* heads, Index heads_begin,
                    Index heads_stride, int threads, Cancel* cancel) {
  while (status_ == TrialStatus::live && round_ < end) {
    const bool recorded = round_ % plan.record_every == 0;
    const double* given =
        heads == nullptr ? nullptr : heads + (round_ - heads_begin) * heads_stride;
    tasks_.want_losses = tasks_.want_adapted = tasks_.want_heads = false;
    if (recorded) request_all(plan, tasks_);
    engine_->gradient(round_, given, tasks_, threads, cancel);
    if (recorded) {
      record(plan, threads);
      status_ = judge(plan, threads);
      if (status_ != TrialStatus::live) return;
    }
    if (!engine_->step()) {
      status_ = TrialStatus::diverged;
      return;
    }
    ++round_;
  }
}

void Trial::measure(const Plan& plan, const double* heads, int threads, Cancel* cancel) {
  request_all(plan, tasks_);
  if (tasks_.wanted()) engine_->gradient(round_, heads, tasks_, threads, cancel);
  record(plan, threads);
  status_ = judge(plan, threads);
}

Index Trial::row_columns(const Plan& plan) const {
  Index columns = 0;
  for (const Record record : plan.records) columns += meter_.columns(record);
  return columns;
}

void Trial::record(const Plan& plan, int threads) {
  const std::size_t begin = row_values.size();
  row_rounds.push_back(round_);
  row_values.resize(begin + static_cast<std::size_t>(row_columns(plan)));
  double* out = row_values.data() + begin;
  for (const Record record : plan.records) {
    const Mat& Z = needs_state(record) ? engine_->coordinates(threads) : no_state_;
    meter_.measure(record, Z, engine_->head(), alpha_, tasks_, out);
    out += meter_.columns(record);
  }
}

/// The stop rules, on the state of the row just recorded.
TrialStatus Trial::judge(const Plan& plan, int threads) {
  const auto recorded = std::find(plan.records.begin(), plan.records.end(), Record::dist);
  double dist = 1;
  if (recorded != plan.records.end()) {
    Index column = 0;
    for (auto before = plan.records.begin(); before != recorded; ++before) {
      column += meter_.columns(*before);
    }
    dist = (row_values.end() - row_columns(plan) + column)[0];
  } else if (plan.stop_dist > 0) {
    dist = meter_.dist(engine_->coordinates(threads));
  }
  if (dist <= plan.stop_dist && plan.stop_dist > 0) return TrialStatus::converged;
  // A distance that was there and is gone fell through the whole range between two rows.
  if (engine_->resolves_distance() && dist < kLeastDist && (dist > 0 || was_apart_)) {
    return TrialStatus::underflow;
  }
  was_apart_ = dist > 0;
  if (plan.stop_loss > 0 && tasks_.losses.row(2).mean() <= plan.stop_loss) {
    return TrialStatus::converged;
  }
  return TrialStatus::live;
}

}  // namespace metaspan
