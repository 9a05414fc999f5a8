#include "metaspan/in_law/sample_shape.hpp"

#include <algorithm>
#include <cmath>

namespace metaspan {
namespace {

/// Appends a row with entries in the columns [begin, end) of the basis and, if `noise`, its noise.
/// Reserves places among a task's random numbers for these entries and for the noise.
void add_row(SetShape& set, Index begin, Index end, bool noise) {
  set.rows.push_back({begin, end, set.numbers, noise});
  set.numbers += end - begin + (noise ? 1 : 0);
}

/// Marks the entry of the last row in a column as the root of a chi-square; the column `end` means
/// the noise of the row.
void add_root(SetShape& set, Index column, double dof) {
  const RowShape& row = set.rows.back();
  set.roots.push_back({row.at + column - row.begin, dof});
}

/// Returns a set of infinitely many samples. It has no rows: its design is the identity in the
/// basis, (13).
SetShape infinite_set() {
  SetShape set;
  set.infinite = true;
  return set;
}

/// Returns a set of m samples. Its factor 1 / sqrt(m) has the true m, even where fewer rows replace
/// the m samples, (19).
SetShape finite_set(Index m) {
  SetShape set;
  set.normalisation = 1 / std::sqrt(static_cast<double>(m));
  return set;
}

/// Gaussian rows of `columns` entries and noise, by *ANIL without m* of (19): L^T with L =
/// bartlett(columns + 1, m), whose last column is the noise. In law, these rows have the same X^T
/// X, X^T y and y^T y as m samples. The algebra reads no other properties of a set unless it needs
/// inner products of its rows off the span. The set has min(m, columns + 1) rows and is upper
/// trapezoidal.
SetShape triangular(Index m, Index columns) {
  SetShape set = finite_set(m);
  for (Index i = 0; i < std::min(m, columns + 1); ++i) {
    add_row(set, i, columns, true);
    add_root(set, i, static_cast<double>(m - i));
  }
  return set;
}

/// Gaussian inner rows [P, L] of MAML, (17). In the span, [P, z / sigma] is replaced by bartlett(D
/// + 1, m)^T, as for ANIL. Off the span, the full L = bartlett(m, rest) is kept, since inner steps
/// need X X^T. The two parts are independent, and multiplying a part by an orthogonal matrix from
/// the left does not change its distribution. Rows beyond row D have entries off the span only.
SetShape triangular_with_frame(Index m, const SampleShape& shape) {
  SetShape set = finite_set(m);
  for (Index i = 0; i < m; ++i) {
    const bool noise = i <= shape.D;
    add_row(set, std::min(i, shape.D), shape.D + std::min(i + 1, shape.q), noise);
    if (i < shape.D) add_root(set, i, static_cast<double>(m - i));
    if (i < shape.q) add_root(set, shape.D + i, shape.rest - static_cast<double>(i));
    if (i == shape.D) add_root(set, set.rows.back().end, static_cast<double>(m - i));
  }
  return set;
}

/// Unreduced rows, for elliptical features. Each row has a radius of its own, so multiplying the
/// rows by an orthogonal matrix from the left changes their distribution, and no variant without m
/// exists, (19). If the rows of the set span the frame, row i has entries in the first off + i + 1
/// columns of the frame, and the last of these entries is a root. Otherwise row i has normals in
/// all q columns of the frame.
SetShape explicit_rows(Index m, const SampleShape& shape, bool own_frame, Index off) {
  SetShape set = finite_set(m);
  for (Index i = 0; i < m; ++i) {
    const Index seen = own_frame ? std::min(off + i + 1, shape.q) : shape.q;
    add_row(set, 0, shape.D + seen, true);
    if (own_frame && off + i < shape.q) {
      add_root(set, shape.D + off + i, shape.rest - static_cast<double>(off + i));
    }
  }
  return set;
}

/// Reserves a place for the chi-square of each row of student_t features, after the numbers of all
/// rows.
void add_radii(SetShape& set, double dof) {
  if (set.infinite) return;
  set.radii = set.numbers;
  for (std::size_t i = 0; i < set.rows.size(); ++i) set.roots.push_back({set.numbers++, dof});
}

}  // namespace

/// Lists the numbers that a task draws for a method on a state of D rows, and decides how the
/// tasks' contributions off the span are summed. It is called once a run. MAML depends on inner
/// products of samples off the span, which takes a frame of q columns, (17). ANIL does not depend
/// on these inner products, and the sum is one Gaussian matrix, (18). If no finite set contributes
/// to grad_B, nothing is added off the span.
SampleShape sample_shape(const Method& method, const SampleLaw& law, Index D) {
  const bool has_inner = law.m_in > 0, has_outer = law.m_out > 0 && !law.shared;
  const bool sphere = law.features == FeatureLaw::Kind::sphere;
  const bool meets = method.needs_cross_gram() && has_inner;
  SampleShape shape{D, 0, false, law.d - static_cast<double>(D), OffSpan::none, {}, {}};
  if (shape.rest > 0 && (meets || (sphere && (has_inner || has_outer)))) {
    // The radius of a row on the sphere depends on the length of the row off the span. The entries
    // of inner and outer rows in the frame are therefore needed for every method.
    const Index rows = sphere ? (has_inner ? law.m_in : 0) + (has_outer ? law.m_out : 0) : law.m_in;
    shape.off_span = OffSpan::frames;
    shape.q = static_cast<Index>(std::min(static_cast<double>(rows), shape.rest));
    // The part of the outer rows off the frame is independent of all other numbers, and (17) adds
    // it as one number.
    shape.beyond = !sphere && has_outer && shape.rest > static_cast<double>(shape.q);
  } else if (shape.rest > 0 &&
             (has_outer || (has_inner && (law.shared || method.has_inner_part())))) {
    shape.off_span = OffSpan::gaussian;
  }
  // Gaussian inner rows keep entries off the span only if MAML needs a frame. Gaussian outer rows
  // never need a frame of their own: their entries in the columns of the inner frame are normals,
  // as in all other columns.
  const bool gaussian = law.features == FeatureLaw::Kind::gaussian;
  shape.inner = !has_inner    ? infinite_set()
                : !gaussian   ? explicit_rows(law.m_in, shape, true, 0)
                : shape.q > 0 ? triangular_with_frame(law.m_in, shape)
                              : triangular(law.m_in, D);
  shape.outer = !has_outer  ? infinite_set()
                : !gaussian ? explicit_rows(law.m_out, shape, sphere, has_inner ? law.m_in : 0)
                            : triangular(law.m_out, D + shape.q);
  if (law.features == FeatureLaw::Kind::student_t) {
    add_radii(shape.inner, law.features.dof);
    add_radii(shape.outer, law.features.dof);
  }
  // One number for the part off the frame of a combination of outer rows with coefficients of unit
  // length: its length is chi with rest - q degrees of freedom.
  if (shape.beyond) {
    shape.outer.beyond = shape.outer.numbers++;
    shape.outer.roots.push_back({shape.outer.beyond, shape.rest - static_cast<double>(shape.q)});
  }
  return shape;
}

}  // namespace metaspan
