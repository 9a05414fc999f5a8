// What a round takes, as the core counts it.
#include "metaspan/algebra/task_algebra.hpp"
#include "metaspan/engines/collapsed.hpp"
#include "metaspan/engines/infinite_tasks.hpp"
#include "metaspan/engines/population.hpp"
#include "metaspan/engines/spectral.hpp"
#include "run.hpp"

namespace pybind11::detail {

template <>
struct type_caster<metaspan::RoundSizes> {
  PYBIND11_TYPE_CASTER(metaspan::RoundSizes, const_name("RoundSizes"));
  bool load(handle source, bool /*convert*/) {
    using metaspan::Index;
    value = {source.attr("n").cast<Index>(),          source.attr("rows").cast<Index>(),
             source.attr("k").cast<Index>(),          source.attr("k_star").cast<Index>(),
             source.attr("draws_heads").cast<bool>(), source.attr("chooses").cast<bool>(),
             source.attr("losses").cast<double>()};
    return true;
  }
};

}  // namespace pybind11::detail

namespace metaspan::bind {
namespace {

py::dict as_dict(const RoundCost& cost) {
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

}  // namespace

void bind_costs(py::module_& module) {
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
      "infinite_tasks_cost",
      [](const RoundSizes& sizes) { return as_dict(infinite_tasks_cost(sizes)); },
      py::arg("sizes"));
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
