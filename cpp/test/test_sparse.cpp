// Compares products of sparse rows with loops over the same rows in dense form. The file also tests
// that the bits of these products do not depend on how rows and columns are split into calls.
#include <cmath>
#include <random>
#include <utility>
#include <vector>

#include "check.hpp"
#include "sparse.hpp"

namespace metaspan {
namespace {

using test::check;

/// Random sparse rows (m, d), and the same rows in dense form.
template <class Value>
struct Rows {
  std::ptrdiff_t m, d;
  std::vector<std::int64_t> starts{3};  // three unused entries come first
  std::vector<std::int32_t> columns{0, 0, 0};
  std::vector<Value> values{9, 9, 9};
  std::vector<double> dense;

  /// Makes rows in which every `empty`-th row and every third column have no entries.
  Rows(std::ptrdiff_t rows, std::ptrdiff_t features, double density, std::ptrdiff_t empty)
      : m(rows), d(features), dense(static_cast<std::size_t>(rows * features)) {
    std::mt19937 random(7);
    std::uniform_real_distribution<double> uniform(-1, 1);
    for (std::ptrdiff_t i = 0; i < m; ++i) {
      for (std::ptrdiff_t j = 0; j < d && i % empty != empty - 1; ++j) {
        const double value = uniform(random);
        if (j % 3 == 2 || std::abs(uniform(random)) > density) continue;
        columns.push_back(static_cast<std::int32_t>(j));
        values.push_back(static_cast<Value>(value));
        dense[static_cast<std::size_t>(i * d + j)] = static_cast<double>(values.back());
      }
      starts.push_back(static_cast<std::int64_t>(columns.size()));
    }
  }
};

/// Returns a vector of irregular numbers.
std::vector<double> numbers(std::ptrdiff_t count) {
  std::vector<double> sines;
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    sines.push_back(std::sin(1.0 + static_cast<double>(i)));
  }
  return sines;
}

bool near(const std::vector<double>& a, const std::vector<double>& b) {
  bool is_near = a.size() == b.size();
  for (std::size_t i = 0; i < a.size() && is_near; ++i) is_near = std::abs(a[i] - b[i]) < 1e-12;
  return is_near;
}

template <class Value>
void test_products(const Rows<Value>& X) {
  const std::vector<double> u = numbers(X.d), s = numbers(X.m);
  const auto size = static_cast<std::size_t>(X.m), width = static_cast<std::size_t>(X.d);
  std::vector<double> Xu(size), Xs(width), sums(size, 5.0), v(width);
  for (std::size_t i = 0; i < size; ++i) {
    for (std::size_t j = 0; j < width; ++j) {
      Xu[i] += X.dense[i * width + j] * u[j];
      Xs[j] += X.dense[i * width + j] * s[i];
    }
  }
  kernels::sparse_times(X.m, X.starts.data(), X.columns.data(), X.values.data(), u.data(),
                        sums.data());
  kernels::sparse_combine(X.m, X.starts.data(), X.columns.data(), X.values.data(), 0, X.d, s.data(),
                          v.data());
  check(near(sums, Xu), "X u agrees with the dense rows");
  check(near(v, Xs), "X^T s agrees with the dense rows");

  for (const std::ptrdiff_t cut : {X.m / 3, X.m}) {
    std::vector<double> parts(size), bands(width);
    const std::ptrdiff_t edge = X.d / 2;
    for (const auto& [first, end] : {std::pair{std::ptrdiff_t{0}, cut}, std::pair{cut, X.m}}) {
      kernels::sparse_times(end - first, X.starts.data() + first, X.columns.data(), X.values.data(),
                            u.data(), parts.data() + first);
      kernels::sparse_combine(end - first, X.starts.data() + first, X.columns.data(),
                              X.values.data(), 0, edge, s.data() + first, bands.data());
      kernels::sparse_combine(end - first, X.starts.data() + first, X.columns.data(),
                              X.values.data(), edge, X.d, s.data() + first, bands.data() + edge);
    }
    check(parts == sums, "the bits of X u do not depend on where rows are split");
    check(bands == v, "the bits of X^T s do not depend on where rows and columns are split");
  }
}

/// The entries of a band of columns [first, end), in the order of the rows.
template <class Value>
struct Band {
  std::vector<std::int32_t> rows;
  std::vector<std::uint16_t> columns;
  std::vector<Value> values;

  Band(const Rows<Value>& X, std::ptrdiff_t first, std::ptrdiff_t end) {
    for (std::size_t i = 0; i < static_cast<std::size_t>(X.m); ++i) {
      for (auto p = static_cast<std::size_t>(X.starts[i]);
           p < static_cast<std::size_t>(X.starts[i + 1]); ++p) {
        if (X.columns[p] < first || X.columns[p] >= end) continue;
        rows.push_back(static_cast<std::int32_t>(i));
        columns.push_back(static_cast<std::uint16_t>(X.columns[p] - first));
        values.push_back(X.values[p]);
      }
    }
  }
  std::ptrdiff_t count() const { return static_cast<std::ptrdiff_t>(rows.size()); }
};

/// Tests that X^T s and X^T C, computed from two bands of columns, have the same bits as when
/// computed from the rows. C = s c^T is given as a matrix, and as the vectors s and c.
template <class Value>
void test_bands(const Rows<Value>& X, std::ptrdiff_t width) {
  const std::vector<double> s = numbers(X.m), c = numbers(width);
  std::vector<double> C;
  for (const double factor : s) {
    for (const double number : c) C.push_back(factor * number);
  }
  const auto d = static_cast<std::size_t>(X.d);
  std::vector<double> v(d), by_bands(d), sum(C.size() / s.size() * d), matrix(sum), term(sum);
  kernels::sparse_combine(X.m, X.starts.data(), X.columns.data(), X.values.data(), 0, X.d, s.data(),
                          v.data());
  kernels::sparse_combine(X.m, X.starts.data(), X.columns.data(), X.values.data(), 0, X.d, C.data(),
                          sum.data(), width);
  for (const std::ptrdiff_t first : {std::ptrdiff_t{0}, X.d / 3}) {
    const Band<Value> band(X, first, first == 0 ? X.d / 3 : X.d);
    const auto* rows = band.rows.data();
    const auto* columns = band.columns.data();
    const Value* values = band.values.data();
    kernels::banded_combine(band.count(), rows, columns, values, s.data(), by_bands.data() + first);
    kernels::banded_combine(band.count(), rows, columns, values, nullptr, C.data(),
                            matrix.data() + first * width, width);
    kernels::banded_combine(band.count(), rows, columns, values, s.data(), c.data(),
                            term.data() + first * width, width);
  }
  check(by_bands == v, "X^T s by bands has the bits of the rows");
  check(matrix == sum, "X^T C by bands has the bits of the rows");
  check(term == sum, "X^T s c^T by bands has the bits of a matrix C");
}

/// Tests that X B for a far B agrees with X B for a near B up to rounding. Also tests that X B for
/// a far B has the same bits wherever the rows are split and, if k is at least the width of a
/// register, by bands.
template <class Value>
void test_far(const Rows<Value>& X, std::ptrdiff_t k) {
  const std::ptrdiff_t width = (k + kernels::kLane - 1) / kernels::kLane * kernels::kLane;
  const std::vector<double> B = numbers(X.d * k);
  std::vector<double> near(static_cast<std::size_t>(X.m * width)), far(near);
  kernels::sparse_times<kernels::Reach::near>(X.m, X.starts.data(), X.columns.data(),
                                              X.values.data(), B.data(), k, near.data(), width);
  const std::ptrdiff_t cut = X.m / 2;
  kernels::sparse_times<kernels::Reach::far>(cut, X.starts.data(), X.columns.data(),
                                             X.values.data(), B.data(), k, far.data(), width);
  kernels::sparse_times<kernels::Reach::far>(X.m - cut, X.starts.data() + cut, X.columns.data(),
                                             X.values.data(), B.data(), k, far.data() + cut * width,
                                             width);
  bool is_near = true;
  for (std::size_t i = 0; i < far.size(); ++i) is_near &= std::abs(far[i] - near[i]) < 1e-12;
  check(is_near, "X B for a far B agrees with that for a near one");
  std::vector<double> beyond(far.size());
  kernels::sparse_times<kernels::Reach::beyond>(X.m, X.starts.data(), X.columns.data(),
                                                X.values.data(), B.data(), k, beyond.data(), width);
  check(beyond == near, "the bits of X B do not depend on prefetching");
  if (k < kernels::kLane) return;
  std::vector<double> by_bands(far.size()), whole(far.size());
  for (const std::ptrdiff_t first : {std::ptrdiff_t{0}, X.d / 3}) {
    const Band<Value> band(X, first, first == 0 ? X.d / 3 : X.d);
    kernels::banded_times(band.count(), band.rows.data(), band.columns.data(), band.values.data(),
                          B.data() + first * k, k, by_bands.data(), width);
  }
  kernels::sparse_times<kernels::Reach::far>(X.m, X.starts.data(), X.columns.data(),
                                             X.values.data(), B.data(), k, whole.data(), width);
  check(whole == far, "the bits of X B do not depend on where rows are split");
  check(by_bands == far, "X B by bands has the bits of the rows");
}

template <class Value>
void test_all() {
  for (const std::ptrdiff_t width : {1, 3, 9, 11}) {
    test_bands(Rows<Value>(37, 300, 0.1, 4), width * kernels::kLane);
    test_bands(Rows<Value>(4, 10, 0.5, 1), width * kernels::kLane);
  }
  // Tests all widths from one strip of registers to several strips, with every remainder.
  for (std::ptrdiff_t k = 1; k <= 20 * kernels::kLane; ++k) test_far(Rows<Value>(9, 40, 0.3, 4), k);
  test_far(Rows<Value>(37, 300, 0.3, 4), 75);
  test_products(Rows<Value>(1, 1, 1, 5));
  test_products(Rows<Value>(1, 40, 0.5, 5));
  test_products(Rows<Value>(37, 300, 0.1, 4));
  test_products(Rows<Value>(9, 2000, 0.9, 3));
  test_products(Rows<Value>(4, 10, 0.5, 1));  // no entries at all
}

}  // namespace
}  // namespace metaspan

int main() {
  metaspan::test_all<double>();
  metaspan::test_all<float>();
  return metaspan::test::failures;
}
