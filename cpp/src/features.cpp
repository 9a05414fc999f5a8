#include "metaspan/features.hpp"

#include <algorithm>
#include <cmath>

#include "vector.hpp"

namespace metaspan {

using Kind = FeatureLaw::Kind;

void scale_row(const FeatureLaw& law, double d, double squares, Sequence& draws, Index count,
               double* row) {
  if (law == Kind::gaussian) return;
  const double radius = law == Kind::sphere ? std::sqrt(d / squares)
                                            : std::sqrt((law.dof - 2) / draws.chi_square(law.dof));
  for (Index i = 0; i < count; ++i) row[i] *= radius;
}

void feature_row(const FeatureLaw& law, Key features, Key radii, Index task, Index row, Index d,
                 double* out) {
  normal_row(features, task, row, d, out);
  if (law == Kind::gaussian) return;
  Sequence draws(radii, task, static_cast<std::uint32_t>(row));
  const double squares = law == Kind::sphere ? kernels::dot(d, out, out) : 0;
  scale_row(law, static_cast<double>(d), squares, draws, d, out);
}

void pooled_row(const FeatureLaw& law, Key features, Key radii, Index row, double d, Index D,
                Index columns, double* out) {
  const Index end = std::min(D + row + 1, columns);
  normal_row(features, row >> 32, row & 0xFFFFFFFF, end, out);
  std::fill(out + end, out + columns, 0.0);
  Sequence draws(radii, row & 0xFFFFFFFF, static_cast<std::uint32_t>(row >> 32));
  if (D + row < columns) {
    out[D + row] = std::sqrt(draws.chi_square(d - static_cast<double>(D + row)));
  }
  scale_row(law, d, kernels::dot(end, out, out), draws, end, out);
}

}  // namespace metaspan
