// The threads of emulated kernels. A block runs on fibres, one after the other, or on threads of
// the system, for ThreadSanitizer; both wait at the same barriers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "cuda_runtime.h"

namespace metaspan::emulator {

struct Block;

/// One thread of a kernel.
struct Thread {
  uint3 thread_index, block_index;
  dim3 block_dim, grid_dim;
  int lane, warp;
  Block* block;
  unsigned exchanges[32];  // so far, of each group of lanes, named by its lowest lane
  unsigned counts;         // calls of count_in_block so far
};

/// The thread that runs at the moment; null outside kernels.
extern thread_local Thread* current;

/// How the threads of a block run: fibres unless ThreadSanitizer watches the build.
enum class Mode { fibres, threads };
Mode mode();
void set_mode(Mode mode);
/// Whether ThreadSanitizer watches the build. It does not know fibres.
bool is_watched_for_races();

/// The shape of a launch.
struct Shape {
  const char* name;
  const void* kernel;
  dim3 grid, block;
  std::size_t shared_bytes;
};

/// Queues a kernel; an impossible shape becomes the error of cudaGetLastError.
void launch(const Shape& shape, std::function<void()> body, cudaStream_t stream);
/// Runs a kernel now.
void run_grid(const Shape& shape, const std::function<void()>& body);

void synchronise_block();
void synchronise_warp(unsigned mask);
/// Waits for all threads of the block; returns how many of them passed true.
int count_in_block(bool predicate);
/// Places of 8 bytes, one a lane, for one exchange among the lanes of `mask`.
unsigned char* exchange_slots(unsigned mask);
/// Ends the test unless `lane` is in `mask`.
void require_lane(unsigned mask, int lane);
void* dynamic_shared();
void* static_shared(const void* key, std::size_t bytes);

void count_read(const void* p, std::size_t bytes);
void count_write(const void* p, std::size_t bytes);

/// Ends the process with a message: a kernel did what CUDA leaves undefined.
[[noreturn]] void fail(const char* message);

// For tests.

/// Bytes that kernels read and wrote, through load_global and store_global, of the allocation that
/// holds `p` since it was made or its counters were cleared.
std::uint64_t bytes_read(const void* p);
std::uint64_t bytes_written(const void* p);
void clear_counters();
/// Bytes of device memory, and of pinned memory, that are allocated now.
std::size_t live_bytes();
std::size_t live_pinned_bytes();
/// Streams and events that are open now.
int live_handles();
/// Sets the memory of the device.
void set_total_bytes(std::size_t bytes);
/// Sets the number of devices: with 0, or with -1 for no driver, the functions that need one fail.
void set_devices(int count);

}  // namespace metaspan::emulator
