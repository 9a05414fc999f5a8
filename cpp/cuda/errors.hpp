// Turns errors of the CUDA runtime into exceptions.
#pragma once

#include <cuda_runtime.h>

#include <string>

#include "metaspan/cuda/runtime.hpp"

namespace metaspan::cuda {

/// Throws DeviceError unless `error` is success. `action` completes "the device could not ...".
inline void require_success(cudaError_t error, const char* action) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // the error must not be reported again by a later call
  throw DeviceError(std::string("the device could not ") + action + ": " +
                    cudaGetErrorString(error) + " (" + cudaGetErrorName(error) + ")");
}

/// Throws DeviceError if the last launch was impossible.
inline void require_launch(const char* kernel) {
  const cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess)
    require_success(error, (std::string("launch the kernel ") + kernel).c_str());
}

}  // namespace metaspan::cuda
