// Definitions of the members of TaskAlgebra for the contributions (25)-(27) of a task, for
// clipping, (29), and for the gradients of learned step sizes, (34), and of a private head, (35).
// engines/task_algebra.cpp, which instantiates TaskAlgebra, includes this file.
#pragma once

#include <algorithm>

#include "cholesky.hpp"
#include "metaspan/algebra/task_algebra.hpp"

namespace metaspan {

/// Computes the head of (26) in normalised units: w_1 solves (Z^T Z + lambda I) w_1 = Z^T y +
/// lambda w. The Cholesky factor is kept for contribute_solved(). In columns without a task the
/// factored matrix is the identity.
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

/// Computes the residuals that only the losses need: the outer residual at w_J if the contribution
/// has no outer part, r_0 if the head is solved for, and r_0 on all blocks with fresh steps.
template <class Design>
void TaskAlgebra<Design>::measure_others(Design& design) {
  if (!method_.has_outer_part()) {
    push_moves(method_.inner_steps, adapted());
    design.residual_out(adapted(), terms(), kNoSlot, outer_residual_.data());
  }
  if (!method_.solves_head && !method_.fresh_steps) return;
  terms_.clear();
  Panel& first = method_.fresh_steps ? first_residual_ : residuals_[0];
  design.residual_in(heads_[0].data(), terms(), kNoSlot, first.data());
}

/// Adds gamma times the outer loss at (B, v) to the contribution of a task, (35): the term X'^T
/// s'_v (gamma v)^T of grad_B, and grad_v = gamma B^T X'^T s'_v. No inner step uses v, so there is
/// no backward pass.
template <class Design>
void TaskAlgebra<Design>::contribute_private_head(Design& design) {
  const double* v = heads_[0].data() + private_row() * kWidth;
  double *grad_v = omega_.data() + private_row() * kWidth, *c = private_c_.data();
  const double gamma = method_.private_weight;
  terms_.clear();
  design.residual_out(v, terms(), p_v(), private_residual_.data());
  design.features(p_v(), grad_v);
  for (Index i = 0; i < k_ * kWidth; ++i) grad_v[i] *= gamma;
  for (Index i = 0; i < k_ * kWidth; ++i) c[i] = gamma * v[i];
  contribute(design, p_v(), c);
}

/// Adds the part of inner step j to the gradient of the learned step sizes, (34): -omega * (B_j^T
/// g_j) and, if the step moves B, -w_j . (Omega^T g_j), with the omega and Omega from before the
/// backward step j. Omega is p w_J^T plus the pairs v c^T, and each pair adds (v . g_j) (c . w_j)
/// to w_j . (Omega^T g_j).
template <class Design>
void TaskAlgebra<Design>::differentiate_step(Design& design, int j) {
  const double *omega = omega_.data(), *b = pulls_[j].data(), *w_j = heads_[j].data();
  double *grad = grad_steps(), dots[kWidth], weights[kWidth];
  if (method_.step_sizes == StepSizes::per_entry) {
    for (Index i = 0; i < k_ * kWidth; ++i) grad[i] -= omega[i] * b[i];
    return;
  }
  dot_columns<kWidth, kChainsOf<Design>>(k_, omega, b, dots);
  for (int t = 0; t < kWidth; ++t) grad[t] -= dots[t];
  const auto add_pair = [&](int slot, const double* c) {
    design.dot(slot, g(j), dots);
    dot_columns<kWidth, kChainsOf<Design>>(k_, c, w_j, weights);
    for (int t = 0; t < kWidth; ++t) grad[t] -= dots[t] * weights[t];
  };
  if (!moves_B()) return;
  add_pair(p(), adapted());
  for (const Pair& pair : pairs_) add_pair(pair.slot, pair.c);
}

/// Contributes the moves of the inner loop, (25): B - B_J = alpha sum_l g_l w_l^T and w - w_J. An
/// outer step of size 1 along the mean of these moves over the tasks is federated averaging.
template <class Design>
void TaskAlgebra<Design>::contribute_moves(Design& design) {
  for (int l = 0; l < method_.inner_steps; ++l) {
    double* c = a_bars_[l].data();
    for (Index i = 0; i < k_ * kWidth; ++i) {
      c[i] = method_.alpha * heads_[l][static_cast<std::size_t>(i)];
    }
    contribute(design, g(l), c);
  }
  const double *w = heads_[0].data(), *w_J = adapted();
  for (Index i = 0; i < k_ * kWidth; ++i) omega_[i] = w[i] - w_J[i];
}

/// Contributes the rest of the gradient through a solved head, (26), or the gradient of the inner
/// loss at a solved head, (27). With G = Z^T Z + lambda I and a = G^{-1} omega, the derivative of
/// w_1 adds X^T Z (-a) w_1^T and X^T r (-a)^T to grad_B, and grad_w is lambda a, since only the
/// penalty depends on w. In (27) the derivative of the penalised inner loss with respect to w_1
/// vanishes, so no backward pass is needed.
template <class Design>
void TaskAlgebra<Design>::contribute_solved(Design& design) {
  const double *w = heads_[0].data(), *w_1 = adapted();
  terms_.clear();
  if (method_.contribution == Contribution::inner_gradient) {
    design.residual_in(w_1, terms(), g(0), residuals_[0].data());
    contribute(design, g(0), w_1);
    for (Index i = 0; i < k_ * kWidth; ++i) omega_[i] = method_.penalty * (w[i] - w_1[i]);
    return;
  }
  kernels::solve_cholesky<kWidth>(k_, system_.data(), omega_.data());
  if (method_.exact) {
    double* minus_a = a_bars_[0].data();
    for (Index i = 0; i < k_ * kWidth; ++i) minus_a[i] = -omega_[i];
    design.product_in(minus_a, terms(), g_bar(0), r_bars_[0].data());
    contribute(design, g_bar(0), w_1);
    design.residual_in(w_1, terms(), g(0), residuals_[0].data());
    contribute(design, g(0), minus_a);
  }
  for (double& value : omega_) value *= method_.penalty;
}

/// Adds the terms of a contribution that gradient() has not added: those of the backward pass (9),
/// or those of (25)-(27) and (32). Then clips the contribution, (29).
template <class Design>
void TaskAlgebra<Design>::complete(Design& design) {
  if (method_.contribution == Contribution::inner_moves) {
    contribute_moves(design);
  } else if (method_.solves_head) {
    contribute_solved(design);
  } else if (method_.is_attention()) {
    contribute_attention(design);
  } else {
    pairs_.clear();
    const int steps = method_.inner_steps;
    for (int j = steps - 1; method_.has_way_back() && j >= 0; --j) step_back(design, j);
    // Without a backward pass, every step uses omega_J and Omega_J, (34).
    const bool stays = !method_.has_way_back() && !pulls_.empty();
    for (int j = 0; stays && j < steps; ++j) differentiate_step(design, j);
  }
  if (method_.clips()) clip(design);
}

/// Adds the term slot c^T to grad_B or, if contributions are clipped, keeps the term until all
/// terms of the task are known.
template <class Design>
void TaskAlgebra<Design>::contribute(Design& design, int slot, const double* c) {
  if (!method_.clips()) return design.add(slot, c);
  terms_of_B_.push_back({slot, c});
}

/// Scales the contribution of every task to a norm of at most c, (29), and adds its terms to
/// grad_B. The squared norm of sum_t v_t c_t^T is sum_st (v_s . v_t) (c_s . c_t), so no vector is
/// formed for it. If the norm overflows, the contribution becomes NaN, and the outer step is
/// refused.
template <class Design>
void TaskAlgebra<Design>::clip(Design& design) {
  double squares[kWidth], dots[kWidth], products[kWidth], factors[kWidth];
  const Index parameters = method_.parameters(k_);
  dot_columns<kWidth, kChainsOf<Design>>(parameters, omega_.data(), omega_.data(), squares);
  for (std::size_t a = 0; a < terms_of_B_.size(); ++a) {
    for (std::size_t b = 0; b <= a; ++b) {
      design.dot(terms_of_B_[a].slot, terms_of_B_[b].slot, dots);
      dot_columns<kWidth, kChainsOf<Design>>(k_, terms_of_B_[a].c, terms_of_B_[b].c, products);
      const double count = a == b ? 1 : 2;
      for (Index t = 0; t < kWidth; ++t) squares[t] += count * dots[t] * products[t];
    }
  }
  for (Index t = 0; t < kWidth; ++t) factors[t] = clipping_factor(squares[t], method_.clip);
  for (std::size_t a = 0; a < terms_of_B_.size(); ++a) {
    double* c = clipped_[a].data();
    for (Index i = 0; i < k_ * kWidth; ++i) c[i] = factors[i % kWidth] * terms_of_B_[a].c[i];
    design.add(terms_of_B_[a].slot, c);
  }
  for (Index i = 0; i < parameters * kWidth; ++i) omega_[i] *= factors[i % kWidth];
}

}  // namespace metaspan
