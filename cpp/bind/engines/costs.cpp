// Bindings of the functions that compute the costs of rounds.
#include "../device.hpp"
#include "metaspan/algebra/outer_step.hpp"
#include "metaspan/algebra/task_algebra.hpp"
#include "metaspan/engines/collapsed.hpp"
#include "metaspan/engines/device_arrays.hpp"
#include "metaspan/engines/device_cost.hpp"
#include "metaspan/engines/limit.hpp"
#include "metaspan/engines/population.hpp"
#include "metaspan/engines/spectral.hpp"
#include "metaspan/geometry/coordinates.hpp"
#include "metaspan/sweeps/route_costs.hpp"
#include "metaspan/sweeps/vector_plan.hpp"
#include "run.hpp"

namespace pybind11::detail {

/// Reads the fields by attribute from the NamedTuple that has the same name as the struct.
template <>
struct type_caster<metaspan::RoundSizes> {
  PYBIND11_TYPE_CASTER(metaspan::RoundSizes, const_name("RoundSizes"));
  bool load(handle source, bool /*convert*/) {
    using metaspan::Index;
    value = {source.attr("n").cast<Index>(),          source.attr("rows").cast<Index>(),
             source.attr("k").cast<Index>(),          source.attr("k_star").cast<Index>(),
             source.attr("draws_heads").cast<bool>(), source.attr("chooses").cast<bool>(),
             source.attr("losses").cast<double>(),    source.attr("trials").cast<Index>()};
    return true;
  }
};

/// Reads the fields by attribute. If `entries` is None, X is dense.
template <>
struct type_caster<metaspan::DataSizes> {
  PYBIND11_TYPE_CASTER(metaspan::DataSizes, const_name("DataSizes"));
  bool load(handle source, bool /*convert*/) {
    using metaspan::Index;
    const object entries = source.attr("entries");
    const bool sparse = !entries.is_none();
    value = {source.attr("d").cast<Index>(),
             source.attr("k").cast<Index>(),
             source.attr("k_star").cast<Index>(),
             source.attr("n").cast<Index>(),
             source.attr("all_tasks").cast<Index>(),
             source.attr("m_in").cast<double>(),
             source.attr("m_out").cast<double>(),
             source.attr("shared").cast<bool>(),
             source.attr("number_bytes").cast<Index>(),
             source.attr("B_number_bytes").cast<Index>(),
             source.attr("stored").cast<bool>(),
             sparse,
             source.attr("made").cast<bool>(),
             sparse ? entries.cast<double>() : 0,
             source.attr("meeting").cast<double>(),
             source.attr("copied").cast<bool>(),
             source.attr("losses").cast<double>(),
             source.attr("geometry").cast<double>(),
             source.attr("record_calls").cast<double>()};
    return true;
  }
};

}  // namespace pybind11::detail

namespace metaspan::bind {
namespace {

/// Returns the cost of a round as a dict, whose type in _core.pyi is RoundCost.
py::dict as_dict(const RoundCost& cost) {
  py::dict out;
  out["flops"] = cost.flops;
  out["bytes"] = cost.bytes;
  out["thread_bytes"] = cost.thread_bytes;
  out["pieces"] = cost.pieces;
  out["operations"] = cost.work.operations;
  out["calls"] = cost.work.calls;
  out["numbers"] = cost.work.numbers;
  out["memory"] = cost.work.memory;
  return out;
}

/// Returns which Gram matrices and passes the gradient of a method needs, (5)-(10), and the number
/// of its terms.
py::dict needs_of(const Method& method) {
  py::dict out;
  out["gram"] = method.needs_gram();
  out["cross_gram"] = method.needs_cross_gram();
  out["inner_part"] = method.has_inner_part();
  out["passes_again"] = method.passes_again();
  out["terms"] = method.terms();
  out["turns_frame"] = method.turns_frame();
  return out;
}

/// Returns a list with one dict for each stage, in the order of the stages.
py::list as_list(const Stages& stages) {
  py::list out;
  for (const Stage& stage : stages) {
    py::dict counts;
    counts["features"] = stage.features;
    counts["grams"] = stage.grams;
    counts["memory"] = stage.memory;
    counts["cached"] = stage.cached;
    out.append(counts);
  }
  return out;
}

/// Returns the cost of the route with the name `route`. Callers must have checked the name.
py::dict route_costs(const Method& method, const DataSizes& sizes, const std::string& route,
                     int threads) {
  const RouteCost cost = route == "dual"   ? dual_cost(method, sizes, threads)
                         : route == "gram" ? gram_cost(method, sizes, threads)
                                           : vector_cost(method, sizes, threads);
  py::dict out;
  out["setup"] = as_list(cost.setup);
  out["round"] = as_list(cost.round);
  out["records"] = as_list(cost.records);
  out["setup_reads"] = cost.setup_reads;
  out["reads"] = cost.reads;
  out["calls"] = cost.calls;
  out["tasks"] = cost.tasks;
  out["flops"] = cost.flops;
  out["numbers"] = cost.numbers;
  out["serial"] = cost.serial;
  out["busiest"] = cost.busiest;
  out["bytes"] = cost.bytes;
  out["released_bytes"] = cost.released_bytes;
  out["shared_bytes"] = cost.shared_bytes;
  out["opening_bytes"] = cost.opening_bytes;
  out["copies_of_B"] = cost.copies_of_B;
  out["copy_bytes"] = cost.copy_bytes;
  return out;
}

/// Returns the cost of generating rows, (12).
py::dict sampled_costs(const Method& method, const DataSizes& sizes, bool in_blocks, int threads,
                       bool with_xi) {
  const SampledCost cost = sampled_cost(method, sizes, in_blocks, threads, with_xi);
  py::dict out;
  out["vectors"] = cost.vectors;
  out["rows"] = cost.rows;
  out["truth"] = cost.truth;
  out["stay"] = cost.stay;
  out["numbers"] = cost.numbers;
  out["calls"] = cost.calls;
  return out;
}

/// Returns the cost of rounds at full size on a device by the route with the name `route`.
py::dict device_costs(const Device& device, const std::string& route, const Method& method,
                      const DataSizes& sizes, Index trials, bool lent, double free) {
  const DeviceCost cost =
      device_cost(device.module(), as_route(route), method, sizes, trials, lent, free);
  py::dict out;
  out["bytes"] = cost.bytes;
  out["flops"] = cost.flops;
  out["launches"] = cost.launches;
  out["host_bytes"] = cost.host_bytes;
  out["memory"] = cost.memory;
  out["features"] = cost.features;
  out["pinned"] = cost.pinned;
  out["keeps"] = cost.keeps;
  return out;
}

/// Binds the choice of a route on a device, as the name of the route.
void bind_device_route(py::module_& module) {
  module.def(
      "device_route",
      [](const Method& method, const DataSizes& sizes) {
        return device_route(method, sizes) == RouteKind::gram ? "gram" : "vector";
      },
      py::arg("method"), py::arg("sizes"));
}

}  // namespace

void bind_costs(py::module_& module) {
  module.def("method_needs", &needs_of, py::arg("method"));
  module.def("step_memory", &memory_names, py::arg("step"));
  module.def("route_costs", &route_costs, py::arg("method"), py::arg("sizes"), py::arg("route"),
             py::arg("threads"));
  bind_device_route(module);
  module.def("device_cost", &device_costs, py::arg("device"), py::arg("route"), py::arg("method"),
             py::arg("sizes"), py::arg("trials"), py::arg("lent"), py::arg("free"));
  module.def("sampled_cost", &sampled_costs, py::arg("method"), py::arg("sizes"),
             py::arg("in_blocks"), py::arg("threads"), py::arg("with_xi") = false);
  module.def(
      "coordinates_cost",
      [](double rows, Index k, Index columns) {
        return as_list(coordinates_cost(rows, k, columns));
      },
      py::arg("rows"), py::arg("k"), py::arg("columns"));
  module.def(
      "haar_cost",
      [](double d, Index columns, Index k) { return as_list(haar_cost(d, columns, k)); },
      py::arg("d"), py::arg("columns"), py::arg("k"));
  module.def("measured_bytes", &measured_bytes, py::arg("d"), py::arg("k"));
  module.def(
      "population_cost",
      [](const Method& method, const RoundSizes& sizes) {
        return as_dict(population_cost(method, sizes));
      },
      py::arg("method"), py::arg("sizes"));
  module.def(
      "collapsed_cost",
      [](const Method& method, const SampleLaw& samples, const RoundSizes& sizes) {
        return as_dict(collapsed_cost(method, samples, sizes));
      },
      py::arg("method"), py::arg("samples"), py::arg("sizes"));
  module.def(
      "spectral_cost",
      [](const Method& method, const RoundSizes& sizes) {
        return as_dict(spectral_cost(method, sizes));
      },
      py::arg("method"), py::arg("sizes"));
  module.def(
      "limit_cost",
      [](const Method& method, const RoundSizes& sizes, Index m_in, bool adds_rows) {
        return as_dict(limit_cost(method, sizes, m_in, adds_rows));
      },
      py::arg("method"), py::arg("sizes"), py::arg("m_in"), py::arg("adds_rows"));
  module.def(
      "algebra_counts",
      [](const Method& method, double losses) {
        const AlgebraCounts counts = algebra_counts(method, losses);
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

}  // namespace metaspan::bind
