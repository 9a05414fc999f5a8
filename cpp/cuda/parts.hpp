// The parts of the device module. Every part is made on first use and never destroyed, since the
// driver may be gone when static objects are.
#pragma once

#include "metaspan/cuda/module.hpp"

namespace metaspan::cuda {

/// Memory and streams of the first device of this process.
Runtime& runtime();

/// The sweeps over samples.
Sweeps& sweeps();

/// Random numbers in device memory.
Random& random_numbers();

/// Rounds of many trials on population losses.
Population& population();
/// Checks of the user's arrays.
Checks& checks();

/// The task algebra on panels of tasks.
Algebra& algebra();

/// Rounds of the collapsed engine.
Collapsed& collapsed();

/// All parts, for the core.
const Module& module();

}  // namespace metaspan::cuda
