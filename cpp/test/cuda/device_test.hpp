// Helpers of the tests of kernels, the same on the emulator and on a card.
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

/// Whether the bytes that kernels move are counted, which they are by the emulator alone.
constexpr bool counts_bytes() {
#if defined(METASPAN_CUDA_EMULATED)
  return true;
#else
  return false;
#endif
}

/// Bytes that kernels read of the array by load_global since it was made.
template <class T>
std::uint64_t bytes_read([[maybe_unused]] const cuda::DeviceArray<T>& array) {
#if defined(METASPAN_CUDA_EMULATED)
  return emulator::bytes_read(array.data());
#else
  return 0;
#endif
}

/// Bytes that kernels wrote to the array by store_global since it was made.
template <class T>
std::uint64_t bytes_written([[maybe_unused]] const cuda::DeviceArray<T>& array) {
#if defined(METASPAN_CUDA_EMULATED)
  return emulator::bytes_written(array.data());
#else
  return 0;
#endif
}

/// Whether the threads of a kernel are threads of the system, which are slow: tests then run the
/// shapes that launch every kernel, and leave the others to fibres.
inline bool is_slow() {
#if defined(METASPAN_CUDA_EMULATED)
  return emulator::mode() == emulator::Mode::threads;
#else
  return false;
#endif
}

/// Runs tests and returns the number of failures, the exit status of a test: on a card if there is
/// one; on the emulator, where a test that leaves device memory allocated fails.
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

/// Runs tests of the emulator itself on threads of the system and then on fibres; on a card once.
/// Tests of kernels call run_tests(): without ThreadSanitizer, threads find nothing that fibres
/// miss.
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
