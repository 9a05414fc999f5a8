#include "metaspan/engines/device_collapsed.hpp"

#include <algorithm>
#include <cmath>

#include "collapsed_trial.hpp"
#include "metaspan/base/parallel.hpp"
#include "metaspan/cuda/collapsed.hpp"
#include "metaspan/cuda/owned.hpp"
#include "mirror.hpp"

namespace metaspan {
namespace {

using cuda::kPanelColumns;

/// A round is cut into at least kLeastParts parts of at least kLeastColumns tasks, so that the host
/// works on one part while the device works on the next.
constexpr Index kLeastParts = 4;
constexpr Index kLeastColumns = 8192;
/// Share of the free memory of the device that the columns of a round may take.
constexpr double kMostShare = 0.8;

constexpr int kBuffers = 2;

/// The tasks [first_task, first_task + tasks) of the active trials [first_trial, first_trial +
/// trials).
struct Part {
  Index first_trial, trials, first_task, tasks;
};

/// The layout of the samples in device memory.
class DeviceShape {
 public:
  DeviceShape(cuda::Runtime& runtime, const SampleShape& shape) : view_(shape.view()) {
    SetView* views[] = {&view_.inner, &view_.outer, &view_.spread};
    for (int i = 0; i < 3; ++i) {
      SetView& set = *views[i];
      rows_[i] = {runtime, static_cast<std::size_t>(set.row_count)};
      roots_[i] = {runtime, static_cast<std::size_t>(set.root_count)};
      put(runtime, rows_[i], set.rows);
      put(runtime, roots_[i], set.roots);
    }
    runtime.synchronise(nullptr);
  }
  const SampleView& view() const { return view_; }

 private:
  template <class T>
  static void put(cuda::Runtime& runtime, const cuda::DeviceArray<T>& array, const T*& values) {
    if (array.size() > 0) {
      runtime.copy(array.data(), values, array.size() * sizeof(T), cuda::Copy::to_device, nullptr);
    }
    values = array.data();
  }

  SampleView view_;
  cuda::DeviceArray<RowShape> rows_[3];
  cuda::DeviceArray<RootShape> roots_[3];
};

/// The factors of a panel of 8 tasks among the results of a part.
class ResultFactors final : public PanelFactors {
 public:
  ResultFactors(const cuda::CollapsedPart& part, const cuda::CollapsedResults& layout,
                const double* results, Index column)
      : part_(part), layout_(layout), results_(results), column_(column) {}

  Index select(TermGroup group) override {
    group_ = 0;
    while (part_.group[group_] != group) ++group_;
    return layout_.factor_rows[group_];
  }
  void copy(Index t, double* A) const override {
    const double* values = at(layout_.factor[group_], t);
    for (Index i = 0; i < layout_.factor_rows[group_] * part_.k; ++i) {
      A[i] = values[i * kPanelColumns];
    }
  }
  /// Returns the address of a row of the results of task t; further rows follow kPanelColumns
  /// numbers apart.
  const double* at(Index row, Index t) const {
    const Index c = column_ + t;
    return results_ + (c / kPanelColumns * layout_.rows + row) * kPanelColumns + c % kPanelColumns;
  }

 private:
  const cuda::CollapsedPart& part_;
  const cuda::CollapsedResults& layout_;
  const double* results_;
  Index column_;  // of the first task
  int group_ = 0;
};

/// A panel of trials whose tasks run on a device. A round is cut into parts. Two buffers with a
/// stream each hold the samples and results of two parts, so that the host adds the contributions
/// of one part off the span while the device computes the next part.
class DeviceCollapsed final : public TrialPanel {
 public:
  DeviceCollapsed(const cuda::Module& module, const CollapsedTrial& like, Index width, int threads,
                  const CollapsedLimits& limits)
      : runtime_(*module.runtime),
        device_(*module.collapsed),
        threads_(threads),
        engines_(static_cast<std::size_t>(width), nullptr),
        shape_(runtime_, like.samples()),
        part_(describe(like)),
        streams_{cuda::OwnedStream(runtime_), cuda::OwnedStream(runtime_)},
        sums_(runtime_) {
    part_.most_blocks = limits.blocks;
    make_buffers(width * part_.n, limits.columns);
  }

  Index width() const override { return static_cast<Index>(engines_.size()); }
  void load(Index column, Engine& engine) override {
    engines_[static_cast<std::size_t>(column)] = static_cast<CollapsedTrial*>(&engine);
  }
  void store(Index) override {}  // the engines hold the states
  void drop(Index column) override { engines_[static_cast<std::size_t>(column)] = nullptr; }

  /// Computes the gradients of a round, (10). The device sums the tasks in the span; the host adds
  /// the parts off the span in the order of CollapsedTrial.
  void gradient(const Round* rounds) override {
    begin(rounds);
    const auto count = static_cast<Index>(active_.size());
    const std::vector<Part> parts = cut(count);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      if (i == 0) launch(parts, 0);
      if (i + 1 < parts.size()) launch(parts, i + 1);
      finish(parts, i, rounds);
    }
    G_.to_host(sums_.get());
    g_w_.to_host(sums_.get());
    runtime_.synchronise(sums_.get());
    parallel_for(threads_, count, [&](Index i, int) { end(i); });
  }

  void step(const double* factors, bool* taken) override {
    parallel_for(threads_, width(), [&](Index t, int) {
      CollapsedTrial* engine = engines_[static_cast<std::size_t>(t)];
      taken[t] = engine != nullptr && engine->step(factors[t]);
    });
  }

  bool measures_distance() const override { return false; }
  void distances(double*) override {}

 private:
  /// Numbers of the state of a trial, and of its parameters.
  struct Sizes {
    Index Z, w;
  };
  struct Buffer {
    cuda::DeviceArray<double> workspace;
    Mirror<double> results, scales;
  };

  Sizes sizes() const { return {part_.shape.D * part_.k, part_.method.parameters(part_.k)}; }
  Index pieces() const { return pieces_of_collapsed(ceil_div(part_.n, CollapsedTrial::kWidth)); }
  CollapsedTrial& trial(Index i) const { return *engines_[active_[static_cast<std::size_t>(i)]]; }

  /// Describes what all rounds have in common.
  cuda::CollapsedPart describe(const CollapsedTrial& like) const {
    cuda::CollapsedPart part{};
    const SampleLaw& law = like.law();
    part.method = like.method().without_privacy();
    part.method.step = {};
    part.k = like.k();
    part.k_star = like.heads().k_star();
    part.shape = shape_.view();
    part.radius = radius_law(law);
    part.noise = law.noise;
    part.spread = law.spread / std::sqrt(law.d);
    part.shared = law.shared;
    part.losses = part.adapted = true;
    part.squares = like.clips();
    part.groups = groups_off_span(like.method(), law, like.samples(), part.group);
    part.n = like.n();
    return part;
  }

  /// Allocates the buffers of two parts, in the memory of the device that is left.
  void make_buffers(Index columns, Index limit) {
    const Index rows = device_.workspace_rows(part_) + cuda::collapsed_results(part_).rows + 1;
    const double most = kMostShare * static_cast<double>(runtime_.free_bytes()) /
                        static_cast<double>(kBuffers * rows) / sizeof(double);
    Index wanted = std::min(columns, std::max(kLeastColumns, ceil_div(columns, kLeastParts)));
    if (limit > 0) wanted = std::min(wanted, limit);
    const bool fits = static_cast<double>(wanted + kPanelColumns) < most;
    const Index panels = fits ? ceil_div(wanted, kPanelColumns)
                              : std::max<Index>(1, static_cast<Index>(most) / kPanelColumns);
    most_columns_ = panels * kPanelColumns;
    const auto numbers = static_cast<std::size_t>(most_columns_ * device_.workspace_rows(part_));
    for (Buffer& buffer : buffers_) buffer.workspace = {runtime_, numbers};
  }

  /// Cuts a round of `trials` trials into parts that fit into a buffer: whole trials, or ranges of
  /// whole panels of tasks of one trial. The sums are the same for any parts, since the device adds
  /// the tasks of a piece one by one.
  std::vector<Part> cut(Index trials) const {
    std::vector<Part> parts;
    const Index n = part_.n, at_once = most_columns_ / n;
    if (at_once > 0) {
      for (Index i = 0; i < trials; i += at_once) {
        parts.push_back({i, std::min(at_once, trials - i), 0, n});
      }
      return parts;
    }
    for (Index i = 0; i < trials; ++i) {
      for (Index task = 0; task < n; task += most_columns_) {
        parts.push_back({i, 1, task, std::min(most_columns_, n - task)});
      }
    }
    return parts;
  }

  /// Begins the round of every active trial, and copies the states, keys and heads to the device.
  void begin(const Round* rounds) {
    active_.clear();
    part_.losses = part_.adapted = false;
    for (std::size_t t = 0; t < engines_.size(); ++t) {
      if (rounds[t].outputs == nullptr) continue;
      active_.push_back(t);
      part_.losses |= rounds[t].outputs->want_losses;
      part_.adapted |= rounds[t].outputs->want_adapted;
    }
    const auto count = static_cast<Index>(active_.size());
    keys_.resize(runtime_, 2 * count);
    Z_.resize(runtime_, count * sizes().Z);
    w_.resize(runtime_, count * sizes().w);
    heads_.resize(runtime_, count * part_.n * part_.k_star);
    G_.resize(runtime_, count * pieces() * sizes().Z);  // zero
    g_w_.resize(runtime_, count * pieces() * sizes().w);
    parallel_for(threads_, count, [&](Index i, int) { begin(i, rounds); });
    keys_.to_device(sums_.get());
    for (Mirror<double>* array : {&Z_, &w_, &heads_, &G_, &g_w_}) array->to_device(sums_.get());
    part_.keys = keys_.device();
    part_.Z = Z_.device();
    part_.w = w_.device();
    part_.heads = heads_.device();
  }

  /// Begins the round of a trial.
  void begin(Index i, const Round* rounds) {
    const Round& round = rounds[active_[static_cast<std::size_t>(i)]];
    CollapsedTrial& engine = trial(i);
    engine.begin_round(round.number, round.heads, *round.outputs);
    for (Index piece = 0; piece < engine.pieces(); ++piece) engine.piece(piece).clear(part_.k);
    const Mat heads = engine.heads().rows(part_.n);
    std::copy_n(engine.samples_key().words, 2, keys_.host() + 2 * i);
    std::copy_n(engine.Z().data(), sizes().Z, Z_.host() + i * sizes().Z);
    std::copy_n(engine.w().data(), sizes().w, w_.host() + i * sizes().w);
    std::copy_n(heads.data(), heads.size(), heads_.host() + i * heads.size());
    if (round.outputs->want_heads) round.outputs->heads = heads;
  }

  /// Lets a stream wait for all work that has been queued on another one.
  void hold(cuda::Stream stream, cuda::Stream until) {
    const cuda::Event event = runtime_.record(until);
    runtime_.wait(stream, event);
    runtime_.drop(event);
  }

  cuda::CollapsedPart describe(const Part& part) const {
    cuda::CollapsedPart described = part_;
    described.first_trial = part.first_trial;
    described.trials = part.trials;
    described.first_task = part.first_task;
    described.tasks = part.tasks;
    return described;
  }

  /// Queues the algebra of a part, after the uploads and the sums of the part whose buffer it
  /// takes.
  void launch(const std::vector<Part>& parts, std::size_t at) {
    const cuda::CollapsedPart part = describe(parts[at]);
    Buffer& buffer = buffers_[at % kBuffers];
    const cuda::Stream stream = streams_[at % kBuffers].get();
    buffer.results.resize(runtime_,
                          part.panels() * kPanelColumns * cuda::collapsed_results(part).rows);
    hold(stream, sums_.get());
    device_.run(part, buffer.workspace.data(), buffer.results.device(), stream);
  }

  /// Waits for the results of a part, adds its tasks off the span, and queues the sums in the span.
  /// All sums are on one stream, since those of consecutive parts may be those of one trial.
  void finish(const std::vector<Part>& parts, std::size_t at, const Round* rounds) {
    const cuda::CollapsedPart part = describe(parts[at]);
    Buffer& buffer = buffers_[at % kBuffers];
    const cuda::Stream stream = streams_[at % kBuffers].get();
    buffer.results.to_host(stream);
    runtime_.synchronise(stream);
    if (part_.squares) buffer.scales.resize(runtime_, part.columns());
    parallel_for(threads_, part.trials * pieces(), [&](Index item, int) {
      add_piece(part, buffer, item / pieces(), item % pieces(), rounds);
    });
    buffer.scales.to_device(sums_.get());
    device_.add(part, buffer.workspace.data(), buffer.scales.device(), pieces(), G_.device(),
                g_w_.device(), sums_.get());
  }

  /// Adds those tasks of a piece of a trial off the span that are in the part, in the panels and in
  /// the order of the CPU, and copies their outputs.
  void add_piece(const cuda::CollapsedPart& part, Buffer& buffer, Index i, Index piece,
                 const Round* rounds) {
    constexpr Index kWidth = CollapsedTrial::kWidth;
    CollapsedTrial& engine = trial(part.first_trial + i);
    const cuda::CollapsedResults layout = cuda::collapsed_results(part);
    const std::size_t column_of_panel = active_[static_cast<std::size_t>(part.first_trial + i)];
    TaskOutputs& outputs = *rounds[column_of_panel].outputs;
    const Index begin = std::max(engine.first_panel(piece), part.first_task / kWidth);
    const Index end =
        std::min(engine.first_panel(piece + 1), ceil_div(part.first_task + part.tasks, kWidth));
    PanelParts parts;
    for (Index panel = begin; panel < end; ++panel) {
      const Index first = panel * kWidth, tasks = std::min(kWidth, part.n - first);
      const Index column = i * part.tasks + first - part.first_task;
      ResultFactors results(part, layout, buffer.results.host(), column);
      double squares[kWidth] = {};
      for (Index t = 0; part.squares && t < tasks; ++t) squares[t] = *results.at(layout.squares, t);
      engine.find_parts(results, first, tasks, squares, parts);
      if (part.squares) std::copy_n(parts.factors, tasks, buffer.scales.host() + column);
      engine.add_off_span(results, parts, first, tasks, engine.piece(piece));
      copy_outputs(engine, results, layout, first, tasks, outputs);
    }
  }

  /// Copies the losses and adapted heads of a panel's tasks.
  void copy_outputs(const CollapsedTrial& engine, const ResultFactors& results,
                    const cuda::CollapsedResults& layout, Index first, Index tasks,
                    TaskOutputs& outputs) const {
    double added[3];
    engine.noise_of_losses(added);
    for (Index t = 0; t < tasks; ++t) {
      for (int which = 0; outputs.want_losses && which < 3; ++which) {
        outputs.losses(which, first + t) = *results.at(layout.losses + which, t) + added[which];
      }
      for (Index j = 0; outputs.want_adapted && j < part_.k; ++j) {
        outputs.adapted(first + t, j) = *results.at(layout.adapted + j, t);
      }
    }
  }

  /// Hands the sums of the pieces to a trial, which ends its round.
  void end(Index i) {
    CollapsedTrial& engine = trial(i);
    for (Index piece = 0; piece < pieces(); ++piece) {
      CollapsedTrial::Piece& sums = engine.piece(piece);
      const Index at = i * pieces() + piece;
      sums.G = ConstMat(G_.host() + at * sizes().Z, part_.shape.D, part_.k);
      sums.g_w = ConstVec(g_w_.host() + at * sizes().w, sizes().w);
    }
    engine.end_round();
  }

  cuda::Runtime& runtime_;
  cuda::Collapsed& device_;
  int threads_;
  std::vector<CollapsedTrial*> engines_;  // (width,)  null in an empty column
  std::vector<std::size_t> active_;       // columns with a trial in this round
  DeviceShape shape_;
  cuda::CollapsedPart part_;    // what the parts of a round have in common
  Mirror<std::uint32_t> keys_;  // (active, 2)
  Mirror<double> Z_;            // (active, D, k)
  Mirror<double> w_;            // (active, parameters)
  Mirror<double> heads_;        // (active, n, k_star)
  Mirror<double> G_;            // (active, pieces, D, k)
  Mirror<double> g_w_;          // (active, pieces, parameters)
  Buffer buffers_[kBuffers];
  Index most_columns_ = 0;  // of a part
  // Destroyed first, which waits for the work on the arrays.
  cuda::OwnedStream streams_[kBuffers];
  cuda::OwnedStream sums_;  // uploads, sums in the span and downloads
};

/// The trials of a run in one panel, whose memory lives as long as a call.
class CollapsedTrials final : public DeviceTrials {
 public:
  CollapsedTrials(const cuda::Module& module, const CollapsedLimits& limits)
      : module_(module), limits_(limits) {}

  void advance(const std::vector<std::unique_ptr<Trial>>& trials, const Plan& plan, Index end,
               const GivenHeads& heads, int threads, Cancel* cancel) override {
    const PanelMaker make_panel = [&] {
      const auto& like = static_cast<const CollapsedTrial&>(trials.front()->engine());
      return std::make_unique<DeviceCollapsed>(module_, like, static_cast<Index>(trials.size()),
                                               threads, limits_);
    };
    advance_in_panels(trials, plan, end, heads, make_panel, 1, cancel);
  }

 private:
  const cuda::Module& module_;
  CollapsedLimits limits_;
};

}  // namespace

std::unique_ptr<DeviceTrials> make_device_collapsed(const cuda::Module& module,
                                                    const CollapsedLimits& limits) {
  return std::make_unique<CollapsedTrials>(module, limits);
}

}  // namespace metaspan
