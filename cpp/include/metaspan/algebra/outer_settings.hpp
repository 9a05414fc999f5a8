// The settings of the outer step (28), which device code includes too.
#pragma once

#include "metaspan/base/index.hpp"

namespace metaspan {

/// The settings of the outer step. The blocks of a run are B and those blocks that the step
/// remembers, in this order: B, the velocity V, the mean square of the gradients, the average, the
/// slow weights.
struct OuterStep {
  enum class Rule { gradient, adam, sign };
  Rule rule = Rule::gradient;
  double momentum = 0;
  bool nesterov = false;
  bool average = false;       // the result is the mean of the iterates
  Index lookahead = 0;        // rounds from one synchronisation to the next; 0: no slow weights
  double lookahead_size = 1;  // share of B in the new slow weights
  bool orthonormal = false;   // after every step, B = Q S is replaced by its factor Q

  /// Whether the rule treats every coordinate of B separately, which leaves the span of gradients.
  METASPAN_HD bool by_coordinate() const { return rule != Rule::gradient; }
  METASPAN_HD bool has_velocity() const { return momentum > 0 || rule == Rule::adam; }
  METASPAN_HD bool has_squares() const { return rule == Rule::adam; }
  /// Number of blocks, B included.
  METASPAN_HD Index blocks() const {
    return 1 + Index{has_velocity()} + Index{has_squares()} + Index{average} + Index{lookahead > 0};
  }
  /// The block that is the result of a run: B, or the average.
  METASPAN_HD Index reported() const {
    return average ? 1 + Index{has_velocity()} + Index{has_squares()} : 0;
  }
  /// Whether a step is B <- B - beta G and nothing else.
  METASPAN_HD bool is_plain() const { return blocks() == 1 && !by_coordinate() && !orthonormal; }
};

}  // namespace metaspan
