// The methods, described by five numbers, and what each method needs of the algebra.
#pragma once

#include "metaspan/base/base.hpp"

namespace metaspan {

/// Number of slots of a task with J inner steps. Slot j < J holds X^T r_j, slot J holds X'^T s',
/// and slot J + 1 + j holds X^T r_bar_j, in the notation of (2), (7) and (9).
constexpr int slots_of(int inner_steps) { return 2 * inner_steps + 1; }

/// A method of meta-learning, (2)-(4).
struct Method {
  double alpha;     // inner step size
  double beta;      // outer step size
  int inner_steps;  // J; 0 is average risk minimisation
  bool adapt_B;     // the inner loop moves B as well (MAML); otherwise ANIL
  bool exact;       // the gradient is taken through the inner loop; otherwise first-order

  /// Whether the algebra needs K = X X^T: only if an inner step uses a B that an earlier step
  /// moved.
  bool needs_gram() const { return adapt_B && inner_steps > 1; }
  /// Whether the algebra needs K' = X' X^T.
  bool needs_cross_gram() const { return adapt_B && inner_steps > 0; }
  /// Whether grad_B has the part X^T C of (10) beside X'^T C'.
  bool has_inner_part() const { return exact && inner_steps > 0; }
  /// Number of terms v c^T, with v of length d, that a task adds to grad_B: one for every slot, or
  /// one for the outer slot alone.
  int terms() const { return has_inner_part() ? slots_of(inner_steps) : 1; }
  /// Number of times that the inner loop and the way back through it pass over an inner set, with
  /// X u and X^T r each time.
  int inner_passes() const { return inner_steps * (has_inner_part() ? 2 : 1); }
  /// Whether a round passes over an inner set more than once.
  bool passes_again() const { return inner_passes() > 1; }
};

}  // namespace metaspan
