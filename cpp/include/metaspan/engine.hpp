// The common face of the engines: rounds of gradient descent on (B, w), seen from outside.
#pragma once

#include "metaspan/cancel.hpp"
#include "metaspan/metrics.hpp"

namespace metaspan {

/// A round of fewer flops is not worth waking a thread for.
constexpr double kSerialFlops = 2e5;

struct Cost {
  double flops = 0;  // of a round
  double bytes = 0;  // held while it runs
};

class Engine {
 public:
  virtual ~Engine() = default;

  /// The gradient of a round, (10), kept for step(); `tasks` is filled with what it wants. The
  /// state stays as it is. Throws Cancelled.
  virtual void gradient(Index round,
                        const double* heads,  // (n, k_star), or null where the engine draws them
                        TaskOutputs& tasks, int threads, Cancel* cancel) = 0;

  /// B <- B - beta grad_B, w <- w - beta grad_w, (3). False, and nothing done, where that would not
  /// be finite or would multiply the state beyond what its digits can follow.
  virtual bool step() = 0;

  virtual Index k_star() const = 0;
  virtual const Mat& coordinates() const = 0;  // (k_star + e, k)  [M; R] Q
  virtual const Vec& head() const = 0;         // (k,)             Q^T w
  /// Q, orthogonal, (k, k): the learner's frame. No measurement depends on it.
  virtual const Mat& frame() const = 0;
  virtual Cost cost() const = 0;
};

}  // namespace metaspan
