// The interface of a device module to the core. The module is a separate extension, which Python
// loads on request and passes to the core, so the core itself does not depend on CUDA.
#pragma once

#include "metaspan/cuda/runtime.hpp"

namespace metaspan::cuda {

class Checks;      // checks of the user's arrays, cuda/checks.hpp
class Algebra;     // the task algebra on panels of tasks, cuda/algebra.hpp
class Sweeps;      // X B, X^T C, Gram matrices, cuda/sweeps.hpp
class Population;  // rounds of many trials on population losses, cuda/population.hpp
class Collapsed;   // rounds of many trials on samples in law, cuda/collapsed.hpp
class Random;      // random numbers in device memory, cuda/random.hpp

/// The parts of a device module. All of them work on the device of `runtime`.
struct Module {
  const char* version;  // of metaspan; a core uses a module of its own version only
  Runtime* runtime;
  Checks* checks;
  Algebra* algebra;
  Sweeps* sweeps;
  Population* population;
  Collapsed* collapsed;
  Random* random;
};

}  // namespace metaspan::cuda
