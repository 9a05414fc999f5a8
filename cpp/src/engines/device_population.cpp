// Population losses of many trials on a device: packs the states of trials into panels, lets the
// device run rounds or compute gradients, and gives the results back to the engines and trials.
#include "metaspan/engines/device_population.hpp"

#include <algorithm>

#include "copy_outputs.hpp"
#include "distance_math.hpp"
#include "metaspan/base/parallel.hpp"
#include "metaspan/cuda/owned.hpp"
#include "metaspan/cuda/population.hpp"
#include "metaspan/engines/population.hpp"
#include "mirror.hpp"

namespace metaspan {
namespace {

constexpr Index kColumns = cuda::kPanelColumns;

/// A call of the device takes about kCallSeconds, so that the host notices Ctrl-C soon. The model:
/// a device reaches kShareOfPeak of its peak on these small states, and a single trial takes
/// kSecondsOfFlop for each operation, because every operation waits for the previous one.
constexpr double kCallSeconds = .05, kShareOfPeak = .02, kSecondsOfFlop = 5e-9;
/// The rate of the emulated device in this model, in operations per second.
constexpr double kEmulatedFlops = 1e8;

/// Limits of a call: its rounds, the trials whose gradients it computes, the bytes of the heads
/// that are passed to it, and the bytes of the rows that it returns.
constexpr Index kMostRounds = 1 << 16, kTrialsAtOnce = 4096;
constexpr double kHeadBytes = 1 << 26, kRowBytes = 1 << 26;

/// The arguments of a call of DevicePopulation::advance().
struct Call {
  const std::vector<std::unique_ptr<Trial>>& trials;
  const Plan& plan;
  Index end;
  const GivenHeads& heads;
  int threads;
  Cancel* cancel;

  Trial& trial(Index i) const { return *trials[static_cast<std::size_t>(i)]; }
  PopulationEngine& engine(Index i) const {
    return static_cast<PopulationEngine&>(trial(i).engine());
  }
  /// Returns the heads that the caller passes to trial i in a round, or null.
  const double* heads_of(Index i, Index round) const {
    if (heads.values == nullptr) return nullptr;
    return heads.values + i * heads.trial_stride + (round - heads.first_round) * heads.round_stride;
  }
};

/// The shapes and the steps of a run on a device.
struct Setting {
  Setting(const Method& the_method, const Shape& shape, Index n, double noise)
      : method(the_method),
        sizes{shape.k_star, shape.e, shape.k, n,
              shape.k > shape.k_star && the_method.turns_frame()},
        half_variance(noise * noise / 2),
        parameters(the_method.parameters(shape.k)),
        takes_steps(the_method.step.is_plain() && !sizes.tracks),
        measures(!the_method.is_attention() &&
                 (shape.k < shape.k_star ||
                  (shape.k == shape.k_star && shape.k <= kernels::kMostAngles))) {}

  Method method;
  cuda::PopulationSizes sizes;
  double half_variance;
  Index parameters;
  bool takes_steps;  // on the device
  bool measures;     // the device can compute the distance

  /// Whether the device records the rows of a plan and applies its stop rules.
  bool records(const Plan& plan) const {
    const bool dist_alone = std::all_of(plan.records.begin(), plan.records.end(),
                                        [](Record record) { return record == Record::dist; });
    return dist_alone && plan.stop_loss == 0 && (measures || !needs_distance(plan));
  }
  static bool needs_distance(const Plan& plan) {
    return !plan.records.empty() || plan.stop_dist > 0;
  }
};

/// The memory of a call on the host and on the device. Column t of panel p has trial 32 p + t of
/// `chosen`; the columns that remain are empty.
class Panels {
 public:
  Panels(const cuda::Module& module, const Setting& setting, const Call& call)
      : runtime_(*module.runtime), device_(*module.population), setting_(setting), call_(call) {
    const HeadSource& source = call.engine(0).heads();
    const HeadLaw& law = source.law();
    draws_ = source.draws();
    heads_.seed = source.seed();
    heads_.law.k_star = law.k_star;
    heads_.law.sphere = law.kind == HeadLaw::Kind::sphere;
    heads_.law.radius = law.radius;
    heads_.law.mean = upload(law.mean, mean_);
    heads_.law.scale = upload(law.scale, scale_);
    heads_.law.factor = upload(law.factor, factor_);
    upload(outer_steps(setting.method, setting.sizes.k), steps_);
  }

  /// Copies the states of some trials to the device.
  void load(const std::vector<Index>& chosen) {
    chosen_ = &chosen;
    const Index k = setting_.sizes.k, numbers = setting_.sizes.rows() * k;
    const Index columns = panels() * kColumns;
    Z_.resize(runtime_, columns * numbers);
    w_.resize(runtime_, columns * setting_.parameters);
    round_.resize(runtime_, columns);
    status_.resize(runtime_, columns);
    apart_.resize(runtime_, columns);
    number_.resize(runtime_, columns);
    std::fill(status_.begin(), status_.end(), static_cast<std::int32_t>(TrialStatus::diverged));
    each_column([&](Index column, Index i) {
      PopulationEngine& engine = call_.engine(i);
      put(engine.coordinates().data(), numbers, column, Z_);
      put(engine.current_head().data(), setting_.parameters, column, w_);
      round_[column] = call_.trial(i).round();
      status_[column] = static_cast<std::int32_t>(TrialStatus::live);
      apart_[column] = call_.trial(i).was_apart() ? 1 : 0;
      number_[column] = engine.heads().trial();
    });
    Z_.to_device(stream_.get());
    w_.to_device(stream_.get());
    round_.to_device(stream_.get());
    status_.to_device(stream_.get());
    apart_.to_device(stream_.get());
    number_.to_device(stream_.get());
    heads_.trials = number_.device();
  }

  /// Runs rounds of the trials, up to the end of the call or, if the host records rows, up to the
  /// next recorded round of each trial; a call of the device runs at most `most` of them.
  void run(Index most) {
    const Plan& plan = call_.plan;
    cuda::PopulationRounds rounds{};
    rounds.records = setting_.records(plan);
    rounds.measures = rounds.records && Setting::needs_distance(plan);
    rounds.most = most;
    rounds.end = call_.end;
    rounds.record_every = plan.record_every;
    rounds.stop_dist = plan.stop_dist;
    rounds.resolves = call_.engine(0).resolves_distance();
    rounds.beta = setting_.method.beta;
    rounds.longest = longest_step(setting_.method);
    rounds.steps = steps_.device();
    rounds.factors = upload_factors();
    rounds.first_factor = plan.first_factor;
    rounds.most_rows = rounds.records ? most / plan.record_every + 1 : 0;
    rows_.resize(runtime_, panels() * kColumns);
    rounds.rows = rows_.device();
    if (rounds.measures) {
      dist_.resize(runtime_, panels() * rounds.most_rows * kColumns);
      rounds.dist = dist_.device();
    }
    pass_heads(most);
    make_workspace(device_.advance_bytes(setting_.method, setting_.sizes, count(), {}));
    device_.advance(setting_.method, setting_.sizes, trials(), heads_, rounds, launch());
    Z_.to_host(stream_.get());
    w_.to_host(stream_.get());
    round_.to_host(stream_.get());
    status_.to_host(stream_.get());
    rows_.to_host(stream_.get());
    if (rounds.measures) dist_.to_host(stream_.get());
    runtime_.synchronise(stream_.get());
    adopt(rounds.measures ? dist_.host() : nullptr, rounds.most_rows);
  }

  /// Computes a round's gradients and the outputs that any of the trials requests, and gives them
  /// to the engines and trials.
  void compute_gradients() {
    TaskOutputs any;
    for (const Index i : *chosen_) {
      const TaskOutputs& wanted = call_.trial(i).outputs();
      any.want_losses |= wanted.want_losses;
      any.want_adapted |= wanted.want_adapted;
      any.want_heads |= wanted.want_heads;
    }
    const Index n = setting_.sizes.n, k = setting_.sizes.k, columns = panels() * kColumns;
    grad_B_.resize(runtime_, columns * setting_.sizes.gradient_rows() * k);
    grad_w_.resize(runtime_, columns * setting_.parameters);
    losses_.resize(runtime_, any.want_losses ? columns * 3 * n : 0);
    adapted_.resize(runtime_, any.want_adapted ? columns * n * k : 0);
    true_heads_.resize(runtime_, any.want_heads ? columns * n * setting_.sizes.k_star : 0);
    pass_heads(1);
    make_workspace(device_.gradient_bytes(setting_.method, setting_.sizes, count(), {}));
    device_.gradients(setting_.method, setting_.sizes, trials(), heads_,
                      {grad_B_.device(), grad_w_.device(), losses_.device(), adapted_.device(),
                       true_heads_.device()},
                      launch());
    for (Mirror<double>* output : {&grad_B_, &grad_w_, &losses_, &adapted_, &true_heads_}) {
      output->to_host(stream_.get());
    }
    runtime_.synchronise(stream_.get());
    each_column([&](Index column, Index i) {
      const Index numbers = setting_.sizes.gradient_rows() * k;
      call_.engine(i).take_gradient(call_.trial(i).round(), column_of(grad_B_, column, numbers),
                                    column_of(grad_w_, column, setting_.parameters));
      copy_outputs_of(column, call_.trial(i).outputs());
    });
  }

 private:
  Index count() const { return static_cast<Index>(chosen_->size()); }
  Index panels() const { return ceil_div(count(), kColumns); }
  cuda::PopulationTrials trials() {
    return {count(), Z_.device(), w_.device(), round_.device(), status_.device(), apart_.device()};
  }
  cuda::PopulationLaunch launch() { return {workspace_.data(), stream_.get()}; }

  void make_workspace(std::size_t bytes) {
    if (workspace_.size() >= bytes) return;
    workspace_ = {};  // releases the old memory first
    workspace_ = cuda::DeviceArray<char>(runtime_, bytes);
  }

  /// Calls body(column, index of the trial) for every trial, in parallel over the panels.
  template <class Body>
  void each_column(Body&& body) {
    parallel_for(call_.threads, panels(), [&](Index p, int) {
      for (Index c = p * kColumns; c < std::min((p + 1) * kColumns, count()); ++c) {
        body(c, (*chosen_)[static_cast<std::size_t>(c)]);
      }
    });
  }

  /// Returns where number 0 of a column is in panels of `numbers` numbers.
  static Index place_of(Index column, Index numbers) {
    return column / kColumns * numbers * kColumns + column % kColumns;
  }
  static void put(const double* values, Index numbers, Index column, Mirror<double>& panels) {
    double* out = panels.host() + place_of(column, numbers);
    for (Index i = 0; i < numbers; ++i) out[i * kColumns] = values[i];
  }
  static PopulationEngine::Column column_of(const Mirror<double>& panels, Index column,
                                            Index numbers) {
    return PopulationEngine::Column(panels.host() + place_of(column, numbers), numbers,
                                    Eigen::InnerStride<>(kColumns));
  }

  /// Gives the rounds of a call to the trials and engines.
  void adopt(const double* dist, Index most_rows) {
    each_column([&](Index column, Index i) {
      call_.engine(i).replace(column_of(Z_, column, setting_.sizes.rows() * setting_.sizes.k),
                              column_of(w_, column, setting_.parameters));
      call_.trial(i).adopt(
          call_.plan, round_[column], static_cast<TrialStatus>(status_[column]), rows_[column],
          dist == nullptr ? nullptr : dist + place_of(column, most_rows), kColumns);
    });
  }

  /// Copies the outputs of a trial's tasks. Residuals of population losses do not contain the
  /// noise, so sigma^2 / 2 is added to the losses, (1).
  void copy_outputs_of(Index column, TaskOutputs& out) {
    make_room(setting_.sizes.n, setting_.sizes.k, setting_.sizes.k_star, out);
    const auto copy = [&](const Mirror<double>& panels, Mat& to) {
      to.reshaped<Eigen::RowMajor>() = column_of(panels, column, to.size());
    };
    if (out.want_losses) {
      copy(losses_, out.losses);
      out.losses.array() += setting_.half_variance;
    }
    if (out.want_adapted) copy(adapted_, out.adapted);
    if (out.want_heads) copy(true_heads_, out.heads);
  }

  /// Passes the heads of the next `rounds` rounds to the device unless it draws them. A trial that
  /// has fewer rounds left takes no heads after its end.
  void pass_heads(Index rounds) {
    if (draws_) return;
    const Index numbers = setting_.sizes.n * setting_.sizes.k_star;
    given_.resize(runtime_, panels() * rounds * numbers * kColumns);
    each_column([&](Index column, Index i) {
      HeadSource& source = call_.engine(i).heads();
      const Index first = call_.trial(i).round();
      double* out = given_.host() + place_of(column, rounds * numbers);
      for (Index r = 0; r < std::min(rounds, call_.end - first); ++r) {
        source.begin_round(first + r, call_.heads_of(i, first + r));
        const Mat heads = source.rows(setting_.sizes.n);
        for (Index j = 0; j < numbers; ++j) {
          out[(r * numbers + j) * kColumns] = heads.data()[j];
        }
      }
    });
    given_.to_device(stream_.get());
    heads_.given = given_.device();
    heads_.rounds = rounds;
  }

  /// Copies the factors of the step sizes to the device once a call.
  const double* upload_factors() {
    const Plan& plan = call_.plan;
    if (plan.factors == nullptr) return nullptr;
    if (factors_.size() == 0) {
      factors_.resize(runtime_, call_.end - plan.first_factor);
      std::copy_n(plan.factors, factors_.size(), factors_.begin());
      factors_.to_device(stream_.get());
    }
    return factors_.device();
  }
  /// Copies numbers to the device; returns null if there are none.
  template <class Values>
  const double* upload(const Values& values, Mirror<double>& to) {
    if (values.size() == 0) return nullptr;
    to.resize(runtime_, values.size());
    std::copy_n(values.data(), values.size(), to.begin());
    to.to_device(stream_.get());
    return to.device();
  }

  cuda::Runtime& runtime_;
  cuda::Population& device_;
  const Setting& setting_;
  const Call& call_;
  bool draws_;
  cuda::PopulationHeads heads_;
  const std::vector<Index>* chosen_ = nullptr;
  Mirror<double> mean_, scale_, factor_;          // of the law of heads
  Mirror<double> steps_, factors_;                // outer step sizes, and their factors
  Mirror<double> Z_, w_;                          // (panels, numbers, 32)
  Mirror<std::int64_t> round_;                    // (panels, 32)
  Mirror<std::int32_t> status_, apart_, rows_;    // (panels, 32)
  Mirror<std::uint64_t> number_;                  // (panels, 32)
  Mirror<double> dist_, given_;                   // (panels, rows, 32), (panels, rounds, .., 32)
  Mirror<double> grad_B_, grad_w_;                // (panels, numbers, 32)
  Mirror<double> losses_, adapted_, true_heads_;  // (panels, numbers, 32)
  cuda::DeviceArray<char> workspace_;
  cuda::OwnedStream stream_{runtime_};  // ends before the memory is released
};

class DevicePopulation final : public DeviceTrials {
 public:
  DevicePopulation(const cuda::Module& module, const Method& method, const Shape& shape, Index n,
                   double noise)
      : module_(module), setting_(method, shape, n, noise) {}

  /// Runs rounds of all live trials until none is left. If the device takes steps but cannot
  /// record the rows, trials stop at recorded rounds, whose gradients and outputs go to the host.
  void advance(const std::vector<std::unique_ptr<Trial>>& trials, const Plan& plan, Index end,
               const GivenHeads& heads, int threads, Cancel* cancel) override {
    const Call call{trials, plan, end, heads, threads, cancel};
    const bool records = setting_.records(plan);
    Panels panels(module_, setting_, call);
    for (;;) {
      if (cancel != nullptr) cancel->poll();
      throw_if_requested(cancel);
      std::vector<Index> live, at_record;
      for (Index i = 0; i < static_cast<Index>(trials.size()); ++i) {
        const Trial& trial = call.trial(i);
        if (trial.status() != TrialStatus::live || trial.round() >= end) continue;
        live.push_back(i);
        if (!records && trial.round() % plan.record_every == 0) at_record.push_back(i);
      }
      if (live.empty()) return;
      if (!setting_.takes_steps || !at_record.empty()) {
        run_round(setting_.takes_steps ? at_record : live, call, panels);
      } else {
        panels.load(live);
        panels.run(rounds_of_call(live, call));
      }
    }
  }

 private:
  /// Takes one round of some trials: the device computes the gradients, and the host records rows
  /// and takes the steps.
  void run_round(const std::vector<Index>& chosen, const Call& call, Panels& panels) const {
    const auto count = static_cast<Index>(chosen.size());
    for (Index first = 0; first < count; first += kTrialsAtOnce) {
      const Index last = std::min(first + kTrialsAtOnce, count);
      const std::vector<Index> some(chosen.begin() + first, chosen.begin() + last);
      std::vector<char> recorded;
      for (const Index i : some) recorded.push_back(call.trial(i).begin_round(call.plan));
      panels.load(some);
      panels.compute_gradients();
      parallel_for(call.threads, last - first, [&](Index at, int) {
        Trial& trial = call.trial(some[static_cast<std::size_t>(at)]);
        if (recorded[static_cast<std::size_t>(at)] != 0) trial.end_gradient(call.plan, 1);
        if (trial.status() != TrialStatus::live) return;
        trial.end_round(trial.engine().step(call.plan.factor(trial.round())));
      });
    }
  }

  /// Returns the number of rounds of a call of the device. The limits are the rounds that are left,
  /// kCallSeconds, the bytes of the rows and the heads of a call, and the rounds between two rows
  /// that the host records.
  Index rounds_of_call(const std::vector<Index>& live, const Call& call) const {
    Index first = call.end;
    for (const Index i : live) first = std::min(first, call.trial(i).round());
    const cuda::DeviceInfo info = module_.runtime->info();
    const double flops = call.engine(0).flops(), trials = static_cast<double>(live.size());
    const double rate = info.is_emulated ? kEmulatedFlops : kShareOfPeak * info.flops;
    double most = kCallSeconds / std::max(trials * flops / rate, flops * kSecondsOfFlop);
    most = std::min(most, kRowBytes / 8 / trials * static_cast<double>(call.plan.record_every));
    if (!call.engine(0).heads().draws()) {
      const auto numbers = static_cast<double>(setting_.sizes.n * setting_.sizes.k_star);
      most = std::min(most, kHeadBytes / (8 * numbers * (trials + kColumns)));
    }
    const Index limit = setting_.records(call.plan) ? kMostRounds : call.plan.record_every;
    const auto rounds = static_cast<Index>(std::min(most, static_cast<double>(limit)));
    return std::clamp<Index>(rounds, 1, call.end - first);
  }

  const cuda::Module& module_;
  Setting setting_;
};

}  // namespace

std::unique_ptr<DeviceTrials> make_device_population(const cuda::Module& module,
                                                     const Method& method, const Shape& shape,
                                                     Index n, double noise) {
  return std::make_unique<DevicePopulation>(module, method, shape, n, noise);
}

}  // namespace metaspan
