#include "metaspan/random/random.hpp"

#include <algorithm>
#include <cmath>

#include "normal.hpp"

namespace metaspan {

Key derive_key(std::uint64_t seed, std::uint64_t trial, std::uint64_t round, Stream stream) {
  const std::uint32_t key[2] = {static_cast<std::uint32_t>(seed),
                                static_cast<std::uint32_t>(seed >> 32)};
  const std::uint32_t counter[4] = {
      static_cast<std::uint32_t>(round), static_cast<std::uint32_t>(round >> 32),
      static_cast<std::uint32_t>(trial), static_cast<std::uint32_t>(stream)};
  std::uint32_t block[4];
  kernels::philox(key, counter, block);
  return Key{{block[0], block[1]}};
}

namespace {

/// A row of pairs: draw(first pair, pairs, even columns, odd columns).
template <class Draw>
void fill_row(Index first, Index count, double* out, Draw&& draw) {
  constexpr Index kPairs = 128;
  double even[kPairs], odd[kPairs];
  for (Index column = 0; column < count; column += 2 * kPairs) {
    const Index columns = std::min(2 * kPairs, count - column);
    const Index pairs = ceil_div(columns, 2);
    draw(static_cast<std::uint32_t>((first + column) / 2), pairs, even, odd);
    for (Index p = 0; p < columns / 2; ++p) {
      out[column + 2 * p] = even[p];
      out[column + 2 * p + 1] = odd[p];
    }
    if (columns % 2 != 0) out[column + columns - 1] = even[pairs - 1];
  }
}

}  // namespace

void normal_row(Key key, Index task, Index row, Index first, Index count, double* out) {
  const auto r = static_cast<std::uint32_t>(row), t = static_cast<std::uint32_t>(task);
  fill_row(first, count, out, [&](std::uint32_t pair, Index pairs, double* even, double* odd) {
    kernels::normal_pairs(key.words, pair, r, t, 0, pairs, even, odd);
  });
}

void uniform_row(Key key, Index task, Index row, Index first, Index count, double* out) {
  const auto r = static_cast<std::uint32_t>(row), t = static_cast<std::uint32_t>(task);
  fill_row(first, count, out, [&](std::uint32_t pair, Index pairs, double* even, double* odd) {
    kernels::uniform_pairs(key.words, pair, r, t, 0, pairs, even, odd);
  });
}

double Sequence::normal() {
  if (taken_ == 2 * kPairs) {
    double even[kPairs], odd[kPairs];
    kernels::normal_pairs(key_.words, next_pair_, task_, part_, 0, kPairs, even, odd);
    for (int p = 0; p < kPairs; ++p) {
      normals_[2 * p] = even[p];
      normals_[2 * p + 1] = odd[p];
    }
    next_pair_ += kPairs;
    taken_ = 0;
  }
  return normals_[taken_++];
}

double Sequence::uniform() {
  const std::uint32_t counter[4] = {next_uniform_++, task_, part_, 1};
  std::uint32_t block[4];
  kernels::philox(key_.words, counter, block);
  const std::uint64_t bits = (std::uint64_t{block[0]} << 20) | (block[1] >> 12);
  return static_cast<double>(bits) * 0x1p-52 + 0x1p-53;
}

double Sequence::chi_square(double dof) {
  // A shape a below 1/2 is reached from a + 1, the normal and uniform of which come first.
  const double shape = dof / 2, least = 0.5;
  const double a_0 = (shape < least ? shape + 1 : shape) - 1.0 / 3;
  for (;;) {
    const double x = normal();
    const double found = kernels::chi_square_candidate(a_0, x, uniform());
    if (found > 0) return shape < least ? found * std::pow(uniform(), 1 / shape) : found;
  }
}

Mat bartlett(Sequence& draws, Index p, double f) {
  const Index columns = f < static_cast<double>(p) ? static_cast<Index>(f) : p;
  Mat L = Mat::Zero(p, columns);
  for (Index i = 0; i < p; ++i) {
    for (Index j = 0; j < std::min(i, columns); ++j) L(i, j) = draws.normal();
    if (i < columns) L(i, i) = std::sqrt(draws.chi_square(f - static_cast<double>(i)));
  }
  return L;
}

void choose(Key key, Index n_all, Index n_taken, Index* order, Index* swaps, Index* taken) {
  for (Index i = 0; i < n_taken; ++i) {
    const std::uint32_t counter[4] = {static_cast<std::uint32_t>(i), 0, 0, 0};
    std::uint32_t block[4];
    kernels::philox(key.words, counter, block);
    // 64 random bits scaled to the n_all - i that are left: the bias is below n_all / 2^64.
    const std::uint64_t bits = (std::uint64_t{block[0]} << 32) | block[1];
    const auto left = static_cast<std::uint64_t>(n_all - i);
    const auto offset = static_cast<Index>((static_cast<__uint128_t>(bits) * left) >> 64);
    swaps[i] = i + offset;
    std::swap(order[i], order[swaps[i]]);
    taken[i] = order[i];
  }
  for (Index i = n_taken - 1; i >= 0; --i) std::swap(order[i], order[swaps[i]]);
}

}  // namespace metaspan
