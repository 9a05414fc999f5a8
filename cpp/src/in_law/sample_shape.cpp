#include "metaspan/in_law/sample_shape.hpp"

#include <algorithm>
#include <cmath>

namespace metaspan {
namespace {

/// Appends to a set a row with entries in the columns [begin, end) of the basis and, if `noise` is
/// true, with noise. Reserves places for the entries and for the noise among a task's random
/// numbers.
void add_row(SetShape& set, Index begin, Index end, bool noise) {
  set.rows.push_back({begin, end, set.numbers, noise});
  set.numbers += end - begin + (noise ? 1 : 0);
}

/// Marks one number of the last row of the set as the root of a chi-square variable: the entry in
/// `column` or, if `column` is the row's `end`, the noise, which is stored after the entries.
void add_root(SetShape& set, Index column, double dof) {
  const RowShape& row = set.rows.back();
  set.roots.push_back({row.at + column - row.begin, dof});
}

/// Returns a set of infinitely many samples. The set has no rows: in the basis, X / sqrt(m) is the
/// identity, (13).
SetShape infinite_set() {
  SetShape set;
  set.infinite = true;
  return set;
}

/// Returns a set of m samples. The factor 1 / sqrt(m) of the set uses this m, even if fewer rows
/// replace the m samples, (19).
SetShape finite_set(Index m) {
  SetShape set;
  set.normalisation = 1 / std::sqrt(static_cast<double>(m));
  return set;
}

/// Returns Gaussian rows with `columns` entries and noise, by the variant *ANIL without m* of (19).
/// The rows are L^T with L = bartlett(columns + 1, m), and the last column of L^T is the noise. For
/// these rows, X^T X, X^T y and y^T y have the same joint distribution as for m samples, and the
/// algebra needs nothing else of a set, unless it needs inner products of rows off the span. The
/// set has min(m, columns + 1) rows and is upper trapezoidal.
SetShape triangular(Index m, Index columns) {
  SetShape set = finite_set(m);
  for (Index i = 0; i < std::min(m, columns + 1); ++i) {
    add_row(set, i, columns, true);
    add_root(set, i, static_cast<double>(m - i));
  }
  return set;
}

/// Returns the Gaussian inner rows [P, L] of MAML, (17). P is the part inside the first inside()
/// columns. P and the noise, [P, z / sigma], are replaced by bartlett(inside() + 1, m)^T, as for
/// ANIL. The part off these columns keeps the full L = bartlett(m, outside()), since inner steps
/// need X X^T. The two parts are independent, and multiplication of either part by an orthogonal
/// matrix from the left does not change the distribution of this part. Rows after row inside() have
/// entries in the frame only.
SetShape triangular_with_frame(Index m, const SampleShape& shape) {
  SetShape set = finite_set(m);
  const Index inside = shape.inside();
  for (Index i = 0; i < m; ++i) {
    const bool noise = i <= inside;
    add_row(set, std::min(i, inside), inside + std::min(i + 1, shape.q), noise);
    if (i < inside) add_root(set, i, static_cast<double>(m - i));
    if (i < shape.q) add_root(set, inside + i, shape.outside() - static_cast<double>(i));
    if (i == inside) add_root(set, set.rows.back().end, static_cast<double>(m - i));
  }
  return set;
}

/// Returns all m rows: for elliptical features, for fresh steps, and for a frame that also spans
/// the outer rows. Every elliptical row has a separate radius, so multiplying X by an orthogonal
/// matrix from the left changes its distribution, and there is no variant without m, (19). If
/// `own_frame` is true, the rows of the set span the frame: row i has entries in the first off + i
/// + 1 columns of the frame, and the last of these entries is the root of a chi-square. If
/// `own_frame` is false, row i has normals in all q columns of the frame.
SetShape explicit_rows(Index m, const SampleShape& shape, bool own_frame, Index off) {
  SetShape set = finite_set(m);
  for (Index i = 0; i < m; ++i) {
    const Index seen = own_frame ? std::min(off + i + 1, shape.q) : shape.q;
    add_row(set, 0, shape.inside() + seen, true);
    if (own_frame && off + i < shape.q) {
      add_root(set, shape.inside() + off + i, shape.outside() - static_cast<double>(off + i));
    }
  }
  return set;
}

/// Reserves a place for the root of the chi-square of each row of student_t features. The places of
/// these roots follow the numbers of all rows.
void add_radii(SetShape& set, double dof) {
  if (set.infinite) return;
  set.radii = set.numbers;
  for (std::size_t i = 0; i < set.rows.size(); ++i) set.roots.push_back({set.numbers++, dof});
}

/// The numbers of xi of (33), in units of tau / sqrt(d): normals in the D columns of the state and,
/// with a column aside, the length of the part off their span, chi with `rest` degrees of freedom.
SetShape xi_numbers(const SampleShape& shape) {
  SetShape set;
  set.numbers = shape.inside();
  if (shape.aside) set.roots.push_back({shape.D, shape.rest});
  return set;
}

}  // namespace

RadiusLaw radius_law(const SampleLaw& law) {
  const bool sphere = law.features == FeatureLaw::Kind::sphere;
  const bool student_t = law.features == FeatureLaw::Kind::student_t;
  using Kind = RadiusLaw::Kind;
  return {sphere      ? Kind::sphere
          : student_t ? Kind::student_t
                      : Kind::none,
          law.d, law.features.dof};
}

/// Lists the numbers that a task draws for a method on a state of D rows, and decides how the
/// tasks' contributions off the span are summed. A run calls this function once. MAML needs inner
/// products of the parts of samples off the span, and therefore a frame of q columns, (17). ANIL
/// does not need these inner products, so the sum of the contributions is one Gaussian matrix,
/// (18). If no finite set contributes to grad_B, nothing is added off the span. With xi, (33),
/// responses depend on the samples along xi. The direction of xi off the span therefore becomes one
/// more vector of the basis, and every task adds a part along this direction, whether or not its
/// samples are finite.
SampleShape sample_shape(const Method& method, const SampleLaw& law, Index D) {
  const bool has_inner = law.m_in > 0, has_outer = law.m_out > 0 && !law.shared;
  const bool sphere = law.features == FeatureLaw::Kind::sphere;
  const bool meets = method.needs_cross_gram() && has_inner;
  // A private head needs inner products of a second residual of the outer rows, so the frame of
  // MAML then spans the outer rows too.
  const bool spans_outer = sphere || (meets && has_outer && method.private_head);
  SampleShape shape{D, 0, false, law.d - static_cast<double>(D), OffSpan::none, {}, {}};
  if (law.spread > 0) {
    shape.aside = shape.rest > 0;
    shape.spread = xi_numbers(shape);
  }
  if (shape.rest > 0 && (meets || (sphere && (has_inner || has_outer)))) {
    // The radius of a row on the sphere depends on the length of the row off the span. For every
    // method, inner and outer rows therefore need their entries in the frame.
    const Index rows = (has_inner ? law.m_in : 0) + (spans_outer && has_outer ? law.m_out : 0);
    shape.off_span = OffSpan::frames;
    shape.q = static_cast<Index>(std::min(static_cast<double>(rows), shape.outside()));
    // The part of the outer rows orthogonal to the frame is independent of all other numbers, and
    // only its length is drawn, (17).
    shape.beyond = !spans_outer && has_outer && shape.outside() > static_cast<double>(shape.q);
  } else if (shape.aside) {
    shape.off_span = OffSpan::along_xi;
  } else if (shape.rest > 0 &&
             (has_outer || (has_inner && (law.shared || method.has_inner_part())))) {
    shape.off_span = OffSpan::gaussian;
  }
  // Gaussian inner rows keep entries off the span only if MAML needs a frame. Gaussian outer rows
  // use the frame of the inner rows: their entries in the columns of this frame are normals, as in
  // all other columns.
  // An orthogonal matrix from the left would mix the blocks of rows of fresh steps.
  const bool gaussian = law.features == FeatureLaw::Kind::gaussian;
  const bool whole_in = !gaussian || method.fresh_steps || spans_outer;
  const bool whole_out = !gaussian || spans_outer;
  shape.inner = !has_inner    ? infinite_set()
                : whole_in    ? explicit_rows(law.m_in, shape, true, 0)
                : shape.q > 0 ? triangular_with_frame(law.m_in, shape)
                              : triangular(law.m_in, shape.inside());
  shape.outer = !has_outer  ? infinite_set()
                : whole_out ? explicit_rows(law.m_out, shape, spans_outer, has_inner ? law.m_in : 0)
                            : triangular(law.m_out, shape.inside() + shape.q);
  if (law.features == FeatureLaw::Kind::student_t) {
    add_radii(shape.inner, law.features.dof);
    add_radii(shape.outer, law.features.dof);
  }
  // Reserves one number for a combination of outer rows whose coefficients form a unit vector. The
  // number, a chi with rest - q degrees of freedom, is the length of the part of this combination
  // off the frame.
  if (shape.beyond) {
    shape.outer.beyond = shape.outer.numbers++;
    shape.outer.roots.push_back(
        {shape.outer.beyond, shape.outside() - static_cast<double>(shape.q)});
  }
  return shape;
}

}  // namespace metaspan
