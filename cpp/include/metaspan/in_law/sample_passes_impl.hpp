// Definitions of those members of SampleDesign that the task algebra calls, (16)-(18) and (26).
#pragma once

#include "metaspan/in_law/sample_design.hpp"

namespace metaspan {

/// Computes u = B V + terms [- theta] in the basis, (columns, width). In B V, the first D rows are
/// [M; R] V and the rows of the frame are zero; the terms of (6) are added to all rows. Because
/// theta is subtracted here, X u is the residual except for the noise, and responses need not be
/// computed.
template <class Tasks>
METASPAN_HD_CALL void SampleDesign<Tasks>::direction(const double* V, Terms<Columns> terms,
                                                     bool less_truth) {
  const Index D = panel_.shape.D, k = panel_.k;
  double* u = memory_.u;
  Tasks::product(D, k, panel_.Z, k, 1, V, u);
  Columns::fill(columns() - D, 0.0, u + D * Columns::stride);
  for (int t = 0; t < terms.count; ++t) {
    Columns::add(columns(), 1.0, terms.factor(t), vector(terms.slot(t)), u);
  }
  if (!less_truth) return;
  const double* theta = panel_.theta;
  Columns::each(panel_.known, [=](Index i) { u[i] -= theta[i]; });
}

/// The pass over a set of infinitely many samples: X / sqrt(m) is the identity, so both the
/// residual and X^T r are u.
template <class Tasks>
METASPAN_HD void SampleDesign<Tasks>::pass_infinite(const SetView& set, double* r) {
  const Index rows = panel_.shape.rows_of(set);
  for (Index i = 0; i < rows; ++i) {
    for (Index t = 0; t < width; ++t) {
      const Index at = i * Columns::stride + t;
      r[at] = t < panel_.tasks ? memory_.u[at] : 0;
    }
  }
}

/// Computes r = X u - noise, (rows, width), and `back` <- X^T r, (columns, width), (16), row by
/// row. Each row of X, multiplied by its residual, is added to the slot while the row is in the
/// cache, so X is read once and X X^T is never formed. Rows of triangular sets have entries in the
/// columns [begin, end) only. The columns of the panel from `absent` on have no task. The residuals
/// in these columns are set to zero, so that the columns add nothing to any sum. With fresh steps,
/// only the rows of a block enter, see keep_block(); block -1 has all rows.
template <class Tasks>
METASPAN_HD void SampleDesign<Tasks>::pass_rows(const SetView& set, const Numbers& numbers,
                                                double noise, int block, double* back, double* r) {
  constexpr Index kStride = Columns::stride;
  const double* u = memory_.u;
  const Index absent = panel_.tasks, m = set.row_count, blocks = method_.blocks();
  const bool cut = block >= 0;
  const Index first = cut ? block * m / blocks : 0, end = cut ? (block + 1) * m / blocks : m;
  for (Index i = 0; i < m; ++i) {
    const RowShape row = set.rows[i];
    const Index entries = row.end - row.begin;
    const double* x = numbers.numbers + row.at * kStride;
    Columns::dot(entries, x, u + row.begin * kStride, r);
    if (row.noise && noise != 0) {
      for (int t = 0; t < width; ++t) r[t] -= noise * x[entries * kStride + t];
    }
    const double kept = i < first || i >= end ? 0 : cut ? static_cast<double>(blocks) : 1;
    for (int t = 0; t < width; ++t) r[t] *= kept * set.normalisation;
    for (Index t = absent; t < width; ++t) r[t] = 0;
    if (back != nullptr) {
      Columns::add(entries, set.normalisation, r, x, back + row.begin * kStride);
    }
    r += kStride;
  }
}

/// Computes the residual of a set, and its slot unless `slot` is kNoSlot.
template <class Tasks>
METASPAN_HD void SampleDesign<Tasks>::pass(const SetView& set, const Numbers& numbers, double noise,
                                           int slot, double* r) {
  if (set.infinite) return pass_infinite(set, r);
  double* back = nullptr;
  if (slot != kNoSlot) {
    back = memory_.vectors + slot * columns() * Columns::stride;
    Columns::fill(columns(), 0.0, back);
  }
  const bool cut = slot != kNoSlot && slot < layout_.steps && method_.blocks() > 1;
  pass_rows(set, numbers, noise, cut ? slot : -1, back, r);
}

/// Computes the inner residual of (2), (m_in, width).
template <class Tasks>
METASPAN_HD void SampleDesign<Tasks>::residual_in(const double* V, Terms<Columns> terms, int slot,
                                                  double* r) {
  direction(V, terms, true);
  pass(panel_.shape.inner, panel_.inner, panel_.noise, slot, r);
}

/// Computes the outer residual of (7). The part of the outer rows that is orthogonal to the span
/// and to the frame adds a vector of length |s'| chi_{rest - q} to X'^T s', (17). The added vector
/// is orthogonal to all other vectors of the task, and its length is the last entry of the outer
/// slot. In every other slot the last entry is zero, so the algebra needs no special case.
template <class Tasks>
METASPAN_HD void SampleDesign<Tasks>::residual_out(const double* V, Terms<Columns> terms, int slot,
                                                   double* r) {
  direction(V, terms, true);
  const Numbers& numbers = panel_.shared ? panel_.inner : panel_.outer;
  pass(outer_shape(), numbers, panel_.noise, slot, r);
  if (!panel_.shape.beyond || slot == kNoSlot) return;
  double* last = memory_.vectors + ((slot + 1) * columns() - 1) * Columns::stride;
  double* weight = memory_.basis;
  double squares[width];
  weights(slot, r, weight);
  Columns::dot(m_out(), weight, weight, squares);
  for (int t = 0; t < width; ++t) last[t] = numbers.beyond[t] * std::sqrt(squares[t]);
}

/// Computes X (B V + terms) of (9), without targets or noise, (m_in, width).
template <class Tasks>
METASPAN_HD void SampleDesign<Tasks>::product_in(const double* V, Terms<Columns> terms, int slot,
                                                 double* r) {
  direction(V, terms, false);
  pass(panel_.shape.inner, panel_.inner, 0.0, slot, r);
}

/// Computes Z^T Z and Z^T y of (26) by taking the rows x of X one after another. For each x, the
/// row of Z is z = [M; R]^T x, and the response is y = x . theta + noise. Entries of x along a
/// frame do not matter here, since B and theta are orthogonal to the frame.
template <class Tasks>
METASPAN_HD void SampleDesign<Tasks>::normal_equations(double* G, double* b) {
  constexpr Index kStride = Columns::stride;
  const Index k = panel_.k, D = panel_.shape.D, known = panel_.known;
  const SetView& set = panel_.shape.inner;
  if (set.infinite) {
    Tasks::spread_gram(D, k, panel_.Z, G);
    return Tasks::product(k, known < D ? known : D, panel_.Z, 1, k, panel_.theta, b);
  }
  Columns::fill(kernels::triangle(k), 0.0, G);
  Columns::fill(k, 0.0, b);
  double* z = memory_.basis;
  for (Index at = 0; at < set.row_count; ++at) {
    const RowShape row = set.rows[at];
    const double* x = panel_.inner.numbers + row.at * kStride;
    const Index end = row.end < D ? row.end : D, inside = end - row.begin;
    if (inside <= 0) continue;  // the row of Z is zero
    Tasks::product(k, inside, panel_.Z + row.begin * k, 1, k, x, z);
    double y[width] = {};
    for (Index i = row.begin; i < (row.end < known ? row.end : known); ++i) {
      for (int t = 0; t < width; ++t) {
        y[t] += x[(i - row.begin) * kStride + t] * panel_.theta[i * kStride + t];
      }
    }
    if (row.noise) {
      const double* noise = x + (row.end - row.begin) * kStride;
      for (int t = 0; t < width; ++t) y[t] += panel_.noise * noise[t];
    }
    Columns::add_outer(k, z, G);
    Columns::add(k, 1.0, y, z, b);
  }
  const double share = set.normalisation * set.normalisation;
  Columns::each(kernels::triangle(k), [=](Index i) { G[i] *= share; });
  Columns::each(k, [=](Index i) { b[i] *= share; });
}

/// Computes B^T slot, (k, width), as [M; R]^T times the first D rows of the slot, since B is
/// orthogonal to the frame.
template <class Tasks>
METASPAN_HD void SampleDesign<Tasks>::features(int slot, double* out) const {
  Tasks::product(panel_.k, panel_.shape.D, panel_.Z, 1, panel_.k, vector(slot), out);
}

/// Computes the inner product of the vectors of two slots for every task, (width,), from their
/// coordinates in the basis. In equations (6) and (9) these inner products are written with K and
/// K'.
template <class Tasks>
METASPAN_HD void SampleDesign<Tasks>::dot(int a, int b, double* dots) const {
  Columns::dot(columns(), vector(a), vector(b), dots);
}

}  // namespace metaspan
