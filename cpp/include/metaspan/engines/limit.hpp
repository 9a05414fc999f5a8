// The engine of the limit: infinitely many tasks a round, in finitely or infinitely many
// dimensions, (55).
#pragma once

#include <memory>

#include "metaspan/engines/engine.hpp"
#include "metaspan/in_law/residual_moments.hpp"

namespace metaspan {

/// The tasks of the limit.
struct LimitTasks {
  HeadMoments heads;
  Index m_in = 0, m_out = 0;     // 0: infinitely many
  double noise = 0, spread = 0;  // sigma, and tau of (33)
  double d_over_n = 0;           // gamma, 0 for finitely many dimensions
};

/// The deterministic recursion (55), in O((k_star + e) k^2) a round.
class LimitEngine : public Engine {
 public:
  // The current state: [M; R] and w of the c blocks of (28), side by side.
  virtual const Mat& state() const = 0;       // (k_star + e, c k)
  virtual const Vec& state_head() const = 0;  // (c k,)
};

/// Makes the engine from the state of its start. If rounds add rows off the span, R must have at
/// least c k rows, which may be 0.
std::unique_ptr<LimitEngine> make_limit(const Method& method, LimitTasks tasks, Mat S, Vec w);

/// Returns the cost of a round. `sizes.rows` are the rows of [M; R], and `sizes.n` is not used.
/// `adds_rows` says that rounds add rows off the span, gamma > 0; `m_in` is 0 for an infinite set.
RoundCost limit_cost(const Method& method, const RoundSizes& sizes, Index m_in, bool adds_rows);

}  // namespace metaspan
