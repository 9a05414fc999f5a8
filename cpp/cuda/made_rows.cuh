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

}  // namespace metaspan::cuda
