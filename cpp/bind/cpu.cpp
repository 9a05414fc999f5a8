// For which instruction-set levels the core was built, and which of them this processor runs.
// Compiled for the baseline, so that it can be asked anywhere.
#include <pybind11/pybind11.h>

#include <iterator>
#include <string>

namespace {

bool supports(const std::string& level) {
#if defined(__x86_64__) && defined(__GNUC__)
  __builtin_cpu_init();
  const bool v2 = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("ssse3") &&
                  __builtin_cpu_supports("popcnt");
  const bool v3 = v2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                  __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  if (level == "x86-64-v2") return v2;
  if (level == "x86-64-v3") return v3;
  if (level == "x86-64-v4") return v4;
#endif
  return level == "baseline" || level == "native";  // native: known where it was built alone
}

}  // namespace

PYBIND11_MODULE(_cpu, module) {
  const char* const levels[] = {METASPAN_LEVELS};
  pybind11::tuple names(std::size(levels));
  for (std::size_t i = 0; i < std::size(levels); ++i) names[i] = levels[i];
  module.attr("LEVELS") = names;
  module.def("supports", &supports, pybind11::arg("level"));
}
