// The common face of the engines: rounds of gradient descent on (B, w), seen from outside.
#pragma once

#include "metaspan/base/cancel.hpp"
#include "metaspan/base/sizes.hpp"
#include "metaspan/geometry/metrics.hpp"

namespace metaspan {

/// What decides how much a round does.
struct RoundSizes {
  Index n;     // tasks
  Index rows;  // of the state, or of B at full size
  Index k;
  Index k_star = 0;
  bool draws_heads = false;  // the core draws them; otherwise they are copied
  bool chooses = false;      // some tasks of a pool or a table
  double losses = 0;         // share of the rounds that record losses
};

/// What a round does, counted so that three rates of a machine turn it into seconds.
struct Work {
  double operations =
      0;               // floating-point operations of kernels, with all that only fills registers
  double calls = 0;    // of kernels, which take a time of their own, and what takes as long
  double numbers = 0;  // random numbers
  double memory = 0;   // bytes that pass from memory beside what operations wait for
};

/// Of the heads of so many tasks, those included that only fill panels.
inline Work work_of_heads(const RoundSizes& sizes, double tasks) {
  constexpr double kCallsOfChoice = 3, kCallsOfCopy = .1;  // of a task, and of a number
  const auto numbers = tasks * static_cast<double>(2 * ceil_div(sizes.k_star, 2));
  if (sizes.draws_heads) return {0, 0, numbers};
  return {0, (sizes.chooses ? kCallsOfChoice * tasks : 0) + kCallsOfCopy * numbers, 0};
}

/// What a round of a trial takes.
struct RoundCost {
  double flops;         // of its arithmetic
  double bytes;         // that the trial holds
  double thread_bytes;  // that every thread holds beside them
  Index pieces;         // that threads share
  Work work;
};

/// Of the state in coordinates, (13): k_star = 0 where there is no ground truth.
struct Shape {
  Index k_star, e, k;
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

  virtual Shape shape() const = 0;
  /// Whether R carries the distance by itself, (14), so that 0 means that it left the range of
  /// doubles; otherwise 0 is as good as a rounding error.
  virtual bool resolves_distance() const = 0;
  /// [M; R] Q, (k_star + e, k), with Q orthogonal such that the leading block of M Q is regular
  /// where k > k_star. No measurement depends on it.
  virtual const Mat& coordinates(int threads) = 0;
  virtual const Vec& head() const = 0;  // (k,)  w up to such a Q
  virtual double flops() const = 0;     // of a round
};

}  // namespace metaspan
