#include "bind.hpp"
#include "metaspan/engines/collapsed.hpp"
#include "metaspan/engines/infinite_tasks.hpp"
#include "metaspan/engines/population.hpp"
#include "metaspan/engines/spectral.hpp"
#include "metaspan/task_algebra.hpp"
#include "run.hpp"

namespace metaspan::bind {
namespace {

py::dict cost_dict(const RoundCost& cost) {
  py::dict out;
  out["flops"] = cost.flops;
  out["bytes"] = cost.bytes;
  out["thread_bytes"] = cost.thread_bytes;
  out["pieces"] = cost.pieces;
  out["operations"] = cost.work.operations;
  out["calls"] = cost.work.calls;
  out["numbers"] = cost.work.numbers;
  return out;
}

RoundSizes as_sizes(const py::tuple& sizes) {
  return {sizes[0].cast<Index>(), sizes[1].cast<Index>(), sizes[2].cast<Index>(),
          sizes[3].cast<Index>(), sizes[4].cast<bool>(),  sizes[5].cast<bool>(),
          sizes[6].cast<double>()};
}

void bind_costs(py::module_& module) {
  module.def(
      "population_cost",
      [](const py::tuple& method, const py::tuple& sizes) {
        return cost_dict(population_cost(as_method(method), as_sizes(sizes)));
      },
      py::arg("method"), py::arg("sizes"));
  module.def(
      "collapsed_cost",
      [](const py::tuple& method, const py::tuple& samples, const py::tuple& sizes) {
        return cost_dict(
            collapsed_cost(as_method(method), as_sample_law(samples), as_sizes(sizes)));
      },
      py::arg("method"), py::arg("samples"), py::arg("sizes"));
  module.def(
      "spectral_cost",
      [](const py::tuple& method, const py::tuple& sizes) {
        return cost_dict(spectral_cost(as_method(method), as_sizes(sizes)));
      },
      py::arg("method"), py::arg("sizes"));
  module.def(
      "infinite_tasks_cost",
      [](const py::tuple& sizes) { return cost_dict(infinite_tasks_cost(as_sizes(sizes))); },
      py::arg("sizes"));
  module.def(
      "algebra_counts",
      [](const py::tuple& method, double losses) {
        const AlgebraCounts counts = algebra_counts(as_method(method), losses);
        return py::make_tuple(counts.forward, counts.back, counts.added, counts.moves);
      },
      py::arg("method"), py::arg("losses"));
  module.def(
      "calls_of_record",
      [](const std::string& record, Index k_star, Index k, Index n) {
        return calls_of(record_named(record), k_star, k, n);
      },
      py::arg("record"), py::arg("k_star"), py::arg("k"), py::arg("n"));
}

}  // namespace

void bind_run(py::module_& module) {
  module.attr("LIVE") = static_cast<int>(TrialStatus::live);
  module.attr("CONVERGED") = static_cast<int>(TrialStatus::converged);
  module.attr("DIVERGED") = static_cast<int>(TrialStatus::diverged);
  module.attr("UNDERFLOW") = static_cast<int>(TrialStatus::underflow);
  py::class_<Run>(module, "Run")
      .def_static("population", &Run::population, py::arg("method"), py::arg("M"), py::arg("R"),
                  py::arg("w"), py::arg("law"), py::arg("n"), py::arg("noise"), py::arg("seed"),
                  py::arg("trials"), py::arg("rounds"), py::arg("records"),
                  py::arg("frames") = py::none())
      .def_static("collapsed", &Run::collapsed, py::arg("method"), py::arg("samples"), py::arg("M"),
                  py::arg("R"), py::arg("w"), py::arg("kept"), py::arg("law"), py::arg("n"),
                  py::arg("seed"), py::arg("trials"), py::arg("rounds"), py::arg("records"))
      .def_static("infinite_tasks", &Run::infinite_tasks, py::arg("method"), py::arg("m_in"),
                  py::arg("noise"), py::arg("covariance"), py::arg("M"), py::arg("R"),
                  py::arg("rounds"), py::arg("records"))
      .def_static("arrays", &Run::arrays, py::arg("method"), py::arg("route"), py::arg("data"),
                  py::arg("state"), py::arg("n"), py::arg("seed"), py::arg("trials"),
                  py::arg("rounds"), py::arg("records"), py::arg("threads"))
      .def_static("sampled", &Run::sampled, py::arg("method"), py::arg("samples"), py::arg("roots"),
                  py::arg("rows"), py::arg("B_star"), py::arg("B"), py::arg("w"), py::arg("law"),
                  py::arg("n"), py::arg("seed"), py::arg("trials"), py::arg("rounds"),
                  py::arg("records"))
      .def_static("spectral", &Run::spectral, py::arg("method"), py::arg("roots"), py::arg("noise"),
                  py::arg("B_star"), py::arg("B"), py::arg("w"), py::arg("law"), py::arg("n"),
                  py::arg("seed"), py::arg("trials"), py::arg("rounds"), py::arg("records"))
      .def("advance", &Run::advance, py::arg("end"), py::arg("record_every"), py::arg("stop_dist"),
           py::arg("stop_loss"), py::arg("heads"), py::arg("threads"))
      .def("measure", &Run::measure, py::arg("heads"), py::arg("threads"))
      .def("rows", &Run::rows)
      .def("drop_rows", &Run::drop_rows)
      .def_property_readonly("columns", &Run::columns)
      .def_property_readonly("rounds", &Run::rounds)
      .def_property_readonly("status", &Run::status)
      .def("state", &Run::state)
      .def("representation", &Run::representation, py::arg("threads"));
  bind_costs(module);
}

}  // namespace metaspan::bind
