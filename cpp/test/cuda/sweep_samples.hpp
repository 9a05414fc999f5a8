// Samples of small tasks for the tests of the sweeps, on the host and on the device, and slow
// products with them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "device_sweeps.hpp"
#include "device_test.hpp"
#include "metaspan/random/features.hpp"

namespace metaspan::test {

using Index = std::ptrdiff_t;
using Numbers = std::vector<double>;

/// Returns `count` numbers in (-1, 1), rounded to float so that both types hold the same numbers.
inline Numbers make_numbers(Index count, unsigned seed) {
  Numbers numbers;
  unsigned state = seed * 2654435761u + 1;
  for (Index i = 0; i < count; ++i) {
    state = state * 1664525u + 1013904223u;
    numbers.push_back(static_cast<float>(static_cast<int>(state >> 8) % 20001 - 10000) / 10007.0f);
  }
  return numbers;
}

/// An array on the device of a type that is chosen at run time.
class RealArray {
 public:
  RealArray(const Numbers& numbers, cuda::Real type) : type_(type) {
    if (type == cuda::Real::float64) {
      doubles_ = upload(numbers);
    } else {
      floats_ = upload(std::vector<float>(numbers.begin(), numbers.end()));
    }
  }
  void* data() const {
    return type_ == cuda::Real::float64 ? static_cast<void*>(doubles_.data()) : floats_.data();
  }
  Numbers download() const {
    if (type_ == cuda::Real::float64) return test::download(doubles_);
    const std::vector<float> numbers = test::download(floats_);
    return Numbers(numbers.begin(), numbers.end());
  }
  std::uint64_t read() const {
    return type_ == cuda::Real::float64 ? bytes_read(doubles_) : bytes_read(floats_);
  }
  std::uint64_t written() const {
    return type_ == cuda::Real::float64 ? bytes_written(doubles_) : bytes_written(floats_);
  }
  cuda::Real type() const { return type_; }

 private:
  cuda::Real type_;
  cuda::DeviceArray<double> doubles_;
  cuda::DeviceArray<float> floats_;
};

/// The inner and the outer sets of n tasks. The stacked rows are those of all inner sets and then
/// those of all outer sets. Rows are d + 3 numbers apart in memory.
struct TestSets {
  Index d;
  std::vector<int> m;  // of the inner sets, then of the outer sets
  int n;
  Numbers X;  // (rows, d + 3)
  RealArray on_device;
  std::vector<cuda::SampleSet> sets;
  cuda::DeviceArray<cuda::SampleSet> device_sets;
  bool is_made = false;
  cuda::DeviceArray<double> roots, radii;  // of generated rows

  TestSets(Index columns, const std::vector<int>& in, const std::vector<int>& out, cuda::Real type)
      : d(columns),
        m(in),
        n(static_cast<int>(in.size())),
        X(make_numbers((total(in) + total(out)) * (columns + 3), 7)),
        on_device(X, type) {
    m.insert(m.end(), out.begin(), out.end());
    const Index size = type == cuda::Real::float64 ? 8 : 4;
    Index row = 0;
    for (std::size_t i = 0; i < m.size(); row += m[i], ++i) {
      const int task = static_cast<int>(i) % n;
      sets.push_back({static_cast<const char*>(on_device.data()) + row * stride() * size, stride(),
                      row, m[i], task, static_cast<std::uint32_t>(task + 5),
                      static_cast<int>(i) / n});
    }
    device_sets = upload(sets);
  }

  /// Replaces X by rows that the laws generate: normals for inner sets, uniforms for outer sets,
  /// times the roots of a covariance and times radii. The CPU makes the same rows.
  void make_rows() {
    is_made = true;
    Numbers of_columns(static_cast<std::size_t>(d)), of_rows(static_cast<std::size_t>(rows()));
    for (std::size_t j = 0; j < of_columns.size(); ++j) of_columns[j] = 0.5 + 0.01 * j;
    for (std::size_t i = 0; i < of_rows.size(); ++i) of_rows[i] = 1.5 - 0.02 * i;
    roots = upload(of_columns);
    radii = upload(of_rows);
    for (const cuda::SampleSet& set : sets) {
      const cuda::RowLaw law = law_of(set.law);
      const RowMaker maker{{static_cast<FeatureLaw::Kind>(law.kind), 0},
                           {{law.key[0], law.key[1]}},
                           {},
                           d,
                           of_columns.data()};
      for (int i = 0; i < set.m; ++i) {
        double* const out = X.data() + (set.first_row + i) * stride();
        if (on_device.type() == cuda::Real::float64) {
          maker.piece(set.number, i, 0, d, out);
        } else {
          std::vector<float> row(static_cast<std::size_t>(d));
          maker.piece(set.number, i, 0, d, row.data());
          std::copy(row.begin(), row.end(), out);
        }
        for (Index j = 0; j < d; ++j) {
          out[j] *= of_rows[static_cast<std::size_t>(set.first_row + i)];
        }
      }
    }
  }
  cuda::RowLaw law_of(int number) const {
    const auto kind = number == 0 ? FeatureLaw::Kind::gaussian : FeatureLaw::Kind::uniform;
    return {{11u + static_cast<std::uint32_t>(number), 12u},
            static_cast<int>(kind),
            roots.data(),
            radii.data()};
  }

  static Index total(const std::vector<int>& counts) {
    Index sum = 0;
    for (const int count : counts) sum += count;
    return sum;
  }
  Index stride() const { return d + 3; }
  Index rows() const { return total(m); }
  bool has_outer() const { return static_cast<int>(m.size()) > n; }

  /// Describes the sets [first, first + count).
  cuda::SampleBlock block(int first, int count) const {
    cuda::SampleBlock part{};
    part.sets = device_sets.data() + first;
    part.n = count;
    part.type = on_device.type();
    part.is_made = is_made;
    part.laws[0] = law_of(0);
    part.laws[1] = law_of(1);
    for (int i = first; i < first + count; ++i) {
      part.most = std::max(part.most, m[static_cast<std::size_t>(i)]);
      part.rows += m[static_cast<std::size_t>(i)];
    }
    return part;
  }
  cuda::SampleBlock inner() const { return block(0, n); }
  cuda::SampleBlock outer() const { return has_outer() ? block(n, n) : cuda::SampleBlock{}; }
  cuda::SampleBlock all() const { return block(0, static_cast<int>(m.size())); }

  const double* row(Index stacked) const { return X.data() + stacked * stride(); }
};

/// Returns the inner product of two vectors whose elements are `step_a` and `step_b` apart.
inline double product(Index count, const double* a, Index step_a, const double* b, Index step_b) {
  long double sum = 0;
  for (Index i = 0; i < count; ++i) sum += static_cast<long double>(a[i * step_a]) * b[i * step_b];
  return static_cast<double>(sum);
}

/// Returns whether two arrays agree to 1e-12, relative to the largest number, or to the precision
/// of `type`.
inline bool agree(const Numbers& a, const Numbers& b, cuda::Real type = cuda::Real::float64) {
  double most = 0, difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    most = std::max(most, std::abs(b[i]));
    difference = std::max(difference, std::abs(a[i] - b[i]));
    if (!(std::abs(a[i]) < 1e300)) return false;
  }
  return a.size() == b.size() && difference <= (type == cuda::Real::float64 ? 1e-12 : 1e-6) * most;
}

inline bool same_bits(const Numbers& a, const Numbers& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), sizeof(double) * a.size()) == 0;
}

}  // namespace metaspan::test
