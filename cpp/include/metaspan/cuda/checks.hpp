// Checks of arrays in device memory.
#pragma once

#include <cstddef>

#include "metaspan/cuda/runtime.hpp"

namespace metaspan::cuda {

/// Rows of numbers in device memory; each row is contiguous.
struct DeviceRows {
  const void* data;
  std::ptrdiff_t rows, length;
  std::ptrdiff_t stride;  // numbers from one row to the next
  bool is_double;         // float64, or float32
};

/// Checks of arrays that a user passes.
class Checks {
 public:
  virtual ~Checks() = default;
  /// Whether all numbers are finite; waits for the stream. Reads every number once.
  virtual bool are_finite(const DeviceRows& rows, Stream stream) = 0;
};

}  // namespace metaspan::cuda
