// Tests the emulator itself by small kernels: indices, barriers, shuffles, shared memory, order of
// streams, counters and errors. On a card the same kernels test CUDA.
#include <vector>

#include "check.hpp"
#include "device_test.hpp"
#include "launch.hpp"

namespace metaspan::cuda {
namespace {

using test::check;

/// Sums rows of X (n, d) in the order of a tree within a warp, and of the warps within a block; a
/// warp takes pieces of 32 columns.
__global__ void __launch_bounds__(96) sum_rows(int n, int d, const double* X, double* sums) {
  METASPAN_SHARED(double, of_warps);
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int warps = static_cast<int>(blockDim.x) / 32;
  for (int i = static_cast<int>(blockIdx.x); i < n; i += static_cast<int>(gridDim.x)) {
    double sum = 0;
    for (int j = static_cast<int>(threadIdx.x); j < d; j += static_cast<int>(blockDim.x)) {
      sum += load_global(X + i * d + j);
    }
    for (int other = 16; other > 0; other /= 2) sum += __shfl_down_sync(0xffffffffu, sum, other);
    if (lane == 0) of_warps[warp] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
      for (int w = 1; w < warps; ++w) sum += of_warps[w];
      store_global(sums + i, sum);
    }
    __syncthreads();
  }
}

/// Reverses each chunk of 96 numbers through shared memory, and counts the negative ones.
__global__ void __launch_bounds__(96) reverse_chunks(double* numbers, int* negative) {
  METASPAN_SHARED_ARRAY(double, chunk, 96);
  double* own = numbers + blockIdx.x * 96;
  chunk[threadIdx.x] = own[threadIdx.x];
  const int count = __syncthreads_count(chunk[threadIdx.x] < 0);
  own[threadIdx.x] = chunk[95 - threadIdx.x];
  if (threadIdx.x == 0) atomicAdd(negative, count);
}

/// Threads of the first warp return early; the others still meet.
__global__ void leave_early(int* met) {
  if (threadIdx.x < 32) return;
  __syncthreads();
  const unsigned ballot = __ballot_sync(0xffffffffu, threadIdx.x % 2 == 0);
  if (threadIdx.x % 32 == 5) atomicAdd(met, __popc(ballot));
}

std::vector<double> numbers(int count) {
  std::vector<double> values;
  for (int i = 0; i < count; ++i) values.push_back((i * 37 % 101) / 8.0 - 5);
  return values;
}

void test_rows_are_summed(int grid, int d) {
  const int n = 5;
  const std::vector<double> X = numbers(n * d);
  const DeviceArray<double> on_device = test::upload(X);
  const DeviceArray<double> sums(runtime(), n);
  METASPAN_LAUNCH(sum_rows, grid, 96, 3 * sizeof(double), nullptr)(n, d, on_device.data(),
                                                                   sums.data());
  const std::vector<double> results = test::download(sums);
  for (int i = 0; i < n; ++i) {
    double sum = 0;
    for (int j = 0; j < d; ++j) sum += X[static_cast<std::size_t>(i * d + j)];
    check(results[static_cast<std::size_t>(i)] == sum, "the sum of a row");  // exact numbers
  }
  if (test::counts_bytes()) {
    check(test::bytes_read(on_device) == X.size() * sizeof(double), "each number is read once");
    check(test::bytes_written(sums) == n * sizeof(double), "each sum is written once");
  }
}

void test_chunks_are_reversed() {
  const std::vector<double> before = numbers(3 * 96);
  const DeviceArray<double> chunks = test::upload(before);
  const DeviceArray<int> negative = test::upload(std::vector<int>{0});
  METASPAN_LAUNCH(reverse_chunks, 3, 96, 0, nullptr)(chunks.data(), negative.data());
  const std::vector<double> after = test::download(chunks);
  int count = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    check(after[i] == before[i / 96 * 96 + 95 - i % 96], "a chunk is reversed");
    count += before[i] < 0;
  }
  check(test::download(negative)[0] == count, "negative numbers are counted");
}

void test_threads_may_leave_before_a_barrier() {
  const DeviceArray<int> met = test::upload(std::vector<int>{0});
  METASPAN_LAUNCH(leave_early, 3, 128, 0, nullptr)(met.data());
  check(test::download(met)[0] == 3 * 3 * 16, "the other warps meet");
}

void test_impossible_launches_are_errors() {
  const DeviceArray<int> met = test::upload(std::vector<int>{0});
  METASPAN_LAUNCH(leave_early, 1, 2048, 0, nullptr)(met.data());
  check(cudaGetLastError() != cudaSuccess, "a block of 2048 threads");
  METASPAN_LAUNCH(leave_early, 1, 64, 60000, nullptr)(met.data());
  check(cudaGetLastError() != cudaSuccess, "more than 48 KiB of shared memory without opting in");
  check(cudaFuncSetAttribute(leave_early, cudaFuncAttributeMaxDynamicSharedMemorySize, 60000) ==
            cudaSuccess,
        "opting in");
  METASPAN_LAUNCH(leave_early, 1, 64, 60000, nullptr)(met.data());
  check(cudaGetLastError() == cudaSuccess, "60000 bytes after opting in");
  check(test::download(met)[0] == 16, "the launch that is possible");
  cudaFuncSetAttribute(leave_early, cudaFuncAttributeMaxDynamicSharedMemorySize, 0);
}

void test_streams_are_ordered_by_events() {
  const std::vector<double> before = numbers(3 * 96);
  const DeviceArray<double> chunks(runtime(), before.size());
  const DeviceArray<int> negative = test::upload(std::vector<int>{0});
  const Stream first = runtime().open_stream(), second = runtime().open_stream();
  const std::size_t bytes = before.size() * sizeof(double);
  runtime().copy(chunks.data(), before.data(), bytes, Copy::to_device, first);
  const Event copied = runtime().record(first);
  runtime().wait(second, copied);
  METASPAN_LAUNCH(reverse_chunks, 3, 96, 0, second)(chunks.data(), negative.data());
  std::vector<double> after(before.size());
  runtime().copy(after.data(), chunks.data(), bytes, Copy::to_host, second);
  runtime().synchronise(second);
  check(after[0] == before[95], "the kernel waits for the copy");
  while (!runtime().is_done(copied)) {
  }
  runtime().drop(copied);
  runtime().close_stream(first);
  runtime().close_stream(second);
}

}  // namespace
}  // namespace metaspan::cuda

int main() {
  using namespace metaspan::cuda;
  return metaspan::test::on_each_mode([] {
    for (const int d : {1, 31, 96, 1000}) {
      test_rows_are_summed(3, d);
      test_rows_are_summed(2, d);
    }
    test_chunks_are_reversed();
    test_threads_may_leave_before_a_barrier();
    test_impossible_launches_are_errors();
    test_streams_are_ordered_by_events();
  });
}
