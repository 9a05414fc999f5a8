#include "bind.hpp"
#include "metaspan/engines/collapsed.hpp"
#include "metaspan/engines/population.hpp"
#include "run.hpp"

namespace metaspan::bind {

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
  module.def(
      "population_cost",
      [](const py::tuple& method, Index n, Index rows, Index k) {
        const PopulationCost cost = population_cost(as_method(method), n, rows, k);
        return py::make_tuple(cost.flops, cost.bytes);
      },
      py::arg("method"), py::arg("n"), py::arg("rows"), py::arg("k"));
  module.def(
      "collapsed_cost",
      [](const py::tuple& method, const py::tuple& samples, Index n, Index rows, Index k) {
        const CollapsedCost cost =
            collapsed_cost(as_method(method), as_sample_law(samples), n, rows, k);
        return py::make_tuple(cost.flops, cost.numbers, cost.bytes, cost.thread_bytes);
      },
      py::arg("method"), py::arg("samples"), py::arg("n"), py::arg("rows"), py::arg("k"));
}

}  // namespace metaspan::bind
