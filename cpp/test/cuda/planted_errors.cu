// Kernels with one planted error each, which must be reported. ThreadSanitizer reports a missing
// barrier within a block and a race between blocks. AddressSanitizer reports an access outside an
// allocation and an access of the host to device memory. The emulator reports a barrier that some
// threads miss. A missing wait between streams gives a wrong result. The argument names the error.
#include <cstdio>
#include <cstring>

#include "device_test.hpp"
#include "launch.hpp"

namespace metaspan::cuda {
namespace {

/// Each thread reads the number that its neighbour wrote to shared memory.
__global__ void pass_to_neighbour(double* numbers, bool has_barrier) {
  METASPAN_SHARED(double, shared);
  const unsigned t = threadIdx.x, n = blockDim.x;
  shared[t] = numbers[blockIdx.x * n + t];
  if (has_barrier) __syncthreads();
  numbers[blockIdx.x * n + t] = shared[(t + 1) % n];
}

/// Adds one to a number of each block, or of all blocks.
__global__ void add_one(double* numbers, bool is_shared) {
  if (threadIdx.x == 0) numbers[is_shared ? 0 : blockIdx.x] += 1;
}

/// Odd lanes wait for their warp, and even lanes for the block.
__global__ void wait_apart(bool is_apart) {
  if (is_apart && threadIdx.x % 2 == 1) __syncwarp();
  __syncthreads();
}

__global__ void write_at(double* numbers, int place) { numbers[place] = 1; }

/// Copies numbers on one stream and uses them on another, with or without a wait for the copy.
bool copies_are_waited_for(bool waits) {
  const std::vector<double> before(96, 2.0);
  const DeviceArray<double> numbers(runtime(), before.size());
  const Stream first = runtime().open_stream(), second = runtime().open_stream();
  const std::size_t bytes = before.size() * sizeof(double);
  runtime().copy(numbers.data(), before.data(), bytes, Copy::to_device, first);
  if (waits) {
    const Event copied = runtime().record(first);
    runtime().wait(second, copied);
    runtime().drop(copied);
  }
  METASPAN_LAUNCH(add_one, 3, 96, 0, second)(numbers.data(), false);
  std::vector<double> after(before.size());
  runtime().copy(after.data(), numbers.data(), bytes, Copy::to_host, second);
  runtime().synchronise(second);
  runtime().close_stream(first);
  runtime().close_stream(second);
  return after[0] == 3 && after[95] == 2;
}

int run(const char* planted) {
  const auto is = [&](const char* name) { return std::strcmp(planted, name) == 0; };
  const DeviceArray<double> numbers = test::upload(std::vector<double>(3 * 96, 1.0));
  METASPAN_LAUNCH(pass_to_neighbour, 3, 96, 96 * sizeof(double), nullptr)
  (numbers.data(), !is("missing-barrier"));
  METASPAN_LAUNCH(add_one, 3, 96, 0, nullptr)(numbers.data(), is("blocks"));
  METASPAN_LAUNCH(wait_apart, 3, 96, 0, nullptr)(is("divergent-barrier"));
  METASPAN_LAUNCH(write_at, 1, 1, 0, nullptr)(numbers.data(), is("outside") ? 3 * 96 : 5);
  runtime().synchronise(nullptr);
  if (is("host")) std::printf("%g\n", numbers.data()[0]);
  const bool is_right = copies_are_waited_for(!is("missing-wait"));
  std::puts(is_right ? "no error" : "a wait is missing");
  return 0;
}

}  // namespace
}  // namespace metaspan::cuda

int main(int count, char** arguments) { return metaspan::cuda::run(count > 1 ? arguments[1] : ""); }
