// What a device module offers to the core. The module is a shared object of its own, which Python
// loads on request and passes to the core, so a core without it has no trace of CUDA.
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
