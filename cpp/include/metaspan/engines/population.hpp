// The population engine: infinitely many samples a task, with losses in the coordinates of (13), at
// a cost that does not depend on d.
#pragma once

#include <cmath>
#include <memory>

#include "metaspan/algebra/method.hpp"
#include "metaspan/engines/trial_panel.hpp"
#include "metaspan/random/heads.hpp"
#include "trials.hpp"

namespace metaspan {

/// A trial on population losses.
///
/// The state is kept in a frame Q of the learner, as B Q and Q^T w with an orthogonal Q. For k <=
/// k_star, Q is the identity. For k > k_star the engine turns Q in every step, which preserves the
/// relative accuracy of (14) during a run.
class PopulationEngine : public Engine {
 public:
  struct State {
    Mat Z;      // (k_star + e, k)  [M; R] Q
    Vec w;      // (k,)             Q^T w
    Mat frame;  // (k, k)           Q
  };

  /// Returns the state in the initial frame, from [M; R] and w in the frame Q = I.
  static State start(Mat Z, const Vec& w, Index k_star);

  /// The frame Q: coordinates() is the [M; R] of the user times Q, and head() is Q^T w.
  virtual const Mat& frame() const = 0;
  using Engine::coordinates;
  virtual const Mat& coordinates() const = 0;
  // For a panel of trials: the source of heads, and the state after its rounds.
  virtual HeadSource& heads() = 0;
  using Column = Eigen::Map<const Vec, 0, Eigen::InnerStride<kernels::kTrials>>;
  virtual void replace(Column Z,       // (rows k,)  [M; R], row by row
                       Column w) = 0;  // (k,)
  // The gradient of the last call of gradient(), in coordinates and in the frame Q.
  virtual Mat grad_B() const = 0;         // (k_star + e, k)
  virtual const Vec& grad_w() const = 0;  // (k,)
};

/// Returns the cost of a round. `sizes.rows` are those of [M; R], and k more if k > k_star.
RoundCost population_cost(const Method& method, const RoundSizes& sizes);

/// Makes a population engine. `noise` is the standard deviation of the noise of responses: it adds
/// noise^2/2 to the losses and does not affect gradients. The memory is O(pieces k (k_star + e + J
/// width)). A round takes O(n k (k_star + e) (J + 1)) operations. For MAML every task takes O(J^2)
/// operations on vectors of length k_star + e in addition.
std::unique_ptr<PopulationEngine> make_population(const Method& method,
                                                  PopulationEngine::State state, HeadSource heads,
                                                  Index n, double noise);

/// Whether `trials` trials of a shape, on one thread, take less time in panels than one after the
/// other. Results are the same either way.
bool population_fills_panels(const Shape& shape, Index n, Index trials);

/// Makes an empty panel of trials whose engines have this shape, with k <= k_star, and n tasks.
std::unique_ptr<TrialPanel> make_population_panel(const Method& method, const Shape& shape, Index n,
                                                  double noise);

/// Returns the work of a round of one trial among sizes.trials in panels.
Work work_of_panels(const Method& method, const RoundSizes& sizes);

/// Whether a step of size beta keeps `count` numbers finite. Their magnitudes before the step are
/// at most `state`, and those of their gradients at most `gradient`. The test bounds the sum of the
/// new magnitudes, so it does not depend on the order of the numbers.
inline bool stays_finite(double state, double gradient, double beta, Index count) {
  return std::isfinite(static_cast<double>(count) * (state + beta * gradient));
}

}  // namespace metaspan
