// The subset of CUDA that kernels use, on the CPU: launches, thread indices, shared memory,
// barriers, shuffles, atomics on integers, and intrinsics. A kernel runs when its stream is
// synchronised, and not before, so a result that is read without a wait is wrong in every run.
#pragma once

#include <atomic>
#include <cstring>
#include <functional>
#include <type_traits>
#include <utility>

#include "cuda_runtime.h"
#include "scheduler.hpp"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __restrict__ __restrict

#define threadIdx (::metaspan::emulator::current->thread_index)
#define blockIdx (::metaspan::emulator::current->block_index)
#define blockDim (::metaspan::emulator::current->block_dim)
#define gridDim (::metaspan::emulator::current->grid_dim)
constexpr int warpSize = 32;

#define METASPAN_LAUNCH(kernel, grid, block, shared, stream)                          \
  ::metaspan::emulator::make_launch(#kernel, kernel, dim3(grid), dim3(block), shared, \
                                    static_cast<cudaStream_t>(stream))

#define METASPAN_SHARED(type, name) \
  type* name = static_cast<type*>(::metaspan::emulator::dynamic_shared())

#define METASPAN_SHARED_ARRAY(type, name, count) \
  static constexpr char name##_key = 0;          \
  type* name =                                   \
      static_cast<type*>(::metaspan::emulator::static_shared(&name##_key, (count) * sizeof(type)))

namespace metaspan::emulator {

/// A launch without the arguments of its kernel, which the call operator takes.
template <class... Parameters>
struct Launch {
  const char* name;
  void (*kernel)(Parameters...);
  dim3 grid, block;
  std::size_t shared_bytes;
  cudaStream_t stream;

  /// Queues the kernel with copies of its arguments, as CUDA copies them.
  void operator()(std::decay_t<Parameters>... arguments) const {
    const auto entry = kernel;
    launch(
        {name, reinterpret_cast<const void*>(kernel), grid, block, shared_bytes},
        [=] { entry(arguments...); }, stream);
  }
};

template <class... Parameters>
Launch<Parameters...> make_launch(const char* name, void (*kernel)(Parameters...), dim3 grid,
                                  dim3 block, std::size_t shared_bytes, cudaStream_t stream) {
  return {name, kernel, grid, block, shared_bytes, stream};
}

/// Returns a value that the compiler cannot contract with later operations.
template <class T>
inline T rounded(T value) {
#if defined(__x86_64__)
  __asm__("" : "+x"(value));
#else
  __asm__("" : "+w"(value));
#endif
  return value;
}

/// Returns the value of `lane`, after all lanes of `mask` have passed theirs.
template <class T>
T exchange(unsigned mask, T value, int lane) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8, "a shuffle of CUDA takes these");
  unsigned char* slots = exchange_slots(mask);
  std::memcpy(slots + 8 * current->lane, &value, sizeof(T));
  synchronise_warp(mask);
  require_lane(mask, lane);
  std::memcpy(&value, slots + 8 * lane, sizeof(T));
  return value;
}

}  // namespace metaspan::emulator

namespace metaspan::cuda {

/// Reads and writes of arrays in device memory whose bytes a floor counts: counted for each
/// allocation. An address outside every allocation ends the test.
template <class T>
inline T load_global(const T* p) {
  emulator::count_read(p, sizeof(T));
  return *p;
}
template <class T>
inline void store_global(T* p, T value) {
  emulator::count_write(p, sizeof(T));
  *p = value;
}

}  // namespace metaspan::cuda

inline void __syncthreads() { metaspan::emulator::synchronise_block(); }
inline void __syncwarp(unsigned mask = 0xffffffffu) { metaspan::emulator::synchronise_warp(mask); }
inline void __threadfence() {}
inline void __threadfence_block() {}

template <class T>
inline T __shfl_sync(unsigned mask, T value, int lane, int width = 32) {
  const int own = metaspan::emulator::current->lane;
  return metaspan::emulator::exchange(mask, value, own / width * width + lane % width);
}
template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32) {
  const int own = metaspan::emulator::current->lane, other = own ^ lanes;
  return metaspan::emulator::exchange(mask, value, other / width > own / width ? own : other);
}
template <class T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned lanes, int width = 32) {
  const int own = metaspan::emulator::current->lane, other = own + static_cast<int>(lanes);
  return metaspan::emulator::exchange(mask, value, other / width == own / width ? other : own);
}
template <class T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned lanes, int width = 32) {
  const int own = metaspan::emulator::current->lane, other = own - static_cast<int>(lanes);
  return metaspan::emulator::exchange(mask, value, other >= own / width * width ? other : own);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  unsigned result = 0;
  unsigned char* slots = metaspan::emulator::exchange_slots(mask);
  const std::uint64_t bit = predicate != 0;
  std::memcpy(slots + 8 * metaspan::emulator::current->lane, &bit, 8);
  metaspan::emulator::synchronise_warp(mask);
  for (int lane = 0; lane < 32; ++lane) {
    if ((mask >> lane & 1u) != 0 && slots[8 * lane] != 0) result |= 1u << lane;
  }
  return result;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) {
  return __ballot_sync(mask, predicate) == mask;
}
inline int __syncthreads_count(int predicate) {
  return metaspan::emulator::count_in_block(predicate != 0);
}
inline int __syncthreads_or(int predicate) { return __syncthreads_count(predicate) != 0; }
inline int __syncthreads_and(int predicate) { return __syncthreads_count(predicate == 0) == 0; }

// Atomics on integers alone: the sum of floating-point numbers would depend on their order.
template <class T, class Operation>
inline T metaspan_atomic(T* p, Operation operation) {
  static_assert(std::is_integral_v<T>, "results must not depend on the order of threads");
  T old = __atomic_load_n(p, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(p, &old, operation(old), false, __ATOMIC_RELAXED,
                                      __ATOMIC_RELAXED)) {
  }
  return old;
}
template <class T>
inline T atomicAdd(T* p, std::common_type_t<T> value) {
  return metaspan_atomic(p, [=](T old) { return static_cast<T>(old + value); });
}
template <class T>
inline T atomicOr(T* p, std::common_type_t<T> value) {
  return metaspan_atomic(p, [=](T old) { return static_cast<T>(old | value); });
}
template <class T>
inline T atomicMin(T* p, std::common_type_t<T> value) {
  return metaspan_atomic(p, [=](T old) { return old < value ? old : static_cast<T>(value); });
}
template <class T>
inline T atomicMax(T* p, std::common_type_t<T> value) {
  return metaspan_atomic(p, [=](T old) { return old > value ? old : static_cast<T>(value); });
}
template <class T>
inline T atomicExch(T* p, std::common_type_t<T> value) {
  return metaspan_atomic(p, [=](T) { return static_cast<T>(value); });
}

template <class T>
inline T __ldg(const T* p) {
  return *p;
}
inline double __dmul_rn(double a, double b) { return metaspan::emulator::rounded(a * b); }
inline double __dadd_rn(double a, double b) { return metaspan::emulator::rounded(a + b); }
inline double __dsub_rn(double a, double b) { return metaspan::emulator::rounded(a - b); }
inline double __ddiv_rn(double a, double b) { return metaspan::emulator::rounded(a / b); }
inline double __dsqrt_rn(double a) { return std::sqrt(a); }
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }
inline float __fmul_rn(float a, float b) { return metaspan::emulator::rounded(a * b); }
inline float __fadd_rn(float a, float b) { return metaspan::emulator::rounded(a + b); }
inline double rsqrt(double a) { return 1 / std::sqrt(a); }
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>((static_cast<std::uint64_t>(a) * b) >> 32);
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned long long>((static_cast<unsigned __int128>(a) * b) >> 64);
}
inline long long __double_as_longlong(double a) {
  long long bits;
  std::memcpy(&bits, &a, 8);
  return bits;
}
inline double __longlong_as_double(long long bits) {
  double a;
  std::memcpy(&a, &bits, 8);
  return a;
}
inline int __popc(unsigned a) { return __builtin_popcount(a); }
inline int __ffs(int a) { return __builtin_ffs(a); }
inline int __clz(int a) { return a == 0 ? 32 : __builtin_clz(static_cast<unsigned>(a)); }
