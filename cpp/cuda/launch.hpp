// Macros and functions of device code that nvcc and, against the emulator of the tests, a C++
// compiler compile unchanged.
#pragma once

#include <cuda_runtime.h>

#if defined(__CUDACC__)

/// Launches a kernel: METASPAN_LAUNCH((kernel<double, 8>), grid, block, shared_bytes,
/// stream)(args).
#define METASPAN_LAUNCH(kernel, grid, block, shared, stream) \
  kernel<<<(grid), (block), (shared), static_cast<cudaStream_t>(stream)>>>

/// Dynamic shared memory of a kernel, as `type name[]`. Every thread of the block must use it, or
/// METASPAN_SHARED_ARRAY, instead of CUDA's `__shared__`, which the emulator lacks: a static
/// variable would be shared by blocks that run at once.
#define METASPAN_SHARED(type, name)                             \
  extern __shared__ __align__(16) unsigned char shared_bytes[]; \
  type* name = reinterpret_cast<type*>(shared_bytes)

/// Shared memory of a size that is known when the kernel is compiled: `name[count]`.
#define METASPAN_SHARED_ARRAY(type, name, count) __shared__ type name[count]

namespace metaspan::cuda {

/// Reads and writes of arrays in device memory whose bytes a floor counts; the emulator counts
/// them.
template <class T>
__device__ inline T load_global(const T* p) {
  return *p;
}
template <class T>
__device__ inline void store_global(T* p, T value) {
  *p = value;
}

}  // namespace metaspan::cuda

#else
#include "emulator.hpp"  // defines the same names
#endif
