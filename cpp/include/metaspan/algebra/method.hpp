// What distinguishes the methods: five numbers.
#pragma once

#include "metaspan/base/base.hpp"

namespace metaspan {

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
};

}  // namespace metaspan
