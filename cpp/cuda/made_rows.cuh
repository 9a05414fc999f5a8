// Rows of X that a device generates where a sweep needs them, (12), with the bits of RowMaker, so
// that X never lies in memory.
#pragma once

#include "metaspan/cuda/sweeps.hpp"
#include "metaspan/random/feature_law.hpp"
#include "normal.cuh"

namespace metaspan::cuda {

/// Whether the entries of a row are normals; otherwise they are made from uniforms.
__device__ inline bool has_normals(const RowLaw& law) {
  const auto kind = static_cast<FeatureLaw::Kind>(law.kind);
  return kind != FeatureLaw::Kind::rademacher && kind != FeatureLaw::Kind::uniform;
}

/// Returns columns `column` (even) and `column` + 1 of a row of a task, before the multiplication
/// by a root and by the radius.
__device__ inline Pair entries_of_row(const RowLaw& law, std::uint32_t task, std::uint32_t row,
                                      std::ptrdiff_t column) {
  const Key key{{law.key[0], law.key[1]}};
  if (has_normals(law)) return normals_of_row(key, task, row, column);
  const Pair u = uniform_pair(key, static_cast<std::uint32_t>(column / 2), row, task, 0);
  // The uniforms are midpoints of intervals, so `even` and `odd` are never 0.
  const double even = u.even - 0.5, odd = u.odd - 0.5;
  if (static_cast<FeatureLaw::Kind>(law.kind) == FeatureLaw::Kind::rademacher) {
    return {even < 0 ? -1.0 : 1.0, odd < 0 ? -1.0 : 1.0};
  }
  constexpr double kWidth = 2 * 0x1.bb67ae8584caap+0;  // 2 sqrt(3)
  return {__dmul_rn(kWidth, even), __dmul_rn(kWidth, odd)};
}

/// Multiplies an entry by the root of its column, rounds it to Scalar as RowMaker::piece() does,
/// and multiplies it by the radius of its row.
template <class Scalar>
__device__ inline double finish_entry(const RowLaw& law, std::ptrdiff_t column, double radius,
                                      double x) {
  if (law.roots != nullptr) x = __dmul_rn(x, law.roots[column]);
  return __dmul_rn(radius, static_cast<double>(static_cast<Scalar>(x)));
}

/// Generates the tile of rows [first_row, first_row + rows) of a set and columns [first, first +
/// columns) in a block of `threads` threads, each of which calls this function with its number
/// `thread`. Calls put(i, j, x) once for each element (i, j) of the tile; elements beyond the m
/// rows of the set or beyond d are 0. Each Philox block makes two neighbouring columns of a row,
/// and neighbouring threads make neighbouring pairs of columns.
template <class Scalar, class Put>
__device__ inline void generate_tile(const RowLaw& law, const SampleSet& set, std::ptrdiff_t d,
                                     int first_row, int rows,
                                     std::ptrdiff_t first,  // even
                                     int columns, int thread, int threads, Put&& put) {
  const int pairs = (columns + 1) / 2;
  for (int item = thread; item < rows * pairs; item += threads) {
    const int i = item / pairs, j = 2 * (item % pairs), row = first_row + i;
    const std::ptrdiff_t column = first + j;
    double even = 0, odd = 0;
    if (row < set.m && column < d) {
      const Pair x = entries_of_row(law, set.number, static_cast<std::uint32_t>(row), column);
      const double radius = law.radii != nullptr ? law.radii[set.first_row + row] : 1.0;
      even = finish_entry<Scalar>(law, column, radius, x.even);
      if (column + 1 < d) odd = finish_entry<Scalar>(law, column + 1, radius, x.odd);
    }
    put(i, j, even);
    if (j + 1 < columns) put(i, j + 1, odd);
  }
}

}  // namespace metaspan::cuda
