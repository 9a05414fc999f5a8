// What distinguishes the methods: five numbers.
#pragma once

#include "metaspan/base/base.hpp"

namespace metaspan {

/// Slots of a task with J inner steps: X^T r_j at j, X'^T s' at J, X^T r_bar_j at J + 1 + j.
constexpr int slots_of(int inner_steps) { return 2 * inner_steps + 1; }

/// A method of meta-learning, (2)-(4).
struct Method {
  double alpha;     // inner step size
  double beta;      // outer step size
  int inner_steps;  // J; 0 is average risk minimisation
  bool adapt_B;     // the inner loop moves B too: MAML; otherwise ANIL
  bool exact;       // the gradient goes through the inner loop; otherwise first-order

  /// Whether the algebra asks for K = X X^T: only where an inner step sees a B that an earlier one
  /// moved.
  bool needs_gram() const { return adapt_B && inner_steps > 1; }
  /// Whether it asks for K' = X' X^T.
  bool needs_cross_gram() const { return adapt_B && inner_steps > 0; }
  /// Whether the gradient has a part X^T C.
  bool has_inner_part() const { return exact && inner_steps > 0; }
  /// Terms v c^T of length d that a task adds to grad_B: of every slot, or of the outer one alone.
  int terms() const { return has_inner_part() ? slots_of(inner_steps) : 1; }
  /// Whether a round may meet an inner set more than once.
  bool passes_again() const { return inner_steps > 1 || has_inner_part(); }
};

}  // namespace metaspan
