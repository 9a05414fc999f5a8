// The description of a method: which parameters the inner loop moves, how it finds a head, which
// quantity the outer step uses, and which matrices and passes these computations need.
#pragma once

#include "metaspan/base/base.hpp"

namespace metaspan {

/// Number of slots of a task with J inner steps. Slot j < J holds X^T r_j, slot J holds X'^T s',
/// and slot J + 1 + j holds X^T r_bar_j, in the notation of (2), (7) and (9).
constexpr int slots_of(int inner_steps) { return 2 * inner_steps + 1; }

/// What a task contributes to the outer step.
enum class Contribution {
  outer_gradient,  // the gradient of the outer loss after the inner loop, (7)-(10)
  inner_moves,     // by how much the inner loop moves its parameters, (25): FedAvg, Reptile
  inner_gradient,  // the gradient in B of the inner loss after the inner loop, (27): FedRep
};

/// A method of the family.
struct Method {
  double alpha;            // inner step size
  double beta;             // outer step size of B
  int inner_steps;         // J: 0 for average risk minimisation, 1 if `solves_head`
  bool adapt_B;            // the inner loop moves B
  bool exact;              // the gradient is taken through the inner loop; otherwise first-order
  double beta_head;        // outer step size of w
  bool adapt_head = true;  // the inner loop moves w
  Contribution contribution = Contribution::outer_gradient;
  bool solves_head = false;  // the inner loop solves for the head, (26); the step size is unused
  double penalty = 0;        // lambda of (26)

  /// Whether neither loop moves the head.
  bool freezes_head() const { return adapt_B && !adapt_head && beta_head == 0; }
  /// Whether the algebra needs K = X X^T, which is so if an inner step uses a B that an earlier
  /// inner step moved.
  bool needs_gram() const { return adapt_B && inner_steps > 1; }
  /// Whether the outer residual (7) needs K' = X' X^T, since the inner loop moves B.
  bool needs_cross_gram() const { return adapt_B && inner_steps > 0; }
  /// Whether grad_B has the part X^T C of (10), and whether it has the part X'^T C'.
  bool has_inner_part() const { return inner_terms() > 0; }
  bool has_outer_part() const { return contribution == Contribution::outer_gradient; }
  /// Number of terms s c^T in C of (10). C' has one term or none.
  int inner_terms() const {
    if (contribution == Contribution::inner_moves) return inner_steps;
    if (contribution == Contribution::inner_gradient) return 1;
    return exact ? 2 * inner_steps : 0;
  }
  /// Number of terms v c^T, with v of length d, that a task adds to grad_B.
  int terms() const { return inner_terms() + (has_outer_part() ? 1 : 0); }
  /// Number of passes over an inner set that the inner loop and the backward pass make together.
  /// Each pass computes X u and X^T r.
  int inner_passes() const {
    if (solves_head) return has_inner_part() ? 2 : 1;  // Z, and X^T C
    return inner_steps * (has_way_back() ? 2 : 1);
  }
  /// Whether a round makes more than one pass over an inner set.
  bool passes_again() const { return inner_passes() > 1; }
  /// Whether the gradient is taken through at least one inner step.
  bool has_way_back() const { return exact && inner_steps > 0; }
};

}  // namespace metaspan
