// Bindings of base: the build, the CPUs of this process, and the thread pool.
#include "bind.hpp"
#include "convert.hpp"
#include "metaspan/base/parallel.hpp"

namespace metaspan::bind {
namespace {

/// Describes the build of this module: the versions, the instruction-set level, and whether the
/// build can use threads.
py::dict build_info() {
  py::dict info;
  info["version"] = METASPAN_VERSION;
  info["instruction_set"] = METASPAN_BUILT_FOR;
  info["compiler"] = __VERSION__;
  info["eigen"] = METASPAN_EIGEN_VERSION;
  info["pybind11"] = std::to_string(PYBIND11_VERSION_MAJOR) + "." +
                     std::to_string(PYBIND11_VERSION_MINOR) + "." +
                     std::to_string(PYBIND11_VERSION_MICRO);
  info["threads"] = kHasThreads;
  return info;
}

}  // namespace

void bind_base(py::module_& module) {
  module.def("build_info", &build_info);
  module.def("available_cpus", &available_cpus);
  module.def("default_threads", &default_threads);
  module.def("pause_threads", &pause_threads);
}

}  // namespace metaspan::bind
