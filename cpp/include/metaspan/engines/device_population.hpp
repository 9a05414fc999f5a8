// The trials of the population engine on a device.
#pragma once

#include "metaspan/cuda/module.hpp"
#include "metaspan/engines/device_trials.hpp"

namespace metaspan {

/// Makes the device form of a run of population engines, which all have this shape and law of
/// heads. If steps are plain and the frame does not turn, the device runs whole rounds, and records
/// the distance if no other record is wanted. Otherwise the device computes the gradients, and the
/// engines take the steps. `module` must outlive the run.
std::unique_ptr<DeviceTrials> make_device_population(const cuda::Module& module,
                                                     const Method& method, const Shape& shape,
                                                     Index n, double noise);

}  // namespace metaspan
