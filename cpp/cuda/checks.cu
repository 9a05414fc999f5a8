// Checks of arrays in device memory: one pass that reads every number once.
#include "metaspan/cuda/checks.hpp"

#include <algorithm>

#include "errors.hpp"
#include "launch.hpp"
#include "parts.hpp"

namespace metaspan::cuda {
namespace {

constexpr int kThreads = 256;
constexpr std::ptrdiff_t kPiece = 4096;  // numbers of a row that a block tests at a time
constexpr std::ptrdiff_t kMostBlocks = 2048;

/// Adds to `count` the number of threads that read a NaN or an infinity. Consecutive threads read
/// consecutive numbers. x - x is 0 for finite x only.
template <class Scalar>
__global__ void __launch_bounds__(kThreads)
    count_not_finite(const Scalar* first, std::ptrdiff_t rows, std::ptrdiff_t length,
                     std::ptrdiff_t stride, int* count) {
  const std::ptrdiff_t pieces = (length + kPiece - 1) / kPiece;
  bool is_finite = true;
  for (std::ptrdiff_t item = blockIdx.x; item < rows * pieces; item += gridDim.x) {
    const Scalar* row = first + item / pieces * stride;
    const std::ptrdiff_t begin = item % pieces * kPiece;
    const std::ptrdiff_t end = begin + kPiece < length ? begin + kPiece : length;
    for (std::ptrdiff_t i = begin + threadIdx.x; i < end; i += kThreads) {
      const Scalar x = load_global(row + i);
      is_finite = is_finite && x - x == Scalar(0);
    }
  }
  if (!is_finite) atomicAdd(count, 1);
}

class ChecksOnDevice final : public Checks {
 public:
  bool are_finite(const DeviceRows& rows, Stream stream) override {
    if (rows.rows == 0 || rows.length == 0) return true;
    const DeviceArray<int> count(runtime(), 1);
    runtime().clear(count.data(), sizeof(int), stream);
    if (rows.is_double) {
      launch<double>(rows, count.data(), stream);
    } else {
      launch<float>(rows, count.data(), stream);
    }
    int found = 0;
    runtime().copy(&found, count.data(), sizeof(int), Copy::to_host, stream);
    runtime().synchronise(stream);
    return found == 0;
  }

 private:
  template <class Scalar>
  static void launch(const DeviceRows& rows, int* count, Stream stream) {
    const std::ptrdiff_t items = rows.rows * ((rows.length + kPiece - 1) / kPiece);
    const auto blocks = static_cast<unsigned>(std::min(items, kMostBlocks));
    METASPAN_LAUNCH((count_not_finite<Scalar>), blocks, kThreads, 0, stream)
    (static_cast<const Scalar*>(rows.data), rows.rows, rows.length, rows.stride, count);
    require_launch("count_not_finite");
  }
};

}  // namespace

Checks& checks() {
  static Checks& instance = *new ChecksOnDevice;
  return instance;
}

}  // namespace metaspan::cuda
