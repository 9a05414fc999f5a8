#include "bind.hpp"
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
      .def("advance", &Run::advance, py::arg("end"), py::arg("record_every"), py::arg("stop_dist"),
           py::arg("stop_loss"), py::arg("heads"), py::arg("threads"))
      .def("measure", &Run::measure, py::arg("heads"), py::arg("threads"))
      .def("rows", &Run::rows)
      .def("drop_rows", &Run::drop_rows)
      .def_property_readonly("columns", &Run::columns)
      .def_property_readonly("rounds", &Run::rounds)
      .def_property_readonly("status", &Run::status)
      .def("state", &Run::state)
      .def("cost", &Run::cost);
}

}  // namespace metaspan::bind
