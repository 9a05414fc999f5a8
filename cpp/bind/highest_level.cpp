// Prints the highest level that the processor runs; native where it runs none. For Isa.cmake.
#include <cstdio>

#include "levels.hpp"

int main() {
  const char* found = "native";
  for (const char* level : metaspan::bind::kLevels) {
    if (metaspan::bind::supports(level)) {
      found = level;
      break;
    }
  }
  return std::puts(found) < 0;
}
