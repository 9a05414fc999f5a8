// The private class Run and its subclasses, whose methods train() calls, and the code that the
// bindings of the engines share.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "../convert_laws.hpp"
#include "metaspan/engines/device_trials.hpp"
#include "metaspan/engines/trial_panel.hpp"

namespace metaspan::bind {

/// The trials of one training run. The class Run uses no clock and no files. _core.pyi describes
/// its methods.
class Run {
 public:
  explicit Run(const std::vector<std::string>& records);
  virtual ~Run() = default;
  Run(const Run&) = delete;

  /// Advances every live trial to round `end`. Trials advance in parallel if this is faster. A row
  /// is recorded every record_every rounds. `heads` is (trials, rounds, n, k_star), and its first
  /// round is the round of the live trial that is furthest behind. `factors` (rounds,) multiply the
  /// step sizes, starting at the same round.
  void advance(Index end, Index record_every, double stop_dist, double stop_loss,
               const std::optional<Array>& heads, int threads, const std::optional<Array>& factors);
  /// Records one row of every live trial, without a step. `heads` is (trials, 1, n, k_star).
  void measure(const std::optional<Array>& heads, int threads);

  /// Returns the recorded rows of every trial, as a pair of rounds and values. The rows stay
  /// recorded until drop_rows() discards them.
  py::list rows() const;
  void drop_rows() {
    for (const auto& trial : trials_) trial->drop_rows();
  }
  /// Returns, for every column of a recorded row, the name of its record.
  std::vector<std::string> columns() const;
  // The round and the status of every trial.
  std::vector<Index> rounds() const;
  std::vector<TrialStatus> status() const;

  /// Returns a copy of the state, from which every trial can be resumed.
  virtual py::dict state() const = 0;
  /// Returns B of every trial if the engines hold B at full size, otherwise None.
  virtual py::object representation(int /*threads*/) const { return py::none(); }

  /// Sets the number of numbers in the heads of a round, n k_star, for runs whose heads are passed
  /// to each call.
  void take_heads(Index numbers) { heads_size_ = numbers; }

 protected:
  void add_trial(std::unique_ptr<Engine> engine, Index round, const Method& method) {
    trials_.push_back(std::make_unique<Trial>(std::move(engine), round, method));
  }
  Index count() const { return static_cast<Index>(trials_.size()); }
  /// Whether trials must run one after the other.
  virtual bool one_at_a_time() const { return false; }
  /// Returns a function that makes panels of trials, or null if the trials do not advance in
  /// panels.
  virtual PanelMaker panel_maker(int /*threads*/) const { return nullptr; }
  /// Makes the device form of the trials, or returns null if they run on the CPU.
  virtual std::unique_ptr<DeviceTrials> device_trials() const { return nullptr; }

 private:
  template <class Body>
  void each_trial(int threads, Body&& body);
  /// Checks the size of the heads that are passed to a call and returns their elements, or returns
  /// null if no heads are passed.
  const double* checked_heads(const std::optional<Array>& heads, Index rounds) const;
  const Engine& first() const { return trials_.front()->engine(); }

  std::vector<std::unique_ptr<Trial>> trials_;
  Plan plan_;
  std::vector<std::string> names_;
  Index heads_size_ = 0;  // n k_star
};

/// A run whose engines all have the type Specific, so that state() can use members of Specific.
template <class Specific>
class RunOf : public Run {
 public:
  using Run::Run;

  void add(std::unique_ptr<Specific> engine, Index round, const Method& method) {
    engines_.push_back(engine.get());
    add_trial(std::move(engine), round, method);
  }

 protected:
  const Specific& engine(Index i) const { return *engines_[static_cast<std::size_t>(i)]; }

 private:
  std::vector<const Specific*> engines_;  // owned by the trials
};

/// Returns M, R and w of `count` trials as stacks whose first axis is the trial. coordinates(i)
/// must return [M; R] of trial i, and head(i) must return w of trial i and the parameters that
/// follow w.
template <class Coordinates, class Head>
py::dict state_in_coordinates(Index count, const Shape& shape, Coordinates&& coordinates,
                              Head&& head) {
  const auto [k_star, e, k] = shape;
  const Index parameters = head(0).size();
  Array M({count, k_star, k}), R({count, e, k}), w({count, parameters});
  for (Index i = 0; i < count; ++i) {
    const Mat& Z = coordinates(i);
    MutMat(M.mutable_data() + i * k_star * k, k_star, k) = Z.topRows(k_star);
    MutMat(R.mutable_data() + i * e * k, e, k) = Z.bottomRows(e);
    MutVec(w.mutable_data() + i * parameters, parameters) = head(i);
  }
  py::dict out;
  out["M"] = M;
  out["R"] = R;
  out["w"] = w;
  return out;
}

// Except for bind_sizes(), bind_costs() and bind_adapt(), each function binds one engine: the
// static method of Run that opens runs of the engine, and further functions of the engine.
void bind_sizes(py::module_& module);
void bind_costs(py::module_& module);
void bind_population(py::module_& module, py::class_<Run>& run);
void bind_spectral(py::class_<Run>& run);
void bind_collapsed(py::class_<Run>& run);
void bind_limit(py::module_& module, py::class_<Run>& run);
void bind_sampled(py::class_<Run>& run);
void bind_arrays(py::class_<Run>& run);
void bind_adapt(py::module_& module);

}  // namespace metaspan::bind
