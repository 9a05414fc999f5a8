// Products of sparse rows with vectors, against loops over the same rows in dense form. Their bits
// must not depend on how rows and columns are split into calls.
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

  /// Every `empty`-th row and every third column have no entries.
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

/// A vector of irregular numbers.
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

template <class Value>
void test_all() {
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
