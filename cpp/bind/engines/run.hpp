// The runs behind train(): what users never see.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "../convert_laws.hpp"
#include "metaspan/engines/advance.hpp"

namespace metaspan::bind {

/// Trials of one training run. Advances rounds; knows no clock and no file. Described in _core.pyi.
class Run {
 public:
  explicit Run(const std::vector<std::string>& records);
  virtual ~Run() = default;
  Run(const Run&) = delete;

  void advance(Index end, Index record_every, double stop_dist, double stop_loss,
               const std::optional<Array>& heads, int threads);
  void measure(const std::optional<Array>& heads, int threads);

  py::list rows() const;
  void drop_rows() {
    for (const auto& trial : trials_) trial->drop_rows();
  }
  std::vector<std::string> columns() const;
  std::vector<Index> rounds() const;
  std::vector<TrialStatus> status() const;

  /// Copies of what the engines need to go on.
  virtual py::dict state() const = 0;
  /// B of every trial at full size, where the engines hold it.
  virtual py::object representation(int /*threads*/) const { return py::none(); }

  /// Heads may come with each call: of a round, so many numbers.
  void take_heads(Index numbers) { heads_size_ = numbers; }

 protected:
  void add_trial(std::unique_ptr<Engine> engine, Index round, double alpha) {
    trials_.push_back(std::make_unique<Trial>(std::move(engine), round, alpha));
  }
  Index count() const { return static_cast<Index>(trials_.size()); }
  /// Whether trials cannot run side by side.
  virtual bool one_at_a_time() const { return false; }

 private:
  template <class Body>
  void each_trial(int threads, Body&& body);
  const double* given_heads(const std::optional<Array>& heads, Index rounds) const;
  const Engine& first() const { return trials_.front()->engine(); }

  std::vector<std::unique_ptr<Trial>> trials_;
  Plan plan_;
  std::vector<std::string> names_;
  Index heads_size_ = 0;  // n k_star
};

/// A run on engines of one type, which tell more of their state than every engine does.
template <class Specific>
class RunOf : public Run {
 public:
  using Run::Run;

  void add(std::unique_ptr<Specific> engine, Index round, double alpha) {
    engines_.push_back(engine.get());
    add_trial(std::move(engine), round, alpha);
  }

 protected:
  const Specific& engine(Index i) const { return *engines_[static_cast<std::size_t>(i)]; }

 private:
  std::vector<const Specific*> engines_;  // the trials own them
};

/// M, R and w of `count` trials, each with an axis of trials; coordinates(i) is [M; R] of trial i.
template <class Coordinates, class Head>
py::dict state_in_coordinates(Index count, const Shape& shape, Coordinates&& coordinates,
                              Head&& head) {
  const auto [k_star, e, k] = shape;
  Array M({count, k_star, k}), R({count, e, k}), w({count, k});
  for (Index i = 0; i < count; ++i) {
    const Mat& Z = coordinates(i);
    MutMat(M.mutable_data() + i * k_star * k, k_star, k) = Z.topRows(k_star);
    MutMat(R.mutable_data() + i * e * k, e, k) = Z.bottomRows(e);
    MutVec(w.mutable_data() + i * k, k) = head(i);
  }
  py::dict out;
  out["M"] = M;
  out["R"] = R;
  out["w"] = w;
  return out;
}

// Each engine's factory of runs, a static function of Run, and what else is asked of the engine.
void bind_costs(py::module_& module);
void bind_population(py::module_& module, py::class_<Run>& run);
void bind_spectral(py::class_<Run>& run);
void bind_collapsed(py::module_& module, py::class_<Run>& run);
void bind_infinite_tasks(py::class_<Run>& run);
void bind_sampled(py::class_<Run>& run);
void bind_arrays(py::module_& module, py::class_<Run>& run);

}  // namespace metaspan::bind
