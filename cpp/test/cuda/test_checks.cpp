// Tests the checks of arrays in device memory at sizes that are no multiples of a block or a piece.
#include "metaspan/cuda/checks.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "check.hpp"
#include "device_test.hpp"

namespace metaspan::cuda {
namespace {

using test::check;

/// Returns whether a matrix (rows, length), whose rows begin `stride` numbers apart, counts as
/// finite after the number at `place` is replaced by `value`.
template <class Scalar>
bool is_finite_with(std::ptrdiff_t rows, std::ptrdiff_t length, std::ptrdiff_t stride,
                    std::ptrdiff_t place, Scalar value) {
  std::vector<Scalar> numbers(static_cast<std::size_t>(rows * stride));
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const bool is_between_rows = static_cast<std::ptrdiff_t>(i) % stride >= length;
    numbers[i] =
        is_between_rows ? std::numeric_limits<Scalar>::quiet_NaN() : static_cast<Scalar>(i % 7) - 3;
  }
  numbers[static_cast<std::size_t>(place)] = value;
  const DeviceArray<Scalar> array = test::upload(numbers);
  return checks().are_finite({array.data(), rows, length, stride, sizeof(Scalar) == 8}, nullptr);
}

/// Tests a matrix with a NaN or an infinity in its first, its last, and an inner number.
template <class Scalar>
void test_numbers(std::ptrdiff_t rows, std::ptrdiff_t length, std::ptrdiff_t stride) {
  const Scalar infinity = std::numeric_limits<Scalar>::infinity();
  const Scalar largest = std::numeric_limits<Scalar>::max();
  check(is_finite_with<Scalar>(rows, length, stride, 0, largest), "numbers are finite");
  const std::ptrdiff_t last = (rows - 1) * stride + length - 1;
  for (const std::ptrdiff_t place : {std::ptrdiff_t{0}, rows / 2 * stride + length / 2, last}) {
    check(!is_finite_with<Scalar>(rows, length, stride, place, infinity), "an infinity is found");
    check(!is_finite_with<Scalar>(rows, length, stride, place, -infinity), "an infinity is found");
    check(!is_finite_with<Scalar>(rows, length, stride, place, std::nan("") * Scalar(1)),
          "a NaN is found");
  }
}

/// Tests that every number is read once.
void test_bytes() {
  const std::ptrdiff_t rows = 5, length = 4099;
  const DeviceArray<double> array =
      test::upload(std::vector<double>(static_cast<std::size_t>(rows * length), 1.0));
  check(checks().are_finite({array.data(), rows, length, length, true}, nullptr), "are finite");
  if (test::counts_bytes())
    check(test::bytes_read(array) == 8 * rows * length, "every number is read once");
}

}  // namespace
}  // namespace metaspan::cuda

int main() {
  using namespace metaspan;
  return test::on_each_mode([] {
    cuda::test_numbers<double>(4, 4100, 4103);  // two pieces a row, eight blocks
    cuda::test_numbers<float>(3, 4097, 4097);
    cuda::test_numbers<double>(1, 1, 1);
    cuda::test_numbers<float>(33, 3, 5);
    cuda::test_bytes();
    test::check(cuda::checks().are_finite({nullptr, 0, 5, 5, true}, nullptr), "no rows are finite");
  });
}
