// Definitions of the members of PanelAlgebra for linear attention, (32), at the state [A, B].
// engines/task_algebra.cpp, which instantiates TaskAlgebra, includes this file.
#pragma once

#include "metaspan/algebra/task_algebra.hpp"

namespace metaspan {

/// Computes the head [h; 0] of the state [A, B], (32). `features` holds the products A^T g_0 and,
/// below them, B^T g_0. The head of A is h = -alpha B^T g_0, and the head of B is zero.
template <class Design>
METASPAN_HD void PanelAlgebra<Design>::read_context(const double* features, double* head) const {
  const Index half = k() / 2;
  const double *last = features + half * Columns::stride, alpha = method_.alpha;
  Columns::each(half, [=](Index i) { head[i] = -alpha * last[i]; });
  Columns::fill(half, 0.0, head + half * Columns::stride);
}

/// Contributes the gradient of the outer loss of a linear-attention layer in B, (32): g_0 (-alpha
/// A^T p)^T. gradient() has contributed the gradient in A, p h^T, as (8) with the head [h; 0]. At
/// the call omega holds [A^T p; B^T p]; it is set to zero, since the layer has no other parameters.
template <class Design>
METASPAN_HD void PanelAlgebra<Design>::contribute_attention(Design& design) {
  const Index half = k() / 2;
  double *c = a_bar(0), *rest = c + half * Columns::stride, *omega = row(at_.omega);
  const double alpha = method_.alpha;
  Columns::fill(half, 0.0, c);
  Columns::each(half, [=](Index i) { rest[i] = -alpha * omega[i]; });
  contribute(design, g(0), c);
  Columns::fill(at_.parameters, 0.0, omega);
}

}  // namespace metaspan
