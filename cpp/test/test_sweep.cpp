// The product X u for some rows may be computed in a loop of its own, or in one loop with X^T a for
// other rows. The number of threads and the sizes decide between these two ways. The test checks
// that one loop and two loops give the same bits.
#include "sweep.hpp"

#include <cstring>
#include <vector>

#include "check.hpp"

namespace metaspan {
namespace {

using test::check;

/// Returns `count` numbers most of which have many nonzero bits in the mantissa.
template <class Scalar>
std::vector<Scalar> numbers(std::ptrdiff_t count) {
  std::vector<Scalar> out(static_cast<std::size_t>(count));
  unsigned state = 1;
  for (Scalar& x : out) {
    state = state * 1664525 + 1013904223;
    x = static_cast<Scalar>(static_cast<int>(state >> 8) % 2001 - 1000) / static_cast<Scalar>(900);
  }
  return out;
}

bool same_bits(const std::vector<double>& a, const std::vector<double>& b) {
  return std::memcmp(a.data(), b.data(), sizeof(double) * a.size()) == 0;
}

/// Compares X^T a of `rows` rows and X u of `others` rows, computed in one loop, with the same
/// products computed in two loops.
template <bool Add, class Scalar>
void compare(std::ptrdiff_t rows, std::ptrdiff_t others, std::ptrdiff_t columns) {
  const std::vector<Scalar> X = numbers<Scalar>((rows + others) * columns);
  const std::vector<double> a = numbers<double>(rows), u = numbers<double>(columns);
  const Scalar* Y = X.data() + rows * columns;
  std::vector<double> v = numbers<double>(columns), both_v = v;
  std::vector<double> r(static_cast<std::size_t>(others)), both_r = r;
  kernels::sweep_combine<Add>(rows, columns, X.data(), columns, a.data(), v.data());
  kernels::sweep_times(others, columns, Y, columns, u.data(), r.data());
  kernels::sweep_combine_and_times<Add>(columns, columns, rows, X.data(), a.data(), both_v.data(),
                                        others, Y, u.data(), both_r.data());
  check(same_bits(v, both_v), "X^T a has the same bits beside X u");
  check(same_bits(r, both_r), "X u has the same bits beside X^T a");
}

void test_rows_together_have_the_bits_of_rows_apart() {
  for (std::ptrdiff_t columns = 1; columns <= 40; ++columns) {
    for (const std::ptrdiff_t rows : {1, 8, 13, 24}) {
      for (const std::ptrdiff_t others : {1, 8, 13, 24}) {
        compare<false, double>(rows, others, columns);
        compare<true, double>(rows, others, columns);
        compare<false, float>(rows, others, columns);
        compare<true, float>(rows, others, columns);
      }
    }
  }
}

}  // namespace
}  // namespace metaspan

int main() {
  metaspan::test_rows_together_have_the_bits_of_rows_apart();
  return metaspan::test::failures;
}
