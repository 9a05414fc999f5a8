// The description of a method: which parameters the inner loop moves, how it finds a head, which
// quantity the outer step uses, and which matrices and passes these computations need.
#pragma once

#include <cmath>
#include <limits>

#include "metaspan/algebra/outer_settings.hpp"
#include "metaspan/base/index.hpp"

namespace metaspan {

// Slot j < J of a task holds X^T r_j, slot J holds X'^T s', slot J + 1 + j holds X^T r_bar_j, in
// the notation of (2), (7) and (9), and slot 2 J + 1 holds X'^T s'_v of the private head, (35).

/// Returns whether a slot belongs to the outer set, where `outer_slot` is J.
METASPAN_HD constexpr bool is_outer_slot(int slot, int outer_slot) {
  return slot == outer_slot || slot == 2 * outer_slot + 1;
}

/// What a task contributes to the outer step.
enum class Contribution {
  outer_gradient,  // the gradient of the outer loss after the inner loop, (7)-(10)
  inner_moves,     // by how much the inner loop moves its parameters, (25): FedAvg, Reptile
  inner_gradient,  // the gradient in B of the inner loss after the inner loop, (27): FedRep
  attention,       // the gradient of a linear-attention layer, (32), at the state [A, B]
};

/// The factor of a contribution without a norm. The outer step refuses what it multiplies.
constexpr double kRefused = std::numeric_limits<double>::quiet_NaN();

/// Returns the factor min(1, c / norm) of (29), and NaN if the square of the norm is not finite.
METASPAN_HD inline double clipping_factor(double square, double clip) {
  if (!std::isfinite(square)) return kRefused;
  return square > clip * clip ? clip / std::sqrt(square) : 1;
}

/// Whether the inner step size is learned, (34): one number, or one for each entry of the head.
enum class StepSizes { fixed, one, per_entry };

/// A method of the family.
///
/// The outer loop also learns parameters beside B and w: step sizes, (34), and a private head v,
/// (35). They follow w in one vector of parameters(k) numbers: w, the step sizes, v.
struct Method {
  double alpha;            // inner step size
  double beta;             // outer step size of B
  int inner_steps;         // J: 0 for average risk, 1 for a solved head and for attention
  bool adapt_B;            // the inner loop moves B
  bool exact;              // the gradient is taken through the inner loop; otherwise first-order
  double beta_head;        // outer step size of w
  bool adapt_head = true;  // the inner loop moves w
  Contribution contribution = Contribution::outer_gradient;
  bool solves_head = false;  // the inner loop solves for the head, (26); the step size is unused
  double penalty = 0;        // lambda of (26)
  double clip = 0;           // c of (29), the largest norm of a contribution; 0: no limit
  double multiplier = 0;     // z of (30): noise of standard deviation z c / n is added; 0: none
  StepSizes step_sizes = StepSizes::fixed;  // a learned step size takes the place of alpha
  double beta_alpha = 0;                    // outer step size of learned step sizes
  bool private_head = false;                // a second head v that no inner step moves, (35)
  double private_weight = 0;                // gamma of (35)
  bool fresh_steps = false;                 // inner step j uses block j of the inner set, (25)
  OuterStep step{};                         // what the outer step remembers, (28)

  /// Whether the state is [A, B] of a linear-attention layer, (32), whose head is 0.
  METASPAN_HD bool is_attention() const { return contribution == Contribution::attention; }
  /// Number of columns of B in a state of `columns` columns. They are the last columns, and the
  /// records describe them.
  METASPAN_HD Index columns_of_B(Index columns) const {
    return is_attention() ? columns / 2 : columns;
  }
  /// Whether neither loop moves the head.
  METASPAN_HD bool freezes_head() const { return adapt_B && !adapt_head && beta_head == 0; }
  /// Whether the inner loop needs K = X X^T: whether an inner step uses a B that an earlier inner
  /// step moved.
  METASPAN_HD bool needs_gram() const { return adapt_B && inner_steps > 1; }
  /// Whether the outer residual (7) needs K' = X' X^T, since the inner loop moves B.
  METASPAN_HD bool needs_cross_gram() const { return adapt_B && inner_steps > 0; }
  /// Whether grad_B has the part X^T C of (10), and whether it has the part X'^T C'.
  METASPAN_HD bool has_inner_part() const { return inner_terms() > 0; }
  METASPAN_HD bool has_outer_part() const {
    return contribution == Contribution::outer_gradient || is_attention();
  }
  /// Number of learned step sizes. parameters() is the number of all parameters but B.
  METASPAN_HD Index learned_steps(Index k) const {
    if (step_sizes == StepSizes::fixed) return 0;
    return step_sizes == StepSizes::one ? 1 : k;
  }
  METASPAN_HD Index parameters(Index k) const {
    return k + learned_steps(k) + (private_head ? k : 0);
  }
  /// Whether the outer loop learns parameters beside B and w.
  METASPAN_HD bool learns_more() const { return step_sizes != StepSizes::fixed || private_head; }
  /// Whether the method is equivariant under rotations of the learner, so that the frame of (14)
  /// may turn. A method with a step size for each entry of the head is not equivariant; a rotation
  /// of the state of linear attention would mix the columns of A and B; and if an outer step
  /// remembers blocks, (28), these blocks would have to turn with B.
  METASPAN_HD bool turns_frame() const {
    return step_sizes != StepSizes::per_entry && !is_attention() && step.is_plain();
  }
  /// Number of blocks into which inner sets are cut; inner step j uses block j.
  METASPAN_HD int blocks() const { return fresh_steps ? inner_steps : 1; }
  /// Number of slots.
  METASPAN_HD int slots() const { return 2 * inner_steps + 1 + (private_head ? 1 : 0); }
  /// Number of terms s c^T in C of (10).
  METASPAN_HD int inner_terms() const {
    if (contribution == Contribution::inner_moves) return inner_steps;
    if (contribution == Contribution::inner_gradient || is_attention()) return 1;
    return exact ? 2 * inner_steps : 0;
  }
  /// Number of terms s c^T in C' of (10).
  METASPAN_HD int outer_terms() const { return has_outer_part() ? 1 + (private_head ? 1 : 0) : 0; }
  /// Number of terms v c^T, with v of length d, that a task adds to grad_B.
  METASPAN_HD int terms() const { return inner_terms() + outer_terms(); }
  /// Number of passes over an inner set that the inner loop and the backward pass make together.
  /// Each pass computes X u and X^T r.
  METASPAN_HD int inner_passes() const {
    if (solves_head) return has_inner_part() ? 2 : 1;  // Z, and X^T C
    return inner_steps * (has_way_back() ? 2 : 1);
  }
  /// Whether a round makes more than one pass over an inner set.
  METASPAN_HD bool passes_again() const { return inner_passes() > 1; }
  /// Whether the contributions of tasks are clipped, (29).
  METASPAN_HD bool clips() const { return clip > 0; }
  /// Whether the norm (29) is computed from the inner products of two inner samples, of an outer
  /// and an inner sample, and of two outer samples.
  METASPAN_HD bool clips_by_gram() const { return clips() && has_inner_part(); }
  METASPAN_HD bool clips_by_cross_gram() const { return clips_by_gram() && has_outer_part(); }
  METASPAN_HD bool clips_by_outer_gram() const { return clips() && has_outer_part(); }
  /// Number of pairs of terms whose inner products the norm (29) of a contribution needs.
  METASPAN_HD int pairs_of_terms() const { return clips() ? terms() * (terms() + 1) / 2 : 0; }
  /// Returns the standard deviation of the noise in the mean over n tasks, (30).
  METASPAN_HD double noise_of_mean(Index n) const {
    return multiplier * clip / static_cast<double>(n);
  }
  /// Returns the method without clipping and without noise.
  METASPAN_HD Method without_privacy() const {
    Method method = *this;
    method.clip = method.multiplier = 0;
    return method;
  }
  /// Whether the gradient is taken through at least one inner step.
  METASPAN_HD bool has_way_back() const { return exact && inner_steps > 0; }
};

}  // namespace metaspan
