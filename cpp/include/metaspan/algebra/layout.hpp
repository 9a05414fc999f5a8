// Where the task algebra keeps its panels in the workspace that the caller provides.
#pragma once

#include "metaspan/algebra/columns.hpp"
#include "metaspan/algebra/method.hpp"

namespace metaspan {

/// The rows of the workspace of TaskAlgebra, for tasks of up to most_in inner and most_out outer
/// rows. The members are the first rows of the panels that the algebra uses; panels that a method
/// does not use have no rows. Every panel starts at a multiple of `align` rows. J is the number of
/// inner steps.
struct AlgebraLayout {
  AlgebraLayout(const Method& method, Index k, Index most_in, Index most_out, Index align = 1)
      : k(k),
        parameters(method.parameters(k)),
        step_in(round_up(most_in, align)),
        step_k(round_up(k, align)),
        steps(method.inner_steps) {
    const Index J = steps;
    const auto take = [&](Index count) {
      const Index first = rows;
      rows += round_up(count, align);
      return first;
    };
    heads = take(parameters);
    later_heads = take(J * step_k);
    residuals = take(J * step_in);
    outer_residual = take(most_out);
    r_bars = take(method.exact ? J * step_in : 0);
    private_residual = take(method.private_head ? most_out : 0);
    a_bars = take(method.has_inner_part() ? J * step_k : 0);
    pulls = take(method.step_sizes != StepSizes::fixed ? J * step_k : k);
    omega = take(parameters);
    private_c = take(method.private_head ? k : 0);
    system = take(method.solves_head ? kernels::triangle(k) : 0);
    clipped = take(method.clips() ? method.terms() * step_k : 0);
    factors = take(3 * J + 1);
    scratch_in = take(most_in);
    scratch_k = take(k);
    first_residual = take(method.fresh_steps ? most_in : 0);
    losses = take(3);
  }

  /// The first row of w_j, (k, width). w_0, (parameters, width), is followed by the parameters that
  /// follow w, see Method.
  METASPAN_HD Index head(int j) const { return j == 0 ? heads : later_heads + (j - 1) * step_k; }
  /// The first row of the residual r of a slot, whose vector is X^T r or X'^T r. A design that
  /// reads it here needs no memory of its own for slots.
  METASPAN_HD Index of_slot(int slot) const {
    if (slot < steps) return residuals + slot * step_in;
    if (slot == steps) return outer_residual;
    if (slot == 2 * steps + 1) return private_residual;
    return r_bars + (slot - steps - 1) * step_in;
  }

  /// A term v c^T of grad_B, (10): the slot of v and the first row of c.
  struct Term {
    int slot;
    Index c;
  };
  /// Returns term number i of the contribution of a task to grad_B, (10), (25)-(27), (32) and (35),
  /// in the order in which the algebra passes the terms to the design.
  METASPAN_HD Term term(const Method& method, int i) const {
    const int p = steps, p_v = 2 * steps + 1;
    if (method.private_head && i-- == 0) return {p_v, private_c};
    if (method.has_outer_part() && i-- == 0) return {p, head(steps)};
    if (method.contribution == Contribution::inner_moves) return {i, a_bars + i * step_k};
    if (method.contribution == Contribution::inner_gradient) return {0, head(steps)};
    if (method.is_attention()) return {0, a_bars};
    if (method.solves_head && i == 0) return {steps + 1, head(steps)};
    const int j = steps - 1 - i / 2;
    return i % 2 == 0 ? Term{steps + 1 + j, head(j)} : Term{j, a_bars + j * step_k};
  }

  Index k, parameters;
  Index step_in, step_k;     // rows from one of several panels (m_in or k rows) to the next
  int steps;                 // J
  Index rows = 0;            // of the whole workspace
  Index heads, later_heads;  // w_0 (parameters), and w_1 .. w_J (k each)
  Index residuals;           // r_0 .. r_{J-1}    (m_in each)
  Index outer_residual;      // s'                (m_out)
  Index r_bars, a_bars;      // of the backward steps (m_in and k each)
  Index private_residual, private_c;  // s'_v (m_out) and gamma v (k)
  Index pulls;    // B_j^T g_j         (k for each step with learned sizes, else k)
  Index omega;    // (parameters)
  Index system;   // L of (26)         (triangle(k))
  Index clipped;  // c of the terms of grad_B, scaled (k each)
  Index factors;  // of the terms of (6)
  Index scratch_in, scratch_k;
  Index first_residual;  // r_0 of all blocks, for fresh steps (m_in)
  Index losses;          // before, after, outer
};

}  // namespace metaspan
