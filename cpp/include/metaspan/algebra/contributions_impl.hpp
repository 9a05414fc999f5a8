// Definitions of the members of PanelAlgebra for the contributions (25)-(27) of a task, for
// clipping, (29), and for the gradients of learned step sizes, (34), and of a private head, (35).
// engines/task_algebra.cpp, which instantiates TaskAlgebra, includes this file.
#pragma once

#include "metaspan/algebra/task_algebra.hpp"

namespace metaspan {

/// Computes the head of (26) in normalised units: w_1 solves (Z^T Z + lambda I) w_1 = Z^T y +
/// lambda w. The Cholesky factor is kept for contribute_solved(). In columns without a task the
/// factored matrix is the identity.
template <class Design>
METASPAN_HD void PanelAlgebra<Design>::solve_head(Design& design) {
  double *G = row(at_.system), *next = row(at_.head(1));
  design.normal_equations(G, next);
  const double *w = head(0), penalty = method_.penalty;
  const Index tasks = design.tasks();
  for (Index j = 0; j < k(); ++j) {
    double* diagonal = row(at_.system + kernels::triangle(j) + j);
    Columns::each_in_column(1, [=](Index i, int t) { diagonal[i] += t < tasks ? penalty : 1; });
  }
  Columns::each(k(), [=](Index i) { next[i] += penalty * w[i]; });
  Columns::factor_cholesky(k(), G);
  Columns::solve_cholesky(k(), G, next);
}

/// Computes the residuals that only the losses need: the outer residual at w_J if the contribution
/// has no outer part, r_0 if the head is solved for, and r_0 on all blocks with fresh steps.
template <class Design>
METASPAN_HD void PanelAlgebra<Design>::measure_others(Design& design) {
  if (!method_.has_outer_part()) measure_outer(design);
  if (!method_.solves_head && !method_.fresh_steps) return;
  double* first = method_.fresh_steps ? row(at_.first_residual) : residual_of(g(0));
  design.residual_in(head(0), {}, kNoSlot, first);
}

/// Adds gamma times the outer loss at (B, v) to the contribution of a task, (35): the term X'^T
/// s'_v (gamma v)^T of grad_B, and grad_v = gamma B^T X'^T s'_v. No inner step uses v, so there is
/// no backward pass.
template <class Design>
METASPAN_HD void PanelAlgebra<Design>::contribute_private_head(Design& design) {
  const double* v = row(at_.heads + private_row());
  double *grad_v = row(at_.omega + private_row()), *c = row(at_.private_c);
  const double gamma = method_.private_weight;
  design.residual_out(v, {}, p_v(), residual_of(p_v()));
  design.features(p_v(), grad_v);
  Columns::each(k(), [=](Index i) { grad_v[i] *= gamma; });
  Columns::each(k(), [=](Index i) { c[i] = gamma * v[i]; });
  contribute(design, p_v(), c);
}

/// Adds the part of inner step j to the gradient of the learned step sizes, (34): -omega * (B_j^T
/// g_j) and, if the step moves B, -w_j . (Omega^T g_j), with the omega and Omega from before the
/// backward step j. Omega is p w_J^T plus the pairs v c^T, and each pair adds (v . g_j) (c . w_j)
/// to w_j . (Omega^T g_j).
template <class Design>
METASPAN_HD void PanelAlgebra<Design>::differentiate_step(Design& design, int j) {
  const double *omega = row(at_.omega), *b = pull(j), *w_j = head(j);
  double *grad = grad_steps(), dots[kWidth], weights[kWidth];
  if (method_.step_sizes == StepSizes::per_entry) {
    return Columns::each(k(), [=](Index i) { grad[i] -= omega[i] * b[i]; });
  }
  const double *x = dots, *y = weights;
  Columns::dot(k(), omega, b, dots);
  Columns::each_in_column(1, [=](Index i, int t) { grad[i] -= x[t]; });
  const auto add_pair = [&](int slot, const double* c) {
    design.dot(slot, g(j), dots);
    Columns::dot(k(), c, w_j, weights);
    Columns::each_in_column(1, [=](Index i, int t) { grad[i] -= x[t] * y[t]; });
  };
  if (!moves_B()) return;
  add_pair(p(), adapted());
  for (int i = 0; i < pairs(j); ++i) add_pair(pair(i).slot, pair(i).c);
}

/// Contributes the moves of the inner loop, (25): B - B_J = alpha sum_l g_l w_l^T and w - w_J. An
/// outer step of size 1 along the mean of these moves over the tasks is federated averaging.
template <class Design>
METASPAN_HD void PanelAlgebra<Design>::contribute_moves(Design& design) {
  for (int l = 0; l < method_.inner_steps; ++l) {
    double* c = a_bar(l);
    const double *w_l = head(l), alpha = method_.alpha;
    Columns::each(k(), [=](Index i) { c[i] = alpha * w_l[i]; });
    contribute(design, g(l), c);
  }
  const double *w = head(0), *w_J = adapted();
  double* omega = row(at_.omega);
  Columns::each(k(), [=](Index i) { omega[i] = w[i] - w_J[i]; });
}

/// Contributes the rest of the gradient through a solved head, (26), or the gradient of the inner
/// loss at a solved head, (27). With G = Z^T Z + lambda I and a = G^{-1} omega, the derivative of
/// w_1 adds X^T Z (-a) w_1^T and X^T r (-a)^T to grad_B, and grad_w is lambda a, since only the
/// penalty depends on w. In (27) the derivative of the penalised inner loss with respect to w_1
/// vanishes, so no backward pass is needed.
template <class Design>
METASPAN_HD void PanelAlgebra<Design>::contribute_solved(Design& design) {
  const double *w = head(0), *w_1 = adapted(), penalty = method_.penalty;
  double* omega = row(at_.omega);
  if (method_.contribution == Contribution::inner_gradient) {
    design.residual_in(w_1, {}, g(0), residual_of(g(0)));
    contribute(design, g(0), w_1);
    return Columns::each(k(), [=](Index i) { omega[i] = penalty * (w[i] - w_1[i]); });
  }
  Columns::solve_cholesky(k(), row(at_.system), omega);
  if (method_.exact) {
    double* minus_a = a_bar(0);
    Columns::each(k(), [=](Index i) { minus_a[i] = -omega[i]; });
    design.product_in(minus_a, {}, g_bar(0), residual_of(g_bar(0)));
    contribute(design, g_bar(0), w_1);
    design.residual_in(w_1, {}, g(0), residual_of(g(0)));
    contribute(design, g(0), minus_a);
  }
  Columns::each(at_.parameters, [=](Index i) { omega[i] *= penalty; });
}

/// Adds the terms of a contribution that gradient() has not added: those of the backward pass (9),
/// or those of (25)-(27) and (32). Then clips the contribution, (29).
template <class Design>
METASPAN_HD void PanelAlgebra<Design>::complete(Design& design) {
  if (method_.contribution == Contribution::inner_moves) {
    contribute_moves(design);
  } else if (method_.solves_head) {
    contribute_solved(design);
  } else if (method_.is_attention()) {
    contribute_attention(design);
  } else {
    const int steps = method_.inner_steps;
    for (int j = steps - 1; method_.has_way_back() && j >= 0; --j) step_back(design, j);
    // Without a backward pass, every step uses omega_J and Omega_J, (34).
    const bool stays = !method_.has_way_back() && learns_steps();
    for (int j = 0; stays && j < steps; ++j) differentiate_step(design, j);
  }
  if (method_.clips()) clip(design);
}

/// Returns term number i of the contribution of a task to grad_B.
template <class Design>
METASPAN_HD auto PanelAlgebra<Design>::term_of_B(int i) const -> Pair {
  const AlgebraLayout::Term term = at_.term(method_, i);
  return {term.slot, row(term.c)};
}

/// Adds the term slot c^T to grad_B, unless contributions are clipped: clip() adds the terms then,
/// once all of them are known.
template <class Design>
METASPAN_HD void PanelAlgebra<Design>::contribute(Design& design, int slot, const double* c) {
  if (!method_.clips()) design.add(slot, c);
}

/// Scales the contribution of every task to a norm of at most c, (29), and adds its terms to
/// grad_B. The squared norm of sum_t v_t c_t^T is sum_st (v_s . v_t) (c_s . c_t), so no vector is
/// formed for it. If the norm overflows, the contribution becomes NaN, and the outer step is
/// refused.
template <class Design>
METASPAN_HD void PanelAlgebra<Design>::clip(Design& design) {
  double squares[kWidth], dots[kWidth], products[kWidth], factors[kWidth];
  double* omega = row(at_.omega);
  Columns::dot(at_.parameters, omega, omega, squares);
  for (int a = 0; a < method_.terms(); ++a) {
    const Pair first = term_of_B(a);
    for (int b = 0; b <= a; ++b) {
      const Pair second = term_of_B(b);
      design.dot(first.slot, second.slot, dots);
      Columns::dot(k(), first.c, second.c, products);
      const double count = a == b ? 1 : 2;
      for (Index t = 0; t < kWidth; ++t) squares[t] += count * dots[t] * products[t];
    }
  }
  for (Index t = 0; t < kWidth; ++t) factors[t] = clipping_factor(squares[t], method_.clip);
  const double* scale = factors;
  for (int a = 0; a < method_.terms(); ++a) {
    const Pair term = term_of_B(a);
    double* c = row(at_.clipped + a * at_.step_k);
    Columns::each_in_column(k(), [=](Index i, int t) { c[i] = scale[t] * term.c[i]; });
    design.add(term.slot, c);
  }
  Columns::each_in_column(at_.parameters, [=](Index i, int t) { omega[i] *= scale[t]; });
}

}  // namespace metaspan
