#include "metaspan/engines/advance.hpp"

#include <algorithm>
#include <utility>

namespace metaspan {
namespace {

/// Marks the outputs of a round's tasks that the plan's records and its stop rule on the loss need.
void request_all(const Plan& plan, TaskOutputs& tasks) {
  tasks.want_losses = tasks.want_adapted = tasks.want_heads = false;
  for (const Record record : plan.records) request(record, tasks);
  if (plan.stop_loss > 0) request(Record::loss_out, tasks);
}

}  // namespace

/// Takes the meter's memory once, for the shape of the engine's state, which no round changes.
Trial::Trial(std::unique_ptr<Engine> engine, Index round, const Method& method)
    : engine_(std::move(engine)),
      round_(round),
      method_(method),
      meter_(engine_->measured_shape().k_star, engine_->measured_shape().e,
             engine_->measured_shape().k),
      resolves_distance_(engine_->resolves_distance()) {}

/// Runs rounds until `end` or until the trial ends. A row describes the state before its round, so
/// the first row is the start. The gradient of the round is computed before the row is recorded,
/// because it supplies the losses and the adapted heads of the row. If a step would produce numbers
/// that are not finite, it is not taken and the trial has diverged. A cancelled computation of the
/// gradient throws an exception, and the trial later continues with the interrupted round.
void Trial::advance(const Plan& plan, Index end, const double* heads, Index heads_begin,
                    Index heads_stride, int threads, Cancel* cancel) {
  while (status_ == TrialStatus::live && round_ < end) {
    const double* round_heads =
        heads == nullptr ? nullptr : heads + (round_ - heads_begin) * heads_stride;
    const bool recorded = begin_round(plan);
    engine_->gradient(round_, round_heads, tasks_, threads, cancel);
    if (recorded) end_gradient(plan, threads);
    if (status_ == TrialStatus::live) end_round(engine_->step(plan.factor(round_)));
  }
}

/// A round whose number is a multiple of record_every has a row, and its gradient also computes the
/// outputs that the records request from the tasks. Every other round computes the gradient alone.
bool Trial::begin_round(const Plan& plan) {
  const bool recorded = round_ % plan.record_every == 0;
  tasks_.want_losses = tasks_.want_adapted = tasks_.want_heads = false;
  if (recorded) request_all(plan, tasks_);
  return recorded;
}

/// The row of the round is recorded before the step, and the stop rules may end the trial after
/// this row.
void Trial::end_gradient(const Plan& plan, int threads, const double* dist) {
  record(plan, threads, dist);
  status_ = judge(plan, threads, dist);
}

/// A refused step ends the trial in the state before the step.
void Trial::end_round(bool stepped) {
  if (stepped) {
    ++round_;
  } else {
    status_ = TrialStatus::diverged;
  }
}

/// Appends the rows of the recorded rounds and takes the round and the status of the device.
void Trial::adopt(const Plan& plan, Index round, TrialStatus status, Index rows, const double* dist,
                  Index stride) {
  const Index first = ceil_div(round_, plan.record_every) * plan.record_every;
  for (Index i = 0; i < rows; ++i) {
    const double value = dist == nullptr ? 1 : dist[i * stride];
    row_rounds.push_back(first + i * plan.record_every);
    row_values.insert(row_values.end(), plan.records.size(), value);
    was_apart_ = value > 0;
  }
  round_ = round;
  status_ = status;
}

/// Appends a row for the current state, without a step; this is the row after the last round. The
/// losses of the row are those of the next round's tasks. No gradient is needed, and nothing is
/// computed from the tasks unless a record needs it.
void Trial::measure(const Plan& plan, const double* heads, int threads, Cancel* cancel) {
  request_all(plan, tasks_);
  if (tasks_.wanted()) engine_->outputs(round_, heads, tasks_, threads, cancel);
  end_gradient(plan, threads);
}

/// Returns how many numbers a row has; Meter::columns() counts them for each record.
Index Trial::row_columns(const Plan& plan) const {
  Index columns = 0;
  for (const Record record : plan.records) columns += meter_.columns(record);
  return columns;
}

/// Appends a row: the round, and the records in the order of the plan. Only records of the
/// representation ask for coordinates, since on data at full size computing the coordinates takes a
/// pass over B. The engine keeps the coordinates until its next step.
void Trial::record(const Plan& plan, int threads, const double* dist) {
  row_rounds.push_back(round_);
  for (const Record record : plan.records) {
    if (record == Record::dist && dist != nullptr) {
      row_values.push_back(*dist);
      continue;
    }
    const std::size_t begin = row_values.size();
    row_values.resize(begin + static_cast<std::size_t>(meter_.columns(record)));
    const Mat& Z = needs_state(record) ? engine_->coordinates(threads) : no_state_;
    const Index k = engine_->shape().k;
    const Vec& head = engine_->head();
    if (head.size() > k) w_ = head.head(k);
    meter_.measure(record, Z, head.size() > k ? w_ : head, step_size(), tasks_,
                   row_values.data() + begin);
  }
}

/// Step sizes that the outer loop learns follow w among the parameters of the engine, (34).
double Trial::step_size() const {
  const Index k = engine_->shape().k, count = method_.learned_steps(k);
  return count == 0 ? method_.alpha : engine_->head().segment(k, count).mean();
}

/// Applies the stop rules to the row just recorded. The distance is read from the row if `dist` is
/// one of the records; otherwise it is measured if a rule needs it.
TrialStatus Trial::judge(const Plan& plan, int threads, const double* known_dist) {
  double dist = 1;
  if (known_dist != nullptr) {
    dist = *known_dist;
  } else if (const auto recorded =
                 std::find(plan.records.begin(), plan.records.end(), Record::dist);
             recorded != plan.records.end()) {
    Index column = 0;
    for (auto before = plan.records.begin(); before != recorded; ++before) {
      column += meter_.columns(*before);
    }
    dist = (row_values.end() - row_columns(plan) + column)[0];
  } else if (plan.stop_dist > 0) {
    dist = meter_.dist(engine_->coordinates(threads));
  }
  const TrialStatus status = judge_distance(dist, plan.stop_dist, resolves_distance_, was_apart_);
  if (status != TrialStatus::live) return status;
  was_apart_ = dist > 0;
  if (plan.stop_loss > 0 && tasks_.mean_loss(2) <= plan.stop_loss) {
    return TrialStatus::converged;
  }
  return TrialStatus::live;
}

}  // namespace metaspan
