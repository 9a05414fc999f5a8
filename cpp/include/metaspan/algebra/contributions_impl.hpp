// Definitions of the members of TaskAlgebra for the contributions (25)-(27) of a task.
// engines/task_algebra.cpp, which instantiates TaskAlgebra, includes this file.
#pragma once

#include <algorithm>

#include "cholesky.hpp"
#include "metaspan/algebra/task_algebra.hpp"

namespace metaspan {

/// Computes the head of (26) in normalised units: w_1 solves (Z^T Z + lambda I) w_1 = Z^T y +
/// lambda w. contribute_solved() uses the Cholesky factorisation again. In columns without a task
/// the factored matrix is the identity.
template <class Design>
void TaskAlgebra<Design>::solve_head(Design& design) {
  double* G = system_.data();
  double* next = heads_[1].data();
  design.normal_equations(G, next);
  for (Index i = 0; i < k_; ++i) {
    double* diagonal = G + (kernels::triangle(i) + i) * kWidth;
    for (Index t = 0; t < kWidth; ++t) {
      diagonal[t] += t < design.tasks() ? method_.penalty : 1;
      next[i * kWidth + t] += method_.penalty * heads_[0][static_cast<std::size_t>(i * kWidth + t)];
    }
  }
  kernels::factor_cholesky<kWidth>(k_, G);
  kernels::solve_cholesky<kWidth>(k_, G, next);
}

/// Computes the residuals that only losses need: the outer residual at w_J for a contribution
/// without an outer part, and r_0 for a solved head.
template <class Design>
void TaskAlgebra<Design>::measure_others(Design& design) {
  if (!method_.has_outer_part()) {
    push_moves(method_.inner_steps, adapted());
    design.residual_out(adapted(), terms(), kNoSlot, outer_residual_.data());
  }
  if (!method_.solves_head) return;
  terms_.clear();
  design.residual_in(heads_[0].data(), terms(), kNoSlot, residuals_[0].data());
}

/// The moves of the inner loop, (25): B - B_J = alpha sum_l g_l w_l^T and w - w_J. An outer step of
/// size 1 along the average of these moves over the tasks is federated averaging.
template <class Design>
void TaskAlgebra<Design>::contribute_moves(Design& design) {
  for (int l = 0; l < method_.inner_steps; ++l) {
    double* c = a_bars_[l].data();
    for (Index i = 0; i < k_ * kWidth; ++i) {
      c[i] = method_.alpha * heads_[l][static_cast<std::size_t>(i)];
    }
    design.add(g(l), c);
  }
  const double *w = heads_[0].data(), *w_J = adapted();
  for (Index i = 0; i < k_ * kWidth; ++i) omega_[i] = w[i] - w_J[i];
}

/// The gradient through a solved head, (26), or the gradient of the inner loss at a solved head,
/// (27). With G = Z^T Z + lambda I and a = G^{-1} omega, the derivative of w_1 adds X^T Z (-a)
/// w_1^T and X^T r (-a)^T to grad_B, and grad_w is lambda a, since only the penalty depends on w.
/// In (27) the derivative of the penalised inner loss with respect to w_1 vanishes, so no backward
/// pass is needed.
template <class Design>
void TaskAlgebra<Design>::contribute_solved(Design& design) {
  const double *w = heads_[0].data(), *w_1 = adapted();
  terms_.clear();
  if (method_.contribution == Contribution::inner_gradient) {
    design.residual_in(w_1, terms(), g(0), residuals_[0].data());
    design.add(g(0), w_1);
    for (Index i = 0; i < k_ * kWidth; ++i) omega_[i] = method_.penalty * (w[i] - w_1[i]);
    return;
  }
  kernels::solve_cholesky<kWidth>(k_, system_.data(), omega_.data());
  if (method_.exact) {
    double* minus_a = a_bars_[0].data();
    for (Index i = 0; i < k_ * kWidth; ++i) minus_a[i] = -omega_[i];
    design.product_in(minus_a, terms(), g_bar(0), r_bars_[0].data());
    design.add(g_bar(0), w_1);
    design.residual_in(w_1, terms(), g(0), residuals_[0].data());
    design.add(g(0), minus_a);
  }
  for (double& value : omega_) value *= method_.penalty;
}

}  // namespace metaspan
