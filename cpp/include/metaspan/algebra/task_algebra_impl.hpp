// Definitions of the members of TaskAlgebra for inner loops of gradient steps, (5)-(10), included
// by engines/task_algebra.cpp, which instantiates TaskAlgebra.
#pragma once

#include <algorithm>

#include "cholesky.hpp"
#include "metaspan/algebra/task_algebra.hpp"

namespace metaspan {

using kernels::add_columns;
using kernels::dot_columns;

template <class Design>
TaskAlgebra<Design>::TaskAlgebra(const Method& method, Index k, Index max_m_in, Index max_m_out)
    : method_(method), k_(k) {
  const auto panel = [](Index rows) { return Panel(static_cast<std::size_t>(rows * kWidth)); };
  const int steps = method.inner_steps;
  for (int j = 0; j <= steps; ++j) heads_.push_back(panel(j == 0 ? method.parameters(k) : k));
  for (int j = 0; j < steps; ++j) {
    residuals_.push_back(panel(max_m_in));
    if (method.exact) r_bars_.push_back(panel(max_m_in));
    if (method.has_inner_part()) a_bars_.push_back(panel(k));
    if (method.step_sizes != StepSizes::fixed) pulls_.push_back(panel(k));
  }
  if (method.solves_head) system_ = panel(kernels::triangle(k));
  pairs_.reserve(2 * static_cast<std::size_t>(steps));
  for (int t = 0; method.clips() && t < method.terms(); ++t) clipped_.push_back(panel(k));
  terms_of_B_.reserve(clipped_.size());
  terms_.reserve(3 * static_cast<std::size_t>(steps) + 1);
  outer_residual_ = panel(max_m_out);
  in_scratch_ = panel(max_m_in);
  k_scratch_ = panel(k);
  omega_ = panel(method.parameters(k));
  if (method.fresh_steps) first_residual_ = panel(max_m_in);
  if (method.private_head) {
    private_residual_ = panel(max_m_out);
    private_c_ = panel(k);
  }
  for (Panel& loss : losses_) loss.resize(kWidth);
}

/// Appends the term -alpha (a . b) slot, with a factor for every task.
template <class Design>
void TaskAlgebra<Design>::push_term(int slot, const double* a, const double* b) {
  Term<kWidth>& term = terms_.emplace_back();
  term.slot = slot;
  dot_columns<kWidth, kChainsOf<Design>>(k_, a, b, term.factor);
  for (double& factor : term.factor) factor *= -method_.alpha;
}

/// Sets the terms of B_moves V - B V, (6): -alpha sum_{l < moves} (w_l . V) g_l. Empty for ANIL.
template <class Design>
void TaskAlgebra<Design>::push_moves(int moves, const double* V) {
  terms_.clear();
  for (int l = 0; moves_B() && l < moves; ++l) push_term(g(l), heads_[l].data(), V);
}

/// Computes out -= alpha (slot a . slot b) c.
template <class Design>
void TaskAlgebra<Design>::subtract_pair(Design& design, int a, int b, const double* c,
                                        double* out) {
  double dots[kWidth];
  design.dot(a, b, dots);
  add_columns<kWidth>(k_, -method_.alpha, dots, c, out);
}

/// Adds B_moves^T v - B^T v, (6), for the vector v of a slot: -alpha sum_{l < moves} w_l (g_l . v).
template <class Design>
void TaskAlgebra<Design>::subtract_moves(Design& design, int moves, int slot, double* out) {
  for (int l = 0; moves_B() && l < moves; ++l) {
    subtract_pair(design, g(l), slot, heads_[l].data(), out);
  }
}

/// The inner loop (2) in normalised units, g_j = X^T r_j. One call of the design computes r_j and
/// g_j, since it can reuse each row of X while the row is in a cache. Apart from g_j, the step
/// needs only B_j^T g_j. A single learned step size is the same for all tasks and replaces alpha.
template <class Design>
void TaskAlgebra<Design>::adapt(Design& design) {
  if (method_.solves_head) return solve_head(design);
  if (method_.step_sizes == StepSizes::one) method_.alpha = *step_sizes();
  const double minus_alpha = -method_.alpha;
  for (int j = 0; j < method_.inner_steps; ++j) {
    double* r = residuals_[j].data();
    const double* now = heads_[j].data();
    double* next = heads_[j + 1].data();
    push_moves(j, now);
    design.residual_in(now, terms(), g(j), r);
    if (!method_.adapt_head) {
      std::copy_n(now, k_ * kWidth, next);
      continue;
    }
    // w_{j+1} = w_j - alpha B_j^T g_j
    double* b = pull(j);
    design.features(g(j), b);
    if (method_.is_attention()) return read_context(b, next);
    subtract_moves(design, j, g(j), b);
    if (method_.step_sizes == StepSizes::per_entry) {
      const double* alpha = step_sizes();
      for (Index i = 0; i < k_ * kWidth; ++i) next[i] = now[i] - alpha[i] * b[i];
      continue;
    }
    for (Index i = 0; i < k_ * kWidth; ++i) next[i] = now[i] + minus_alpha * b[i];
  }
}

/// What a task contributes to the outer step: the gradient of the outer loss, (7)-(10), or one of
/// the contributions of (25)-(27). The outer residual comes first, since every term of the gradient
/// is linear in this residual. Only losses need the inner residual at w_J, which takes one more
/// product with X.
template <class Design>
void TaskAlgebra<Design>::gradient(Design& design, bool losses) {
  adapt(design);
  const int steps = method_.inner_steps;
  const Index m_out = design.m_out(), tracked = design.tracked();
  const double* w_J = adapted();
  double* s = outer_residual_.data();  // r', which is s' in normalised units
  terms_of_B_.clear();

  std::fill(omega_.begin() + k_ * kWidth, omega_.end(), 0.0);
  if (method_.private_head) contribute_private_head(design);
  if (method_.has_outer_part()) {
    // (7): the outer residual and omega = B_J^T p.
    push_moves(steps, w_J);
    // s' is zero in columns without a task. All results below are linear in s', hence zero in those
    // columns too.
    design.residual_out(w_J, terms(), p(), s);
    design.features(p(), omega_.data());
    subtract_moves(design, steps, p(), omega_.data());
    contribute(design, p(), w_J);  // (8)
  }
  if (losses) {
    measure_others(design);
    // The inner residual after the loop. The inner residual before the loop is r_0; for J = 0 both
    // are equal.
    push_moves(steps, w_J);
    design.residual_in(w_J, terms(), kNoSlot, in_scratch_.data());
    const double* last = in_scratch_.data();
    const double* first = steps > 0 ? residuals_[0].data() : last;
    if (method_.fresh_steps) first = first_residual_.data();
    dot_columns<kWidth, kChainsOf<Design>>(design.m_in() - tracked, first, first,
                                           losses_[before].data());
    dot_columns<kWidth, kChainsOf<Design>>(design.m_in() - tracked, last, last,
                                           losses_[after].data());
    dot_columns<kWidth, kChainsOf<Design>>(m_out - tracked, s, s, losses_[outer].data());
    for (Panel& loss : losses_) {
      for (double& value : loss) value *= 0.5;
    }
  }
  complete(design);
}

/// Step j of the backward pass (9). Omega is stored as p w_J^T plus the pairs v c^T, so products
/// with Omega need only inner products of slots. a_bar comes first, then r_bar, omega and Omega, so
/// every right-hand side has the omega and Omega from before the step. No step reads the pairs of
/// step 0, so these are not stored. If the inner loop does not move the head, a_bar is zero.
template <class Design>
void TaskAlgebra<Design>::step_back(Design& design, int j) {
  const double *w_j = heads_[j].data(), *w_J = adapted();
  double *r_bar = r_bars_[j].data(), *a_bar = a_bars_[j].data(), *omega = omega_.data();

  if (!pulls_.empty()) differentiate_step(design, j);
  const double to_head = method_.adapt_head ? -method_.alpha : 0;
  for (Index i = 0; i < k_ * kWidth; ++i) a_bar[i] = to_head * omega[i];
  if (method_.step_sizes == StepSizes::per_entry) {
    const double* alpha = step_sizes();
    for (Index i = 0; i < k_ * kWidth; ++i) a_bar[i] = -alpha[i] * omega[i];
  }
  // r_bar = X (B_j a_bar [- alpha Omega w_j])
  push_moves(j, a_bar);
  if (moves_B()) {
    push_term(p(), w_J, w_j);
    for (const Pair& pair : pairs_) push_term(pair.slot, pair.c, w_j);
  }
  design.product_in(a_bar, terms(), g_bar(j), r_bar);

  // omega += B_j^T X^T r_bar [- alpha Omega^T g_j]
  design.features(g_bar(j), k_scratch_.data());
  for (Index i = 0; i < k_ * kWidth; ++i) omega[i] += k_scratch_[i];
  subtract_moves(design, j, g_bar(j), omega);
  if (moves_B()) {
    subtract_pair(design, p(), g(j), w_J, omega);
    for (const Pair& pair : pairs_) subtract_pair(design, pair.slot, g(j), pair.c, omega);
  }

  // Omega += X^T r_bar w_j^T + g_j a_bar^T
  contribute(design, g_bar(j), w_j);
  contribute(design, g(j), a_bar);
  if (moves_B() && j > 0) {
    pairs_.push_back({g_bar(j), w_j});
    pairs_.push_back({g(j), a_bar});
  }
}

}  // namespace metaspan
