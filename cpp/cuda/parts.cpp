// The parts of the device module.
#include "parts.hpp"

namespace metaspan::cuda {

const Module& module() {
  static const Module parts = {
      METASPAN_VERSION,

      &runtime(),

      &checks(),

      &algebra(),

      &sweeps(),

      &population(),

      &collapsed(),

      &random_numbers(),
  };
  return parts;
}

}  // namespace metaspan::cuda
