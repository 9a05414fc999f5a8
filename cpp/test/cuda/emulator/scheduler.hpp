// The threads of emulated kernels. The threads of a block run as fibres, one after the other, or,
// for ThreadSanitizer, as threads of the system. Both wait at the same barriers.
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
  unsigned exchanges[32];  // so far, of each group of lanes, indexed by its lowest lane
  unsigned counts;         // calls of count_in_block so far
};

/// The running thread; null outside kernels.
extern thread_local Thread* current;

/// How the threads of a block run: by default as fibres, in a ThreadSanitizer build as threads.
enum class Mode { fibres, threads };
Mode mode();
void set_mode(Mode mode);
/// Returns whether this is a ThreadSanitizer build; ThreadSanitizer cannot follow these fibres.
bool is_watched_for_races();

/// The shape of a launch.
struct Shape {
  const char* name;
  const void* kernel;
  dim3 grid, block;
  std::size_t shared_bytes;
};

/// Queues a kernel. An impossible shape sets the error that cudaGetLastError returns.
void launch(const Shape& shape, std::function<void()> body, cudaStream_t stream);
/// Runs a kernel now.
void run_grid(const Shape& shape, const std::function<void()>& body);

void synchronise_block();
void synchronise_warp(unsigned mask);
/// Waits for all threads of the block; returns how many of them passed true.
int count_in_block(bool predicate);
/// Returns 8 bytes for each lane, for one exchange among the lanes of `mask`.
unsigned char* exchange_slots(unsigned mask);
/// Ends the test unless `lane` is in `mask`.
void require_lane(unsigned mask, int lane);
void* dynamic_shared();
void* static_shared(const void* key, std::size_t bytes);

void count_read(const void* p, std::size_t bytes);
void count_write(const void* p, std::size_t bytes);

/// Ends the process with a message, after a kernel did something undefined in CUDA.
[[noreturn]] void fail(const char* message);

// For tests.

/// Return the bytes of the allocation at `p` that kernels read by load_global, and wrote by
/// store_global, since it was allocated or the counters were cleared.
std::uint64_t bytes_read(const void* p);
std::uint64_t bytes_written(const void* p);
void clear_counters();
/// Return the bytes of device memory and of pinned memory that are allocated now.
std::size_t live_bytes();
std::size_t live_pinned_bytes();
/// Returns the number of streams and events that are open now.
int live_handles();
/// Sets the bytes of memory of the device.
void set_total_bytes(std::size_t bytes);
/// Sets the number of devices; -1 means that there is no driver. Without a device, functions that
/// need one fail.
void set_devices(int count);

}  // namespace metaspan::emulator
