#include "metaspan/random/random.hpp"

#include <algorithm>
#include <cmath>

#include "normal.hpp"

namespace metaspan {

/// Derives the key of one stream in one round: two words of the Philox block of the counter (round,
/// trial, stream) under the seed. The key is a function of seed, trial, round and stream alone. No
/// generator has a state, so the random numbers of a round are the same whether the run began at
/// round 0 or was resumed just before this round.
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

/// Derives many keys in one batch of Philox blocks; each key equals the result of derive_key().
void derive_keys(std::uint64_t seed, Stream stream, Index count, const std::uint64_t* trials,
                 const std::uint64_t* rounds, std::uint64_t* first_words,
                 std::uint64_t* second_words) {
  const std::uint32_t key[2] = {static_cast<std::uint32_t>(seed),
                                static_cast<std::uint32_t>(seed >> 32)};
  std::uint32_t low[kernels::kTrials], high[kernels::kTrials], trial[kernels::kTrials];
  for (Index i = 0; i < count; ++i) {
    low[i] = static_cast<std::uint32_t>(rounds[i]);
    high[i] = static_cast<std::uint32_t>(rounds[i] >> 32);
    trial[i] = static_cast<std::uint32_t>(trials[i]);
  }
  kernels::philox_words(key, count, low, high, trial, static_cast<std::uint32_t>(stream),
                        first_words, second_words);
}

namespace {

/// Fills columns [first, first + count), `first` even, of a row whose numbers are drawn in pairs.
/// draw(first pair, pairs, even, odd) writes columns 2p to `even` and columns 2p + 1 to `odd`. The
/// kernels write even and odd columns to separate arrays because they work in whole registers. The
/// loop interleaves the two arrays, which are buffers on the stack for 128 pairs. Column j depends
/// on pair j / 2 alone, so a row may be drawn in pieces that begin at any even column.
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

/// Draws columns [first, first + columns) of one row of standard normals. The counter of a pair is
/// (pair, row, task, 0), so that every pair of entries of the features (12) can be made separately.
/// Any thread may make any piece of a row, and a later sweep may make the same piece again.
void normal_row(Key key, Index task, Index row, Index first, Index columns, double* out) {
  const auto r = static_cast<std::uint32_t>(row), t = static_cast<std::uint32_t>(task);
  fill_row(first, columns, out, [&](std::uint32_t pair, Index pairs, double* even, double* odd) {
    kernels::normal_pairs(key.words, pair, r, t, 0, pairs, even, odd);
  });
}

/// Adds normals to a part of a matrix, at most kSome at a time through a buffer on the stack, none
/// of which passes the end of a row of normals. The number of an entry decides its normal, so
/// threads may share the matrix in any pieces.
template <class Scalar>
void add_normals(Key key, double scale, Index first, Index count, Scalar* out) {
  constexpr Index kSome = 256, kColumns = Index{1} << 32;
  double normals[kSome];
  for (Index done = 0, some = 0; done < count; done += some) {
    const Index row = (first + done) / kColumns, column = (first + done) % kColumns;
    some = std::min({kSome, count - done, kColumns - column});
    normal_row(key, 0, row, column, some, normals);
    for (Index i = 0; i < some; ++i) out[done + i] += static_cast<Scalar>(scale * normals[i]);
  }
}

template void add_normals(Key, double, Index, Index, float*);
template void add_normals(Key, double, Index, Index, double*);

/// Draws uniforms in (0, 1) from the counters that normal_row() uses for normals. A distribution of
/// features takes either normals or uniforms from its key, never both, so the use of the same
/// counters makes no two numbers dependent.
void uniform_row(Key key, Index task, Index row, Index first, Index columns, double* out) {
  const auto r = static_cast<std::uint32_t>(row), t = static_cast<std::uint32_t>(task);
  fill_row(first, columns, out, [&](std::uint32_t pair, Index pairs, double* even, double* odd) {
    kernels::uniform_pairs(key.words, pair, r, t, 0, pairs, even, odd);
  });
}

/// Returns the next standard normal. The kernel draws kPairs pairs of normals at a time, which fill
/// whole registers. Normal i is one of the two normals of the counter (i / 2, task, part, 0),
/// whatever the value of kPairs.
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

/// Returns the next uniform as the midpoint of one of 2^52 equal intervals of (0, 1), so that the
/// uniform is never 0 or 1, and its logarithms and powers are finite. The last word of the counter
/// is 1 for uniforms and 0 for normals, so uniforms and normals never share a block.
double Sequence::uniform() {
  const std::uint32_t counter[4] = {next_uniform_++, task_, part_, 1};
  std::uint32_t block[4];
  kernels::philox(key_.words, counter, block);
  const std::uint64_t bits = (std::uint64_t{block[0]} << 20) | (block[1] >> 12);
  return static_cast<double>(bits) * 0x1p-52 + 0x1p-53;
}

/// Draws a chi-square by the rejection method of Marsaglia and Tsang (2000), as twice a gamma
/// variate of shape dof / 2. The method is exact for any number of degrees of freedom, and takes
/// the same time for 10^12 degrees of freedom as for ten, so the cost of (16) and (17) does not
/// depend on d.
double Sequence::chi_square(double dof) {
  // The method needs a shape above 1/3. A gamma variate of a shape below 1/2 is computed as a gamma
  // variate of this shape plus one, times a power of a uniform. This uniform is drawn after the
  // gamma variate.
  const double shape = dof / 2, least = 0.5;
  const double a_0 = (shape < least ? shape + 1 : shape) - 1.0 / 3;
  for (;;) {
    const double x = normal();
    const double candidate = kernels::chi_square_candidate(a_0, x, uniform());
    if (!(candidate > 0)) continue;
    return shape < least ? candidate * std::pow(uniform(), 1 / shape) : candidate;
  }
}

/// Draws the Bartlett factor L of (16), shape (p, min(p, f)), row by row. Row i has normals left of
/// the diagonal, and on the diagonal the root of a chi-square with f - i degrees of freedom, which
/// is drawn after the normals. If f < p, the rows from row f on consist of normals alone. The order
/// of the draws must not change, since a different order would give a different matrix for the same
/// seed.
Mat bartlett(Sequence& draws, Index p, double f) {
  const Index columns = f < static_cast<double>(p) ? static_cast<Index>(f) : p;
  Mat L = Mat::Zero(p, columns);
  for (Index i = 0; i < p; ++i) {
    for (Index j = 0; j < std::min(i, columns); ++j) L(i, j) = draws.normal();
    if (i < columns) L(i, i) = std::sqrt(draws.chi_square(f - static_cast<double>(i)));
  }
  return L;
}

/// Draws n_taken of n_all indices without replacement by the first n_taken swaps of a Fisher-Yates
/// shuffle, in O(n_taken) operations, with a separate Philox block for each swap. At the end the
/// swaps are undone in reverse order, which restores `order` to 0, 1, 2 and so on. The choice of a
/// round therefore does not depend on earlier rounds.
void choose(Key key, Index n_all, Index n_taken, Index* order, Index* swaps, Index* taken) {
  for (Index i = 0; i < n_taken; ++i) {
    const std::uint32_t counter[4] = {static_cast<std::uint32_t>(i), 0, 0, 0};
    std::uint32_t block[4];
    kernels::philox(key.words, counter, block);
    // 64 random bits select one of the n_all - i indices that are left, with a bias below n_all /
    // 2^64.
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
