#include "metaspan/random/features.hpp"

#include <algorithm>
#include <cmath>

#include "vector.hpp"

namespace metaspan {

using Kind = FeatureLaw::Kind;

constexpr Index kSome = 2048;  // numbers of a row at a time

double radius_of(const FeatureLaw& law, double d, double squares, Sequence& draws) {
  if (law == Kind::sphere) return std::sqrt(d / squares);
  if (law == Kind::student_t) return std::sqrt((law.dof - 2) / draws.chi_square(law.dof));
  return 1;
}

double RowMaker::radius(Index task, Index row, double squares) const {
  Sequence draws(radii, task, static_cast<std::uint32_t>(row));
  return radius_of(law, static_cast<double>(d), squares, draws);
}

template <class Scalar>
double RowMaker::piece(Index task, Index row, Index first, Index columns, Scalar* out) const {
  double squares = 0, some[kSome];
  for (Index begin = 0; begin < columns; begin += kSome) {
    const Index count = std::min(kSome, columns - begin);
    if (law == Kind::rademacher || law == Kind::uniform) {
      uniform_row(features, task, row, first + begin, count, some);
      const double width = 2 * std::sqrt(3.0);
      for (Index i = 0; i < count; ++i) {
        const double centred = some[i] - 0.5;
        some[i] = law == Kind::uniform ? width * centred : std::copysign(1.0, centred);
      }
    } else {
      normal_row(features, task, row, first + begin, count, some);
    }
    if (law == Kind::sphere) squares += kernels::dot(count, some, some);
    for (Index i = 0; roots != nullptr && i < count; ++i) some[i] *= roots[first + begin + i];
    std::copy_n(some, count, out + begin);
  }
  return squares;
}
template <class Scalar>
void RowMaker::block(Index task, Index first, Index count, Scalar* out) const {
  std::vector<double> made(static_cast<std::size_t>(count * d));
  source->rows(task, first, count, made.data());
  for (Index i = 0; i < count; ++i) {
    const double* row = made.data() + i * d;
    for (Index j = 0; j < d; ++j) {
      out[i * d + j] = static_cast<Scalar>(roots == nullptr ? row[j] : row[j] * roots[j]);
    }
  }
}

template void RowMaker::block(Index, Index, Index, double*) const;
template void RowMaker::block(Index, Index, Index, float*) const;
template double RowMaker::piece(Index, Index, Index, Index, double*) const;
template double RowMaker::piece(Index, Index, Index, Index, float*) const;

void feature_row(const RowMaker& maker, Index task, Index row, double* out) {
  const double squares = maker.piece(task, row, 0, maker.d, out);
  const double radius = maker.radius(task, row, squares);
  for (Index i = 0; i < maker.d; ++i) out[i] *= radius;
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
  const double radius = radius_of(law, d, kernels::dot(end, out, out), draws);
  for (Index i = 0; i < end; ++i) out[i] *= radius;
}

}  // namespace metaspan
