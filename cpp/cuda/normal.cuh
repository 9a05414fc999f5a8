// Random numbers on a device, with the bits of the CPU: each function computes, in one thread, the
// numbers of the counters that its CPU counterpart uses.
#pragma once

#include <cstddef>
#include <cstdint>

#include "exact.cuh"
#include "metaspan/random/key.hpp"

namespace metaspan::cuda {

/// The two numbers of one Philox block.
struct Pair {
  double even, odd;
};

/// Computes one Philox block.
__device__ inline void philox(Key key, std::uint32_t c0, std::uint32_t c1, std::uint32_t c2,
                              std::uint32_t c3,
                              std::uint32_t x[4]) {  // (4,) out
  x[0] = c0;
  x[1] = c1;
  x[2] = c2;
  x[3] = c3;
  kernels::philox_block(key.words[0], key.words[1], x);
}

/// Returns the two standard normals of a counter, as kernels::normal_pairs() does.
__device__ inline Pair normal_pair(Key key, std::uint32_t c0, std::uint32_t c1, std::uint32_t c2,
                                   std::uint32_t c3) {
  std::uint32_t x[4];
  philox(key, c0, c1, c2, c3, x);
  Pair pair{};
  kernels::normals_of_block<Exact>(x, pair.even, pair.odd);
  return pair;
}

/// Returns the two uniforms in (0, 1) of a counter, as kernels::uniform_pairs() does.
__device__ inline Pair uniform_pair(Key key, std::uint32_t c0, std::uint32_t c1, std::uint32_t c2,
                                    std::uint32_t c3) {
  std::uint32_t x[4];
  philox(key, c0, c1, c2, c3, x);
  return {kernels::uniform_of(x[0], x[1]), kernels::uniform_of(x[2], x[3])};
}

/// Returns columns `column` (even) and `column` + 1 of a row of a task's standard normals, as
/// normal_row() does.
__device__ inline Pair normals_of_row(Key key, std::uint32_t task, std::uint32_t row,
                                      std::ptrdiff_t column) {
  return normal_pair(key, static_cast<std::uint32_t>(column / 2), row, task, 0);
}

/// Returns rows 2 `pair` and 2 `pair` + 1 of a task's column of standard normals, as
/// kernels::normal_panel() does.
__device__ inline Pair normals_of_panel(Key key, std::uint32_t task, std::uint32_t pair,
                                        std::uint32_t set) {
  return normal_pair(key, task, pair, set, 0);
}

/// Derives the key of a stream in a round of a trial, as metaspan::derive_key() does.
__device__ inline Key derive_key(std::uint64_t seed, std::uint64_t trial, std::uint64_t round,
                                 metaspan::Stream stream) {
  const Key of_seed{{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)}};
  std::uint32_t x[4];
  philox(of_seed, static_cast<std::uint32_t>(round), static_cast<std::uint32_t>(round >> 32),
         static_cast<std::uint32_t>(trial), static_cast<std::uint32_t>(stream), x);
  return {{x[0], x[1]}};
}

/// Transforms the standard normal in row `row` of a task's column into a chi-square with dof > 2/3
/// degrees of freedom, as kernels::chi_square_panel() does.
__device__ inline double chi_square_of_panel(Key key, std::uint32_t task, std::uint32_t row,
                                             std::uint32_t set, double dof, double normal) {
  const Pair uniforms = uniform_pair(key, task, row / 2, set, 1);
  const auto shape = kernels::chi_square_shape<Exact>(dof);
  const auto chi_square = static_cast<double>(kernels::chi_square_candidate<Exact>(
      shape.a_0, shape.c, normal, row % 2 == 0 ? uniforms.even : uniforms.odd));
  if (chi_square > 0) return chi_square;
  return kernels::retry_chi_square<Exact>(key.words, task, row, set, dof);
}

/// Returns the first chi-square, with dof >= 1 degrees of freedom, of the Sequence of a row:
/// attempt a takes its normal from the counter (a / 2, task, row, 0), and its uniform from the
/// counter (a, task, row, 1).
__device__ inline double chi_square_of_row(Key key, std::uint32_t task, std::uint32_t row,
                                           double dof) {
  const auto shape = kernels::chi_square_shape<Exact>(dof);
  for (std::uint32_t attempt = 0;; ++attempt) {
    const Pair normals = normal_pair(key, attempt / 2, task, row, 0);
    const double uniform = uniform_pair(key, attempt, task, row, 1).even;
    const auto chi_square = static_cast<double>(kernels::chi_square_candidate<Exact>(
        shape.a_0, shape.c, attempt % 2 == 0 ? normals.even : normals.odd, uniform));
    if (chi_square > 0) return chi_square;
  }
}

}  // namespace metaspan::cuda
