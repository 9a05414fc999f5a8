// The module _cpu: the instruction-set levels for which the core was built, and which of them this
// processor supports. Compiled for the baseline, so that it loads on every processor.
#include <pybind11/pybind11.h>

#include <iterator>
#include <string>

#include "levels.hpp"

PYBIND11_MODULE(_cpu, module) {
  const char* const levels[] = {METASPAN_LEVELS};
  pybind11::tuple names(std::size(levels));
  for (std::size_t i = 0; i < std::size(levels); ++i) names[i] = levels[i];
  module.attr("LEVELS") = names;
  module.def(
      "supports", [](const std::string& level) { return metaspan::bind::supports(level.c_str()); },
      pybind11::arg("level"));
}
