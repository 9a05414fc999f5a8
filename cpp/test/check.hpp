// A minimal test library: check() prints and counts failures, and the main() of a test returns the
// number of failures.
#pragma once

#include <cstdio>

namespace metaspan::test {

/// Number of failed checks so far: the exit status of a test.
inline int failures = 0;

/// Prints `property` to stderr and counts a failure unless `condition` holds.
inline void check(bool condition, const char* property) {
  if (condition) return;
  ++failures;
  std::fprintf(stderr, "failed: %s\n", property);
}

}  // namespace metaspan::test
