// Bindings of base: the build, the CPUs of this process, the thread pool, and shards of the columns
// of X.
#include "bind.hpp"
#include "convert.hpp"
#include "metaspan/base/parallel.hpp"
#include "python_exchange.hpp"

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
  py::class_<Shard, std::shared_ptr<Shard>>(module, "Shard")
      .def(py::init([](Index d, Index rank, Index ranks, const py::object& exchange) {
             std::shared_ptr<Exchange> used;
             if (!exchange.is_none()) used = std::make_shared<PythonExchange>(exchange);
             return std::make_shared<Shard>(d, rank, ranks, std::move(used));
           }),
           py::arg("d"), py::arg("rank") = 0, py::arg("ranks") = 1,
           py::arg("exchange") = py::none())
      .def_property_readonly("d", &Shard::d)
      .def_property_readonly("first", &Shard::first)
      .def_property_readonly("size", &Shard::size)
      .def_property_readonly("rank", &Shard::rank)
      .def_property_readonly("ranks", &Shard::ranks)
      .def_property_readonly("nodes", [](const Shard& c) { return c.sizes_of_nodes(); })
      .def(
          "sum",
          [](const Shard& shard, const Array& parts, Index most) {
            const Shard::Pieces pieces = shard.pieces(most);
            require(parts.ndim() == 2 && parts.shape(0) == pieces.count,
                    "parts must be (pieces, count)");
            const Index count = parts.shape(1);
            std::vector<double> numbers(parts.data(), parts.data() + parts.size());
            Array out(count);
            double* result = out.mutable_data();
            {
              const Unlocked unlocked;
              shard.sum(pieces, count, numbers.data(), result);
            }
            return out;
          },
          py::arg("parts"), py::arg("most"))
      .def(
          "pieces",
          [](const Shard& shard, Index most) {
            const Shard::Pieces pieces = shard.pieces(most);
            std::vector<Index> edges;
            for (Index i = 0; i <= pieces.count; ++i) edges.push_back(pieces.begin(i));
            return edges;
          },
          py::arg("most"))
      .def_static(
          "leaves", [](Index d) { return Shard::leaves(d); }, py::arg("d"))
      .def_static("edges", &Shard::edges, py::arg("d"), py::arg("ranks"));
  module.def("build_info", &build_info);
  module.def("available_cpus", &available_cpus);
  module.def("default_threads", &default_threads);
  module.def("pause_threads", &pause_threads);
}

}  // namespace metaspan::bind
