// The cost of rounds at full size on a device, as amounts of work and memory. The estimates compute
// seconds from these amounts and from the properties of the device.
#pragma once

#include "metaspan/data/data_sizes.hpp"
#include "metaspan/engines/device_arrays.hpp"

namespace metaspan {

/// The cost of a round, and the device memory of a run.
struct DeviceCost {
  double bytes = 0;       // of device memory that the kernels read and write
  double flops = 0;       // of the kernels
  double launches = 0;    // of kernels
  double host_bytes = 0;  // of X that are copied from the host
  double memory = 0;      // of the device, except X
  double features = 0;    // device memory of all X, or of the buffers through which X passes
  double pinned = 0;      // pinned memory of the host, through which X is copied
  bool keeps = true;      // X is copied once, or is on the device already
};

/// Returns the cost of a run of `trials` trials by a route on a device with `free` bytes of memory.
/// `lent` says that X is in device memory already. Tasks are counted with their mean sizes.
DeviceCost device_cost(const cuda::Module& module, RouteKind kind, const Method& method,
                       const DataSizes& sizes, Index trials, bool lent, double free);

}  // namespace metaspan
