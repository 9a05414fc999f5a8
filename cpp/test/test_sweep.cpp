// Checks that sweeps give the same bits however their work is divided.
//
// The product X u for some rows may be computed in a loop of its own, or in one loop with X^T a for
// other rows. The number of threads and the sizes decide between these two ways. Rows that are
// multiplied together may be one run or several, which depends on where the tasks are in memory.
#include "sweep.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "check.hpp"
#include "combine.hpp"
#include "features.hpp"

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

/// Compares X^T C and X B of rows in several runs, the last of which has gaps between its rows,
/// with the products of the same rows side by side.
template <class Scalar>
void compare_runs(std::ptrdiff_t columns, std::ptrdiff_t k) {
  constexpr std::ptrdiff_t kCounts[] = {3, 1, 9, 6};
  constexpr std::ptrdiff_t kGap = 5, kRows = 19;
  const std::vector<Scalar> X = numbers<Scalar>(kRows * columns);
  const std::vector<double> C = numbers<double>(kRows * k), B_t = numbers<double>(k * columns);
  std::vector<Scalar> spread(static_cast<std::size_t>(kRows * (columns + kGap)));
  std::vector<kernels::Run<Scalar>> runs;
  std::vector<kernels::FeatureRows<Scalar>> blocks;
  std::vector<double> Z(static_cast<std::size_t>(kRows * k)), apart_Z = Z;
  std::ptrdiff_t first = 0;
  for (const std::ptrdiff_t count : kCounts) {
    const std::ptrdiff_t stride = count == 6 ? columns + kGap : columns;
    Scalar* begin = spread.data() + first * (columns + kGap);
    for (std::ptrdiff_t r = 0; r < count; ++r) {
      std::copy_n(X.data() + (first + r) * columns, columns, begin + r * stride);
    }
    runs.push_back({begin, count, stride});
    blocks.push_back({begin, count, stride, apart_Z.data() + first * k});
    first += count;
  }
  std::vector<double> sums = numbers<double>(k * columns), apart_sums = sums;
  const kernels::Run<Scalar> whole{X.data(), kRows, columns};
  kernels::sweep_combine_matrix(&whole, 1, columns, k, C.data(), sums.data(), columns);
  kernels::sweep_combine_matrix(runs.data(), static_cast<std::ptrdiff_t>(runs.size()), columns, k,
                                C.data(), apart_sums.data(), columns);
  check(same_bits(sums, apart_sums), "X^T C has the same bits for several runs");
  const kernels::FeatureRows<Scalar> block{X.data(), kRows, columns, Z.data()};
  std::vector<double> scratch(static_cast<std::size_t>(kernels::features_scratch(kRows, k)));
  kernels::sweep_features(&block, 1, columns, k, B_t.data(), columns, scratch.data());
  kernels::sweep_features(blocks.data(), static_cast<std::ptrdiff_t>(blocks.size()), columns, k,
                          B_t.data(), columns, scratch.data());
  check(same_bits(Z, apart_Z), "X B has the same bits for several runs");
}

void test_rows_in_runs_have_the_bits_of_rows_side_by_side() {
  for (const std::ptrdiff_t columns : {1, 7, 8, 33, 100, 600}) {
    for (const std::ptrdiff_t k : {1, 2, 6, 7, 10, 15}) {
      compare_runs<double>(columns, k);
      compare_runs<float>(columns, k);
    }
  }
}

/// Compares X u, X^T a and X^T b with plain loops, for rows with NaN behind their last columns, and
/// checks that X^T a has the same bits if the rows are added one at a time.
template <class Scalar>
void compare_with_loops(std::ptrdiff_t rows, std::ptrdiff_t columns) {
  constexpr std::ptrdiff_t kGap = 8;  // as many as the largest register has
  const std::ptrdiff_t stride = columns + kGap;
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  std::vector<Scalar> X(static_cast<std::size_t>(rows * stride), static_cast<Scalar>(kNan));
  const std::vector<Scalar> values = numbers<Scalar>(rows * columns);
  std::vector<double> u(static_cast<std::size_t>(stride), kNan), v = u, one_by_one = u, sum_b = u;
  const std::vector<double> a = numbers<double>(2 * rows), filled = numbers<double>(columns);
  const double* b = a.data() + rows;
  std::copy(filled.begin(), filled.end(), u.begin());
  std::fill_n(one_by_one.begin(), columns, 0.0);
  std::vector<double> r(static_cast<std::size_t>(rows)), plain_r = r;
  std::vector<double> plain_v(static_cast<std::size_t>(columns)), plain_b = plain_v;
  for (std::ptrdiff_t i = 0; i < rows; ++i) {
    std::copy_n(values.data() + i * columns, columns, X.data() + i * stride);
    for (std::ptrdiff_t c = 0; c < columns; ++c) {
      const auto x = static_cast<double>(values[static_cast<std::size_t>(i * columns + c)]);
      const auto at = static_cast<std::size_t>(c);
      plain_r[static_cast<std::size_t>(i)] += x * u[at];
      plain_v[at] += x * a[static_cast<std::size_t>(i)];
      plain_b[at] += x * b[i];
    }
    kernels::sweep_combine<true>(1, columns, X.data() + i * stride, stride, a.data() + i,
                                 one_by_one.data());
  }
  const auto close = [](const std::vector<double>& some, const std::vector<double>& all) {
    bool equal = true;
    for (std::size_t i = 0; i < all.size(); ++i) equal &= std::abs(some[i] - all[i]) <= 1e-13;
    for (std::size_t i = all.size(); i < some.size(); ++i) equal &= std::isnan(some[i]);
    return equal;
  };
  kernels::sweep_times(rows, columns, X.data(), stride, u.data(), r.data());
  check(close(r, plain_r), "X u is that of a plain loop");
  kernels::sweep_combine<false>(rows, columns, X.data(), stride, a.data(), v.data());
  check(close(v, plain_v), "X^T a is that of a plain loop, and nothing behind it is written");
  check(same_bits(v, one_by_one), "X^T a has the same bits if the rows are added one at a time");
  std::fill(v.begin(), v.end(), kNan);
  kernels::sweep_combine_two(rows, columns, X.data(), stride, a.data(), b, v.data(), sum_b.data());
  check(same_bits(v, one_by_one), "X^T a has the same bits beside X^T b");
  check(close(sum_b, plain_b), "X^T b is that of a plain loop, and nothing behind it is written");
}

void test_columns_that_do_not_fill_a_register() {
  for (std::ptrdiff_t columns = 1; columns <= 40; ++columns) {
    for (const std::ptrdiff_t rows : {1, 2, 3, 4, 7, 8, 13, 24}) {
      compare_with_loops<double>(rows, columns);
      compare_with_loops<float>(rows, columns);
    }
  }
}

}  // namespace
}  // namespace metaspan

int main() {
  metaspan::test_columns_that_do_not_fill_a_register();
  metaspan::test_rows_together_have_the_bits_of_rows_apart();
  metaspan::test_rows_in_runs_have_the_bits_of_rows_side_by_side();
  return metaspan::test::failures;
}
