// Definitions of the members of TaskAlgebra for linear attention, (32), at the state [A, B].
// engines/task_algebra.cpp, which instantiates TaskAlgebra, includes this file.
#pragma once

#include <algorithm>

#include "metaspan/algebra/task_algebra.hpp"

namespace metaspan {

/// Computes the head [h; 0] of the state [A, B], (32). `features` holds the products A^T g_0 and,
/// below them, B^T g_0. The head of A is h = -alpha B^T g_0, and the head of B is zero.
template <class Design>
void TaskAlgebra<Design>::read_context(const double* features, double* head) const {
  const Index half = k_ / 2 * kWidth;
  for (Index i = 0; i < half; ++i) head[i] = -method_.alpha * features[half + i];
  std::fill_n(head + half, half, 0.0);
}

/// Contributes the gradient of the outer loss of a linear-attention layer in B, (32): g_0 (-alpha
/// A^T p)^T. gradient() has contributed the gradient in A, p h^T, as (8) with the head [h; 0]. At
/// the call omega holds [A^T p; B^T p]; it is set to zero, since the layer has no other parameters.
template <class Design>
void TaskAlgebra<Design>::contribute_attention(Design& design) {
  const Index half = k_ / 2 * kWidth;
  double* c = a_bars_[0].data();
  std::fill_n(c, half, 0.0);
  for (Index i = 0; i < half; ++i) c[half + i] = -method_.alpha * omega_[i];
  contribute(design, g(0), c);
  std::fill(omega_.begin(), omega_.end(), 0.0);
}

}  // namespace metaspan
