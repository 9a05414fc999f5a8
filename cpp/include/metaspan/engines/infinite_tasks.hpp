// Infinitely many tasks a round, each with finite or infinite inner samples: first-order ANIL with
// one inner step from w = 0, (23).
#pragma once

#include <memory>

#include "metaspan/engines/engine.hpp"

namespace metaspan {

/// A recursion without randomness, at O(k_star k^2) a round. The head stays 0.
class InfiniteTasksEngine : public Engine {
 public:
  virtual const Mat& state() const = 0;  // (k_star + e, k)  [M; R]
};

/// `m_in` is the number of inner samples, 0 for infinitely many; `covariance` (k_star, k_star) that
/// of the heads, which are centred. Of the losses, that after adaptation on finitely many samples
/// is not there.
std::unique_ptr<InfiniteTasksEngine> make_infinite_tasks(double alpha, double beta, Index m_in,
                                                         double noise, Mat covariance, Mat Z);

/// `sizes.rows` are those of [M; R]; its tasks are all of them.
RoundCost infinite_tasks_cost(const RoundSizes& sizes);

}  // namespace metaspan
