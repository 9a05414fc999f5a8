// Helpers of the tests of kernels, for the emulator and for a card.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "check.hpp"
#include "parts.hpp"

#if defined(METASPAN_CUDA_EMULATED)
#include "scheduler.hpp"
#endif

namespace metaspan::test {

/// Copies numbers to the device.
template <class T>
cuda::DeviceArray<T> upload(const std::vector<T>& numbers) {
  cuda::DeviceArray<T> array(cuda::runtime(), numbers.size());
  cuda::runtime().copy(array.data(), numbers.data(), numbers.size() * sizeof(T),
                       cuda::Copy::to_device, nullptr);
  cuda::runtime().synchronise(nullptr);
  return array;
}

/// Waits for the default stream and copies numbers to the host.
template <class T>
std::vector<T> download(const cuda::DeviceArray<T>& array) {
  std::vector<T> numbers(array.size());
  cuda::runtime().copy(numbers.data(), array.data(), numbers.size() * sizeof(T),
                       cuda::Copy::to_host, nullptr);
  cuda::runtime().synchronise(nullptr);
  return numbers;
}

/// Returns whether the bytes that kernels move are counted; only the emulator counts them.
constexpr bool counts_bytes() {
#if defined(METASPAN_CUDA_EMULATED)
  return true;
#else
  return false;
#endif
}

/// Returns the bytes of the array that kernels have read by load_global since it was allocated.
template <class T>
std::uint64_t bytes_read([[maybe_unused]] const cuda::DeviceArray<T>& array) {
#if defined(METASPAN_CUDA_EMULATED)
  return emulator::bytes_read(array.data());
#else
  return 0;
#endif
}

/// Returns the bytes of the array that kernels have written by store_global since it was allocated.
template <class T>
std::uint64_t bytes_written([[maybe_unused]] const cuda::DeviceArray<T>& array) {
#if defined(METASPAN_CUDA_EMULATED)
  return emulator::bytes_written(array.data());
#else
  return 0;
#endif
}

/// Returns whether the threads of a kernel are threads of the system, which are slow. Tests then
/// run only as many shapes as launch every kernel; fibres run all shapes.
inline bool is_slow() {
#if defined(METASPAN_CUDA_EMULATED)
  return emulator::mode() == emulator::Mode::threads;
#else
  return false;
#endif
}

/// Runs tests, and returns the exit status of the program: the number of failures, or 77 without a
/// card. On the emulator, a test fails if it does not release device memory.
template <class Tests>
int run_tests(Tests tests) {
  try {
    cuda::runtime().info();
  } catch (const cuda::DeviceError& error) {
    std::printf("skipped: %s\n", error.what());
    return 77;
  }
  tests();
#if defined(METASPAN_CUDA_EMULATED)
  check(emulator::live_bytes() == 0, "device memory is given back");
  check(emulator::live_pinned_bytes() == 0, "pinned memory is given back");
  check(emulator::live_handles() == 0, "streams and events are closed");
#endif
  return failures;
}

/// Runs tests of the emulator itself with threads of the system and then with fibres; on a card,
/// once. Tests of kernels call run_tests(), since without ThreadSanitizer threads find nothing that
/// fibres miss.
template <class Tests>
int on_each_mode(Tests tests) {
#if defined(METASPAN_CUDA_EMULATED)
  emulator::set_mode(emulator::Mode::threads);
  run_tests(tests);
  if (!emulator::is_watched_for_races()) {
    emulator::set_mode(emulator::Mode::fibres);
    run_tests(tests);
  }
  return failures;
#else
  return run_tests(tests);
#endif
}

}  // namespace metaspan::test
