// Prints the name of the highest instruction-set level that the processor supports, or `native` if
// the processor supports no level. Isa.cmake runs this program.
#include <cstdio>

#include "levels.hpp"

int main() {
  const char* highest = "native";
  for (const char* level : metaspan::bind::kLevels) {
    if (metaspan::bind::supports(level)) {
      highest = level;
      break;
    }
  }
  return std::puts(highest) < 0;
}
