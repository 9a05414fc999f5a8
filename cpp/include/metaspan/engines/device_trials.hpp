// The interface of runs whose trials advance together on a device.
#pragma once

#include <memory>
#include <vector>

#include "metaspan/engines/trial_panel.hpp"

namespace metaspan {

/// Advances the trials of a run on a device.
class DeviceTrials {
 public:
  virtual ~DeviceTrials() = default;

  /// Advances the live trials to round `end`, with the results of Trial::advance() up to rounding
  /// and the same random numbers. Threads of the host take the steps that the device does not
  /// take. Throws Cancelled and cuda::DeviceError; the trials then keep the rounds that were
  /// completed, and all memory of the device is released.
  virtual void advance(const std::vector<std::unique_ptr<Trial>>& trials, const Plan& plan,
                       Index end, const GivenHeads& heads, int threads, Cancel* cancel) = 0;
};

}  // namespace metaspan
