// The trials of the collapsed engine on a device: the gradients of many trials are computed
// together, while each trial keeps its state, its sums off the span and its steps on the host.
#pragma once

#include "metaspan/cuda/module.hpp"
#include "metaspan/engines/device_trials.hpp"

namespace metaspan {

/// Limits of the work that a device is given at a time; they change no result. 0: no limit but the
/// memory of the device.
struct CollapsedLimits {
  Index columns = 0;  // tasks of a part of a round
  int blocks = 0;     // of a launch
};

/// Makes the device form of a run of engines of make_collapsed(), which all have the same method,
/// law of samples and sizes. `module` must outlive the run.
std::unique_ptr<DeviceTrials> make_device_collapsed(const cuda::Module& module,
                                                    const CollapsedLimits& limits = {});

}  // namespace metaspan
