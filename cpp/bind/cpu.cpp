// Whether this processor runs what _core was built for. Compiled for the baseline, so that it can
// be asked anywhere.
#include <pybind11/pybind11.h>

#include <string>

namespace {

bool supports(const std::string& level) {
#if defined(__x86_64__) && defined(__GNUC__)
  __builtin_cpu_init();
  if (level == "x86-64-v2")
    return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
  if (level == "x86-64-v3") {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  }
  if (level == "x86-64-v4") {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
  }
#endif
  return level.empty() || level == "native";  // where no level was chosen there is nothing to lack
}

}  // namespace

PYBIND11_MODULE(_cpu, module) {
  module.attr("BUILT_FOR") = METASPAN_BUILT_FOR;
  module.def("supports", &supports, pybind11::arg("level"));
}
