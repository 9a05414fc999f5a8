// Definitions of those members of SampleDesign that describe a task's contribution after the
// algebra: its norm, (29), and the factors of its part off the span, (17), (18) and (33).
#pragma once

#include "metaspan/in_law/sample_design.hpp"

namespace metaspan {

/// Computes |sum_t v_t c_t^T|^2 = sum_st (v_s . v_t) (c_s . c_t), in which v is the part of a
/// slot's vector in the basis.
template <class Tasks>
METASPAN_HD void SampleDesign<Tasks>::squares(double* out) const {
  double dots[width], products[width];
  for (int t = 0; t < width; ++t) out[t] = 0;
  for (int a = 0; a < term_count(); ++a) {
    const OffTerm first = term(a);
    for (int b = 0; b <= a; ++b) {
      const OffTerm second = term(b);
      dot(first.slot, second.slot, dots);
      Columns::dot(panel_.k, first.c, second.c, products);
      const double count = a == b ? 1 : 2;
      for (int t = 0; t < width; ++t) out[t] += count * dots[t] * products[t];
    }
  }
}

/// Off the basis, X^T r is a sum over the rows of X of a coefficient times a vector of standard
/// normals. Computes these coefficients, (rows, width): the residual of a row times 1 / sqrt(m) and
/// the radius of the row.
template <class Tasks>
METASPAN_HD void SampleDesign<Tasks>::weights(int slot, const double* r, double* out) const {
  const bool outer = is_outer(slot) && !panel_.shared;
  const SetView& set = set_of(slot);
  const double* radii = outer ? panel_.outer.radii : panel_.inner.radii;
  for (Index i = 0; i < set.row_count; ++i) {
    for (int t = 0; t < width; ++t) {
      const Index at = i * Columns::stride + t;
      const double radius = radii == nullptr ? 1.0 : radii[at];
      out[at] = set.normalisation * radius * r[at];
    }
  }
}

/// Returns whether the term of `slot` is in `group`. The parts off the span are summed within each
/// group of terms. If there is a frame, all terms of a task lie in the span of the frame and form
/// one group. Without a frame, the inner and the outer terms form two groups with independent
/// Gaussian sums, (18), unless both loops use the same samples.
template <class Tasks>
METASPAN_HD bool SampleDesign<Tasks>::is_member(int slot, TermGroup group) const {
  if (group == TermGroup::frame || group == TermGroup::both) return true;
  return is_outer(slot) == (group == TermGroup::outer);
}

/// Returns the factor A of a group's contribution off the span, (rows, k, width). Let the columns
/// of S be the vectors of the group's terms, and the rows of C their c_t. With the factorisation S
/// = Q R, the contribution is S C = Q (R C). Only R C is needed, since Q does not affect the
/// distribution of (17), which has a Haar-distributed frame, or of (18). Every task of a panel has
/// its own S, and one loop factors all of them, each in its task's column. If the group has at
/// least as many terms as S has rows, then S C has no more rows than R C, and S C is returned
/// instead of R C.
template <class Tasks>
METASPAN_HD auto SampleDesign<Tasks>::off_span(TermGroup group) -> Factor {
  constexpr Index kStride = Columns::stride;
  if (group == TermGroup::along_xi) return along_xi();
  const Index k = panel_.k, D = panel_.shape.D;
  const bool frame = group == TermGroup::frame;
  const Index length = length_off_span(panel_.shape, group, panel_.shared);
  double* basis = memory_.basis;
  Index count = 0;
  for (int i = 0; i < term_count(); ++i) {
    const int slot = term(i).slot;
    if (!is_member(slot, group)) continue;
    double* entries = basis + count++ * length * kStride;
    if (frame) {
      Columns::copy(length, vector(slot) + D * kStride, entries);
    } else {
      weights(slot, residual(slot), entries);
    }
  }
  const Index rows = count < length ? count : length;
  if (count < length) orthogonalise(count, length);
  Columns::fill(rows * k, 0.0, memory_.factor);
  // R is upper triangular, so the nonzero entries of its row `row` start at term `row`.
  for (Index row = 0; row < rows; ++row) {
    Index t = 0;
    for (int i = 0; i < term_count(); ++i) {
      const OffTerm member = term(i);
      if (!is_member(member.slot, group)) continue;
      const double* weight = count < length ? memory_.products + (row * count + t) * kStride
                                            : basis + (t * length + row) * kStride;
      if (count >= length || t >= row) {
        Columns::add(k, 1.0, weight, member.c, memory_.factor + row * k * kStride);
      }
      ++t;
    }
  }
  return {memory_.factor, rows};
}

/// Computes the row of X^T C + X'^T C' of (10) along the direction of xi, (33): every slot holds
/// its component along that direction after the D columns of the state.
template <class Tasks>
METASPAN_HD auto SampleDesign<Tasks>::along_xi() -> Factor {
  const Index D = panel_.shape.D;
  Columns::fill(panel_.k, 0.0, memory_.factor);
  for (int i = 0; i < term_count(); ++i) {
    const OffTerm added = term(i);
    const double* along = vector(added.slot) + D * Columns::stride;
    Columns::add(panel_.k, 1.0, along, added.c, memory_.factor);
  }
  return {memory_.factor, 1};
}

/// Computes the factor R of the first `count` vectors in `basis`, (count, count, width), by the
/// modified Gram-Schmidt process, which overwrites the vectors. Only R is needed. If the vectors
/// are nearly dependent, this process does not give an orthogonal Q, but its R is still backward
/// stable. A zero vector, for example in a column without a task, gives a zero row of R.
template <class Tasks>
METASPAN_HD void SampleDesign<Tasks>::orthogonalise(Index count, Index length) {
  constexpr Index kStride = Columns::stride;
  for (Index a = 0; a < count; ++a) {
    double* v = memory_.basis + a * length * kStride;
    double* R = memory_.products + a * count * kStride;
    double norm[width], inverse[width];
    Columns::dot(length, v, v, norm);
    for (int t = 0; t < width; ++t) {
      norm[t] = std::sqrt(norm[t]);
      inverse[t] = norm[t] > 0 ? 1 / norm[t] : 0;
      R[a * kStride + t] = norm[t];
    }
    for (Index b = a + 1; b < count; ++b) {
      double* other = memory_.basis + b * length * kStride;
      double product[width], factor[width];
      Columns::dot(length, v, other, product);
      for (int t = 0; t < width; ++t) {
        product[t] *= inverse[t];
        factor[t] = product[t] * inverse[t];
        R[b * kStride + t] = product[t];
      }
      Columns::add(length, -1.0, factor, v, other);
    }
  }
}

}  // namespace metaspan
