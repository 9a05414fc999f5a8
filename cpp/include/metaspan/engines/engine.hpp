// The interface of the engines, which run rounds of gradient descent on (B, w), (3); and the cost
// of a round.
#pragma once

#include <algorithm>

#include "metaspan/algebra/method.hpp"
#include "metaspan/base/cancel.hpp"
#include "metaspan/base/sizes.hpp"
#include "metaspan/geometry/metrics.hpp"

namespace metaspan {

/// The sizes that determine the cost of a round.
struct RoundSizes {
  Index n;     // tasks
  Index rows;  // rows of the state [M; R], or of B at full size
  Index k;
  Index k_star = 0;
  bool draws_heads = false;  // the core draws the heads; otherwise it copies given heads
  bool chooses = false;      // a round chooses its tasks from a pool or a table
  double losses = 0;         // fraction of the rounds that record losses
  Index trials = 1;          // trials per thread; they may share panels
};

/// The work of a round in four units. The rates of a machine for the four units turn the work into
/// seconds.
struct Work {
  double operations = 0;  // floating-point operations of kernels, including padding of registers
  double calls = 0;       // kernel calls, for their overhead, and other work of equal cost
  double numbers = 0;     // random numbers
  double memory = 0;      // bytes of memory traffic that does not overlap with operations
};

/// Returns the work of drawing or copying the heads of `tasks` tasks. `tasks` includes the columns
/// that pad panels.
inline Work work_of_heads(const RoundSizes& sizes, double tasks) {
  constexpr double kCallsOfChoice = 3, kCallsOfCopy = .1;  // per chosen task, per copied number
  const auto numbers = tasks * static_cast<double>(2 * ceil_div(sizes.k_star, 2));
  if (sizes.draws_heads) return {0, 0, numbers};
  return {0, (sizes.chooses ? kCallsOfChoice * tasks : 0) + kCallsOfCopy * numbers, 0};
}

/// Adds the work of an outer step that is not plain, (28), on blocks of `rows` rows in coordinates:
/// the products with L and the factorisation of B, with the overhead of their small matrices.
inline void add_outer_step(const OuterStep& step, double rows, double k, Work& work) {
  if (step.is_plain()) return;
  constexpr double kCallsOfStep = 8, kCallsOfFactor = 20;
  const auto blocks = static_cast<double>(step.blocks());
  work.operations += 2 * rows * k * blocks * (blocks + 1);
  work.calls += kCallsOfStep * blocks;
  if (!step.orthonormal) return;
  work.operations += 4 * rows * k * k;
  work.calls += kCallsOfFactor + k;
}

/// The cost of a round of one trial.
struct RoundCost {
  double flops;         // floating-point operations of the algorithm
  double bytes;         // memory of the trial
  double thread_bytes;  // additional memory of each thread
  Index pieces;         // pieces of work that threads can share
  Work work;
};

/// The shape of the state in coordinates, (13). k_star is 0 without a ground truth.
struct Shape {
  Index k_star, e, k;
};

/// Returns the outer step size of each parameter but B, (parameters,): beta_head for w and the
/// private head, and beta_alpha for learned step sizes.
inline Vec outer_steps(const Method& method, Index k) {
  Vec steps = Vec::Constant(method.parameters(k), method.beta_head);
  steps.segment(k, method.learned_steps(k)).setConstant(method.beta_alpha);
  return steps;
}

/// Returns the largest outer step size of a method.
inline double longest_step(const Method& method) {
  return std::max({method.beta, method.beta_head, method.beta_alpha});
}

/// A trial of gradient descent. One round calls gradient(), then step(factor).
class Engine {
 public:
  virtual ~Engine() = default;

  /// Computes the gradient of a round, (10), and keeps it for step(). Fills the outputs that
  /// `tasks` requests. The state does not change. Throws Cancelled.
  virtual void gradient(Index round,
                        const double* heads,  // (n, k_star), or null where the engine draws them
                        TaskOutputs& tasks, int threads, Cancel* cancel) = 0;

  /// Fills the outputs that `tasks` requests, with the bits of gradient(). The gradient is not
  /// valid afterwards, so step() must not follow. Throws Cancelled.
  virtual void outputs(Index round, const double* heads, TaskOutputs& tasks, int threads,
                       Cancel* cancel) {
    gradient(round, heads, tasks, threads, cancel);
  }

  /// Takes the step B <- B - beta grad_B, w <- w - beta grad_w, (3), or that of the method's outer
  /// step, (28). `factor` multiplies the step sizes. Returns false, and leaves the state unchanged,
  /// if the new state would not be finite or would be so large that rounding would remove its small
  /// components.
  virtual bool step(double factor) = 0;

  virtual Shape shape() const = 0;
  /// Returns the shape of coordinates(), which has fewer columns than the state if the state holds
  /// more than B.
  virtual Shape measured_shape() const { return shape(); }
  /// Whether R keeps its relative accuracy, (14). If so, a distance of 0 means underflow; if not, a
  /// distance of 0 may be a rounding error.
  virtual bool resolves_distance() const = 0;
  /// Returns [M; R] Q of B, (k_star + e, k), with an orthogonal Q for which the leading block of M
  /// Q is regular if k > k_star, as Meter requires. No record depends on Q. If the outer step
  /// averages, these are the coordinates of the average, and head() is the average of w.
  virtual const Mat& coordinates(int threads) = 0;
  /// Returns w, up to an orthogonal factor, and the parameters that follow it, see Method.
  virtual const Vec& head() const = 0;  // (parameters,)
  virtual double flops() const = 0;     // floating-point operations of a round
};

}  // namespace metaspan
