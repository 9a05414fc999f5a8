#include "metaspan/random/features.hpp"

#include <algorithm>
#include <cmath>

#include "vector.hpp"

namespace metaspan {

using Kind = FeatureLaw::Kind;

constexpr Index kSome = 2048;  // numbers of a row at a time

void power_roots(double a, Index first, Index count, double* out) {
  for (Index i = 0; i < count; ++i) {
    out[i] = std::pow(static_cast<double>(first + i + 1), -0.5 * a);
  }
}

/// Returns the radius s of an elliptical row x = s g, (19), scaled so that the covariance of x is
/// I. With s = sqrt(d) / |g|, x is on the sphere of radius sqrt(d). With s = sqrt((dof - 2) /
/// chi^2_dof), x has Student's t distribution, whose covariance is finite only for dof > 2.
/// `squares` is |g|^2 over all d entries of g, and is needed for the sphere only.
double radius_of(const FeatureLaw& law, double d, double squares, Sequence& draws) {
  if (law == Kind::sphere) return std::sqrt(d / squares);
  if (law == Kind::student_t) return std::sqrt((law.dof - 2) / draws.chi_square(law.dof));
  return 1;
}

/// Draws the radius of one row from the counters of that row alone, so the radius does not depend
/// on the thread that makes the row, or on the pieces in which the row is made.
double RowMaker::radius(Index task, Index row, double squares) const {
  Sequence draws(radii, task, static_cast<std::uint32_t>(row));
  return radius_of(law, static_cast<double>(d), squares, draws);
}

/// Makes columns [first, first + columns) of one row of X, (12). If there is a diagonal covariance,
/// each entry is multiplied by the root for its column. Every entry is a function of (task, row,
/// column): threads may make the pieces of a row in any order, and making a row again gives the
/// same bits. A buffer of kSome doubles keeps the numbers in the L1 cache through all stages (draw,
/// shape, scale, convert). All arithmetic is in double, and at the end each entry is rounded to
/// Scalar.
template <class Scalar>
double RowMaker::piece(Index task, Index row, Index first, Index columns, Scalar* out) const {
  double squares = 0, some[kSome];
  for (Index begin = 0; begin < columns; begin += kSome) {
    const Index count = std::min(kSome, columns - begin);
    if (law == Kind::rademacher || law == Kind::uniform) {
      uniform_row(features, task, row, offset + first + begin, count, some);
      const double width = 2 * std::sqrt(3.0);
      for (Index i = 0; i < count; ++i) {
        // The uniforms are midpoints of intervals, so `centred` is never 0 and each sign has
        // probability 1/2.
        const double centred = some[i] - 0.5;
        some[i] = law == Kind::uniform ? width * centred : std::copysign(1.0, centred);
      }
    } else {
      normal_row(features, task, row, offset + first + begin, count, some);
    }
    // The squares are summed over the Gaussian entries before these are multiplied by `roots`,
    // because Sigma^{1/2} is applied to a row that is already on the sphere.
    if (law == Kind::sphere) squares += kernels::dot(count, some, some);
    for (Index i = 0; roots != nullptr && i < count; ++i) some[i] *= roots[first + begin + i];
    std::copy_n(some, count, out + begin);
  }
  return squares;
}

/// Copies rows [first, first + count) of a task, (count, d), from the source that the user
/// supplied. If there is a diagonal covariance, each column is multiplied by its root. The source
/// gives the rows in double, and each entry is rounded to Scalar once.
template <class Scalar>
void take_block(const RowSource& source, const double* roots, Index d, Index task, Index first,
                Index count, Scalar* out) {
  std::vector<double> made(static_cast<std::size_t>(count * d));
  source.rows(task, first, count, made.data());
  for (Index i = 0; i < count; ++i) {
    const double* row = made.data() + i * d;
    for (Index j = 0; j < d; ++j) {
      out[i * d + j] = static_cast<Scalar>(roots == nullptr ? row[j] : row[j] * roots[j]);
    }
  }
}

template void take_block(const RowSource&, const double*, Index, Index, Index, Index, double*);
template void take_block(const RowSource&, const double*, Index, Index, Index, Index, float*);
template double RowMaker::piece(Index, Index, Index, Index, double*) const;
template double RowMaker::piece(Index, Index, Index, Index, float*) const;

/// Makes one row of X at full dimension, (d,), for the bindings to return. feature_row() multiplies
/// the entries of the row by its radius, whereas sweeps multiply the element of X u for the row by
/// the radius.
void feature_row(const RowMaker& maker, Index task, Index row, double* out) {
  const double squares = maker.piece(task, row, 0, maker.d, out);
  const double radius = maker.radius(task, row, squares);
  for (Index i = 0; i < maker.d; ++i) out[i] *= radius;
}

/// Makes row `row` of [P, L] of (24), multiplied by the radius of the row. The rows of [P, L] are a
/// pool of samples that is drawn once. Each row has the coordinates of a sample in an orthonormal
/// basis whose first D vectors are given; the other basis vectors span the parts of the samples
/// orthogonal to these D vectors. Row i consists of D + i normals, the root of a chi-square with d
/// - D - i degrees of freedom, and zeros. Without its first D entries, row i is row i of L =
/// bartlett(N, d - D), and it can be made without the rows above it. The row number may need more
/// than 32 bits, so it takes two words of the counter.
void pooled_row(const FeatureLaw& law, Key features, Key radii, Index row, double d, Index D,
                Index columns, double* out) {
  const Index end = std::min(D + row + 1, columns);
  normal_row(features, row >> 32, row & 0xFFFFFFFF, end, out);
  std::fill(out + end, out + columns, 0.0);
  Sequence draws(radii, row & 0xFFFFFFFF, static_cast<std::uint32_t>(row >> 32));
  if (D + row < columns) {
    out[D + row] = std::sqrt(draws.chi_square(d - static_cast<double>(D + row)));
  }
  // For the sphere, the radius depends on the length of the sample in R^d, which is the length of
  // its coordinates in the basis.
  const double radius = radius_of(law, d, kernels::dot(end, out, out), draws);
  for (Index i = 0; i < end; ++i) out[i] *= radius;
}

}  // namespace metaspan
