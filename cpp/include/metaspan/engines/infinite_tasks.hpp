// The engine of infinitely many tasks a round, with finitely or infinitely many inner samples each:
// first-order ANIL with one inner step from w = 0, (23).
#pragma once

#include <memory>

#include "metaspan/algebra/method.hpp"
#include "metaspan/engines/engine.hpp"

namespace metaspan {

/// The deterministic recursion (23), in O(k_star k^2) a round. The head stays 0.
class InfiniteTasksEngine : public Engine {
 public:
  /// The current state.
  virtual const Mat& state() const = 0;  // (k_star + e, c k)  [M; R] of the c blocks of (28)
};

/// Makes the engine from the step sizes and the outer step of a method. `m_in` is the number of
/// inner samples, 0 for infinitely many. `covariance` (k_star, k_star) is the covariance of the
/// heads, whose mean is 0. `spread` is tau of (33), in d dimensions. The inner loss after
/// adaptation is NaN for finitely many inner samples.
std::unique_ptr<InfiniteTasksEngine> make_infinite_tasks(const Method& method, Index m_in,
                                                         double noise, double spread, double d,
                                                         Mat covariance, Mat S);

/// Returns the cost of a round. `sizes.rows` are the rows of [M; R]; `sizes.n` is not used.
RoundCost infinite_tasks_cost(const RoundSizes& sizes);

}  // namespace metaspan
