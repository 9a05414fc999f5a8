// The methods of Run, and the binding of this class.
#include "run.hpp"

#include <pybind11/native_enum.h>

#include <algorithm>

#include "../bind.hpp"
#include "metaspan/base/parallel.hpp"

namespace metaspan::bind {

Run::Run(const std::vector<std::string>& records) : names_(records) {
  for (const std::string& name : records) plan_.records.push_back(record_named(name));
}

/// Calls body(i, number of threads for the trial, cancel) for every trial. Trials run in parallel,
/// each on one thread, if there are enough trials or if a round is too small for several threads.
/// Trials run one after the other, each on all threads, if there are few trials with large rounds,
/// or if the trials share a store. The results do not depend on whether trials run in parallel.
template <class Body>
void Run::each_trial(int threads, Body&& body) {
  const bool small = count() >= threads || first().flops() < kSerialFlops;
  const bool side_by_side = small && !one_at_a_time();
  interruptible([&](Cancel* cancel) {
    parallel_for(side_by_side ? threads : 1, count(), cancel,
                 [&](Index i, int) { body(i, side_by_side ? 1 : threads, cancel); });
    throw_if_requested(cancel);
  });
}

const double* Run::checked_heads(const std::optional<Array>& heads, Index rounds) const {
  if (!heads) return nullptr;
  require(heads->size() == count() * rounds * heads_size_,
          "heads must be (trials, rounds, n, k_star)");
  return heads->data();
}

void Run::advance(Index end, Index record_every, double stop_dist, double stop_loss,
                  const std::optional<Array>& heads, int threads,
                  const std::optional<Array>& factors) {
  require(record_every > 0, "record_every must be positive");
  plan_.record_every = record_every;
  plan_.stop_dist = stop_dist;
  plan_.stop_loss = stop_loss;
  Index begin = end;
  for (const auto& trial : trials_) {
    if (trial->status() == TrialStatus::live) begin = std::min(begin, trial->round());
  }
  const double* all_heads = checked_heads(heads, end - begin);
  require(!factors || factors->size() == end - begin, "factors must be (rounds,)");
  plan_.factors = factors ? factors->data() : nullptr;
  plan_.first_factor = begin;
  const GivenHeads given{all_heads, begin, (end - begin) * heads_size_, heads_size_};
  if (const auto on_device = device_trials()) {
    interruptible(
        [&](Cancel* cancel) { on_device->advance(trials_, plan_, end, given, threads, cancel); });
    return;
  }
  if (const PanelMaker make_panel = panel_maker(threads)) {
    interruptible([&](Cancel* cancel) {
      advance_in_panels(trials_, plan_, end, given, make_panel, threads, cancel);
    });
    return;
  }
  each_trial(threads, [&](Index i, int inner, Cancel* cancel) {
    const double* trial_heads =
        all_heads == nullptr ? nullptr : all_heads + i * (end - begin) * heads_size_;
    trials_[static_cast<std::size_t>(i)]->advance(plan_, end, trial_heads, begin, heads_size_,
                                                  inner, cancel);
  });
}

void Run::measure(const std::optional<Array>& heads, int threads) {
  const double* all_heads = checked_heads(heads, 1);
  each_trial(threads, [&](Index i, int inner, Cancel* cancel) {
    Trial& trial = *trials_[static_cast<std::size_t>(i)];
    if (trial.status() != TrialStatus::live) return;
    trial.measure(plan_, all_heads == nullptr ? nullptr : all_heads + i * heads_size_, inner,
                  cancel);
  });
}

py::list Run::rows() const {
  py::list all;
  for (const auto& trial : trials_) {
    const auto rows = static_cast<Index>(trial->row_rounds.size());
    py::array_t<std::int64_t> rounds(rows);
    std::copy(trial->row_rounds.begin(), trial->row_rounds.end(), rounds.mutable_data());
    Array values({rows, trial->row_columns(plan_)});
    std::copy(trial->row_values.begin(), trial->row_values.end(), values.mutable_data());
    all.append(py::make_tuple(rounds, values));
  }
  return all;
}

std::vector<std::string> Run::columns() const {
  std::vector<std::string> all;
  const Shape shape = first().measured_shape();
  const Meter meter(shape.k_star, shape.e, shape.k);
  for (std::size_t i = 0; i < names_.size(); ++i) {
    all.insert(all.end(), static_cast<std::size_t>(meter.columns(plan_.records[i])), names_[i]);
  }
  return all;
}

std::vector<Index> Run::rounds() const {
  std::vector<Index> all;
  for (const auto& trial : trials_) all.push_back(trial->round());
  return all;
}

std::vector<TrialStatus> Run::status() const {
  std::vector<TrialStatus> all;
  for (const auto& trial : trials_) all.push_back(trial->status());
  return all;
}

void bind_engines(py::module_& module) {
  py::native_enum<TrialStatus>(module, "TrialStatus", "enum.IntEnum")
      .value("LIVE", TrialStatus::live)
      .value("CONVERGED", TrialStatus::converged)
      .value("DIVERGED", TrialStatus::diverged)
      .value("UNDERFLOW", TrialStatus::underflow)
      .finalize();
  py::class_<Run> run(module, "Run");
  run.def("advance", &Run::advance, py::arg("end"), py::arg("record_every"), py::arg("stop_dist"),
          py::arg("stop_loss"), py::arg("heads"), py::arg("threads"),
          py::arg("factors") = py::none())
      .def("measure", &Run::measure, py::arg("heads"), py::arg("threads"))
      .def("rows", &Run::rows)
      .def("drop_rows", &Run::drop_rows)
      .def_property_readonly("columns", &Run::columns)
      .def_property_readonly("rounds", &Run::rounds)
      .def_property_readonly("status", &Run::status)
      .def("state", &Run::state)
      .def("representation", &Run::representation, py::arg("threads"));
  bind_sizes(module);
  bind_costs(module);
  bind_population(module, run);
  bind_spectral(run);
  bind_collapsed(run);
  bind_limit(module, run);
  bind_sampled(run);
  bind_arrays(run);
  bind_adapt(module);
}

}  // namespace metaspan::bind
