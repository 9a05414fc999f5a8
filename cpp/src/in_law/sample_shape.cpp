#include "metaspan/in_law/sample_shape.hpp"

#include <algorithm>
#include <cmath>

namespace metaspan {
namespace {

void add_row(SetShape& set, Index begin, Index end, bool noise) {
  set.rows.push_back({begin, end, set.numbers, noise});
  set.numbers += end - begin + (noise ? 1 : 0);
}

/// The last row's entry in a column, or its noise as the column `end`, is a root.
void add_root(SetShape& set, Index column, double dof) {
  const RowShape& row = set.rows.back();
  set.roots.push_back({row.at + column - row.begin, dof});
}

SetShape infinite_set() {
  SetShape set;
  set.infinite = true;
  return set;
}

SetShape finite_set(Index m) {
  SetShape set;
  set.normalisation = 1 / std::sqrt(static_cast<double>(m));
  return set;
}

/// Gaussian rows of `columns` entries and noise: upper trapezoidal with the same X^T X, X^T y and
/// y^T y as m samples.
SetShape triangular(Index m, Index columns) {
  SetShape set = finite_set(m);
  for (Index i = 0; i < std::min(m, columns + 1); ++i) {
    add_row(set, i, columns, true);
    add_root(set, i, static_cast<double>(m - i));
  }
  return set;
}

/// Gaussian rows with their own frame off the span: in the span as above; off it the Bartlett
/// factor of all m, since inner steps take X X^T.
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

/// Rows as they are. Row i sees the first off + i + 1 columns of the frame, the last as a root, or
/// all of them.
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

void add_radii(SetShape& set, double dof) {
  if (set.infinite) return;
  set.radii = set.numbers;
  for (std::size_t i = 0; i < set.rows.size(); ++i) set.roots.push_back({set.numbers++, dof});
}

}  // namespace

SampleShape sample_shape(const Method& method, const SampleLaw& law, Index D) {
  const bool has_inner = law.m_in > 0, has_outer = law.m_out > 0 && !law.shared;
  const bool sphere = law.features == FeatureLaw::Kind::sphere;
  const bool meets = method.needs_cross_gram() && has_inner;
  SampleShape shape{D, 0, false, law.d - static_cast<double>(D), OffSpan::none, {}, {}};
  if (shape.rest > 0 && (meets || (sphere && (has_inner || has_outer)))) {
    // The radius of a row on the sphere depends on its length off the span, so that its frame is
    // needed there in any case.
    const Index rows = sphere ? (has_inner ? law.m_in : 0) + (has_outer ? law.m_out : 0) : law.m_in;
    shape.off_span = OffSpan::frames;
    shape.q = static_cast<Index>(std::min(static_cast<double>(rows), shape.rest));
    shape.beyond = !sphere && has_outer && shape.rest > static_cast<double>(shape.q);
  } else if (shape.rest > 0 &&
             (has_outer || (has_inner && (law.shared || method.has_inner_part())))) {
    shape.off_span = OffSpan::gaussian;
  }
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
  if (shape.beyond) {
    shape.outer.beyond = shape.outer.numbers++;
    shape.outer.roots.push_back({shape.outer.beyond, shape.rest - static_cast<double>(shape.q)});
  }
  return shape;
}

}  // namespace metaspan
