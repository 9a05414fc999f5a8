#include "metaspan/algebra/task_algebra.hpp"

namespace metaspan {

/// The counts include J passes of the inner loop, one pass over the outer set if the method or the
/// losses need it, J passes of the backward pass, and the sums of (6) and (9), which are quadratic
/// in J. A solved head counts as one pass of the inner loop, in which the normal equations take the
/// place of the products. A private head takes one more pass over the outer set.
AlgebraCounts algebra_counts(const Method& method, double losses) {
  const double J = method.inner_steps, back = method.has_way_back() ? J : 0;
  const double outer = method.has_outer_part() ? 1 : 0, again = method.fresh_steps ? 1 : 0;
  const double measured = losses * (2 - outer + again), second = method.outer_terms() - outer;
  double moves = 0;
  if (method.adapt_B) moves = J * (J + 1) + back * (3 * J - 1) + losses * J;
  if (method.adapt_B && method.step_sizes != StepSizes::fixed) moves += method.exact ? J * J : J;
  moves += method.pairs_of_terms();
  return {J + outer + second + back + measured, J + outer + second + back,
          static_cast<double>(method.terms()), moves};
}

}  // namespace metaspan
