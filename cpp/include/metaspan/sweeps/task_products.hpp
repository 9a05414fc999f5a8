// Inputs and outputs of the two sweeps over the data of a round.
#pragma once

#include "metaspan/algebra/factors.hpp"
#include "metaspan/algebra/method.hpp"
#include "metaspan/data/samples.hpp"

namespace metaspan {

/// A term X^T C of the gradient, (10): the data set that has X, and the factor C.
template <class XScalar>
struct Part {
  const Samples<XScalar>* set;
  const Factors* C;
};

/// The inputs of DenseDesign for one task, (5), and the factors C of the task's gradient, (10).
struct TaskProducts {
  Mat Z_in, Z_out;  // (m, padded)
  Vec y_in, y_out;  // normalised
  Mat K, K_cross;   // (m_in, m_in), (m_out, m_in); empty unless needed
  Mat K_outer;      // (m_out, m_out)  X' X'^T of (29); empty unless needed
  Factors C_in, C_out;
};

/// Flags that select what the first sweep computes: K, K', X B of the outer sets, and the Gram
/// matrices of the outer sets.
struct GramsNeeded {
  bool K, K_cross;
  bool outer = true;
  bool K_outer = false;

  /// Returns what remains to be computed if both loops use the same set: K' and X' X'^T equal K.
  GramsNeeded of_one_set() const { return {K || K_cross || K_outer, false, outer, false}; }
};

/// Returns what the first sweep computes for rounds of a method. If losses are recorded, K is
/// needed even if the gradient needs only K', since the inner loss after adaptation is computed
/// from a residual at B_J, (6). If the gradient of a method consists of the moves of the inner
/// loop, the outer sets are needed for the losses only. The norms of contributions, (29), need the
/// inner products of all their terms.
inline GramsNeeded grams_needed(const Method& method, bool losses) {
  const bool outer = method.has_outer_part() || losses;
  const bool K = method.needs_gram() || (losses && method.needs_cross_gram());
  return {K || method.clips_by_gram(),
          (outer && method.needs_cross_gram()) || method.clips_by_cross_gram(), outer,
          method.clips_by_outer_gram()};
}

}  // namespace metaspan
