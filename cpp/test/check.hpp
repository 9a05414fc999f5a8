// The little that the C++ tests need: say what failed, count it, exit with the count.
#pragma once

#include <cstdio>

namespace metaspan::test {

inline int failures = 0;

inline void check(bool condition, const char* what) {
  if (condition) return;
  ++failures;
  std::fprintf(stderr, "failed: %s\n", what);
}

}  // namespace metaspan::test
