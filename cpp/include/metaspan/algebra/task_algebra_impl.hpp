// Definitions of the members of PanelAlgebra for inner loops of gradient steps, (5)-(10), included
// by engines/task_algebra.cpp, which instantiates TaskAlgebra.
#pragma once

#include "metaspan/algebra/task_algebra.hpp"

namespace metaspan {

/// Returns how many pairs Omega has before the backward step j, (9): two for each later step.
template <class Design>
METASPAN_HD int PanelAlgebra<Design>::pairs(int j) const {
  return moves_B() && method_.has_way_back() ? 2 * (at_.steps - 1 - j) : 0;
}

/// Returns pair number i of Omega, (9). The last step comes first, and each step adds (X^T r_bar_j,
/// w_j) and (g_j, a_bar_j).
template <class Design>
METASPAN_HD auto PanelAlgebra<Design>::pair(int i) const -> Pair {
  const int j = at_.steps - 1 - i / 2;
  if (i % 2 == 0) return {g_bar(j), head(j)};
  return {g(j), a_bar(j)};
}

/// Appends the term -alpha (a . b) of the next slot, with a factor for every task.
template <class Design>
METASPAN_HD void PanelAlgebra<Design>::push_term(const double* a, const double* b) {
  double factor[kWidth];
  Columns::dot(k(), a, b, factor);
  for (int t = 0; t < kWidth; ++t) factor[t] *= -method_.alpha;
  Columns::put(factor, row(at_.factors + count_++));
}

/// Sets the terms of B_moves V - B V, (6): -alpha sum_{l < moves} (w_l . V) g_l. Empty for ANIL.
template <class Design>
METASPAN_HD void PanelAlgebra<Design>::push_moves(int moves, const double* V) {
  count_ = 0;
  moves_ = moves;
  for (int l = 0; moves_B() && l < moves; ++l) push_term(head(l), V);
}

/// Computes out -= alpha (slot a . slot b) c.
template <class Design>
METASPAN_HD void PanelAlgebra<Design>::subtract_pair(Design& design, int a, int b, const double* c,
                                                     double* out) {
  double dots[kWidth];
  design.dot(a, b, dots);
  Columns::add(k(), -method_.alpha, dots, c, out);
}

/// Adds B_moves^T v - B^T v, (6), for the vector v of a slot: -alpha sum_{l < moves} w_l (g_l . v).
template <class Design>
METASPAN_HD void PanelAlgebra<Design>::subtract_moves(Design& design, int moves, int slot,
                                                      double* out) {
  for (int l = 0; moves_B() && l < moves; ++l) subtract_pair(design, g(l), slot, head(l), out);
}

/// The inner loop (2) in normalised units, g_j = X^T r_j. One call of the design computes r_j and
/// g_j, since it can reuse each row of X while the row is in a cache. Apart from g_j, the step
/// needs only B_j^T g_j. A single learned step size is the same for all tasks and replaces alpha.
template <class Design>
METASPAN_HD void PanelAlgebra<Design>::adapt(Design& design) {
  if (method_.solves_head) return solve_head(design);
  if (method_.step_sizes == StepSizes::one) method_.alpha = Columns::first(step_sizes());
  const double minus_alpha = -method_.alpha;
  for (int j = 0; j < method_.inner_steps; ++j) {
    const double* now = head(j);
    double* next = row(at_.head(j + 1));
    push_moves(j, now);
    design.residual_in(now, terms(), g(j), residual_of(g(j)));
    if (!method_.adapt_head) {
      Columns::copy(k(), now, next);
      continue;
    }
    // w_{j+1} = w_j - alpha B_j^T g_j
    double* b = pull(j);
    design.features(g(j), b);
    if (method_.is_attention()) return read_context(b, next);
    subtract_moves(design, j, g(j), b);
    if (method_.step_sizes == StepSizes::per_entry) {
      const double* alpha = step_sizes();
      Columns::each(k(), [=](Index i) { next[i] = now[i] - alpha[i] * b[i]; });
      continue;
    }
    Columns::each(k(), [=](Index i) { next[i] = now[i] + minus_alpha * b[i]; });
  }
}

/// What a task contributes to the outer step: the gradient of the outer loss, (7)-(10), or one of
/// the contributions of (25)-(27). The outer residual comes first, since every term of the gradient
/// is linear in this residual.
template <class Design>
METASPAN_HD void PanelAlgebra<Design>::gradient(Design& design, bool losses) {
  adapt(design);
  const int steps = method_.inner_steps;
  const double* w_J = adapted();
  double* omega = row(at_.omega);

  Columns::fill(at_.parameters - k(), 0.0, row(at_.omega + k()));
  if (method_.private_head) contribute_private_head(design);
  if (method_.has_outer_part()) {
    // (7): the outer residual and omega = B_J^T p.
    push_moves(steps, w_J);
    // s' is zero in columns without a task. All results below are linear in s', hence zero in those
    // columns too.
    design.residual_out(w_J, terms(), p(), residual_of(p()));
    design.features(p(), omega);
    subtract_moves(design, steps, p(), omega);
    contribute(design, p(), w_J);  // (8)
  }
  if (losses) measure(design);
  complete(design);
}

/// Without the gradient, the outer residual at w_J needs no product with X'^T.
template <class Design>
METASPAN_HD void PanelAlgebra<Design>::outputs(Design& design, const double* w, bool losses) {
  spread(w);
  adapt(design);
  if (!losses) return;
  if (method_.has_outer_part()) measure_outer(design);
  measure(design);
}

/// Computes the outer residual s' at w_J, without X'^T s'.
template <class Design>
METASPAN_HD void PanelAlgebra<Design>::measure_outer(Design& design) {
  push_moves(method_.inner_steps, adapted());
  design.residual_out(adapted(), terms(), kNoSlot, residual_of(p()));
}

/// Computes loss(). Only losses need the inner residual at w_J, which takes one more product with
/// X. The inner residual before the loop is r_0; for J = 0 both are equal.
template <class Design>
METASPAN_HD void PanelAlgebra<Design>::measure(Design& design) {
  measure_others(design);
  push_moves(at_.steps, adapted());
  double* last = row(at_.scratch_in);
  design.residual_in(adapted(), terms(), kNoSlot, last);
  const double* first = at_.steps > 0 ? residual(0) : last;
  if (method_.fresh_steps) first = row(at_.first_residual);
  const double* s = residual_of(p());
  const Index m_in = design.m_in() - design.tracked(), m_out = design.m_out() - design.tracked();
  put_loss(before, m_in, first);
  put_loss(after, m_in, last);
  put_loss(outer, m_out, s);
}

/// Writes |r|^2 / 2 of a panel of normalised residuals, (1).
template <class Design>
METASPAN_HD void PanelAlgebra<Design>::put_loss(Loss which, Index m, const double* r) {
  double squares[kWidth];
  Columns::dot(m, r, r, squares);
  for (int t = 0; t < kWidth; ++t) squares[t] *= 0.5;
  Columns::put(squares, row(at_.losses + which));
}

/// Step j of the backward pass (9). Omega is stored as p w_J^T plus the pairs v c^T, so products
/// with Omega need only inner products of slots. a_bar comes first, then r_bar, omega and Omega, so
/// every right-hand side has the omega and Omega from before the step. No step reads the pairs of
/// step 0, so these are not stored. If the inner loop does not move the head, a_bar is zero.
template <class Design>
METASPAN_HD void PanelAlgebra<Design>::step_back(Design& design, int j) {
  const double *w_j = head(j), *w_J = adapted();
  double *a_bar_j = a_bar(j), *omega = row(at_.omega), *scratch = row(at_.scratch_k);

  if (learns_steps()) differentiate_step(design, j);
  const double to_head = method_.adapt_head ? -method_.alpha : 0;
  Columns::each(k(), [=](Index i) { a_bar_j[i] = to_head * omega[i]; });
  if (method_.step_sizes == StepSizes::per_entry) {
    const double* alpha = step_sizes();
    Columns::each(k(), [=](Index i) { a_bar_j[i] = -alpha[i] * omega[i]; });
  }
  // r_bar = X (B_j a_bar [- alpha Omega w_j])
  push_moves(j, a_bar_j);
  if (moves_B()) {
    push_term(w_J, w_j);
    for (int i = 0; i < pairs(j); ++i) push_term(pair(i).c, w_j);
  }
  design.product_in(a_bar_j, terms(), g_bar(j), residual_of(g_bar(j)));

  // omega += B_j^T X^T r_bar [- alpha Omega^T g_j]
  design.features(g_bar(j), scratch);
  Columns::each(k(), [=](Index i) { omega[i] += scratch[i]; });
  subtract_moves(design, j, g_bar(j), omega);
  if (moves_B()) {
    subtract_pair(design, p(), g(j), w_J, omega);
    for (int i = 0; i < pairs(j); ++i) subtract_pair(design, pair(i).slot, g(j), pair(i).c, omega);
  }

  // Omega += X^T r_bar w_j^T + g_j a_bar^T
  contribute(design, g_bar(j), w_j);
  contribute(design, g(j), a_bar_j);
}

}  // namespace metaspan
