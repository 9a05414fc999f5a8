// Tests whether this processor supports an instruction-set level. The loader and the build share
// this code, which uses only baseline instructions.
#pragma once

#include <cstring>

namespace metaspan::bind {

/// Levels of x86-64, highest first.
inline constexpr const char* kLevels[] = {"x86-64-v4", "x86-64-v3", "x86-64-v2"};

/// Whether this processor can run code that was compiled for `level`.
inline bool supports(const char* level) {
  const auto is = [level](const char* name) { return std::strcmp(level, name) == 0; };
#if defined(__x86_64__) && defined(__GNUC__)
  __builtin_cpu_init();
  const bool v2 = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("ssse3") &&
                  __builtin_cpu_supports("popcnt");
  const bool v3 = v2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                  __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  if (is("x86-64-v2")) return v2;
  if (is("x86-64-v3")) return v3;
  if (is("x86-64-v4")) return v4;
#endif
  return is("baseline") || is("native");  // native is assumed to run where it was built
}

}  // namespace metaspan::bind
