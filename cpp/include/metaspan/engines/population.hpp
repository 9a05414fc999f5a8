// The population engine: infinitely many samples for each task. Losses are computed in the
// coordinates (13), at a cost that does not depend on d.
#pragma once

#include <memory>

#include "metaspan/algebra/method.hpp"
#include "metaspan/engines/trial_panel.hpp"
#include "metaspan/geometry/trial_rules.hpp"
#include "metaspan/random/heads.hpp"
#include "trials.hpp"

namespace metaspan {

/// A trial on population losses.
///
/// The state is kept as B Q and Q^T w, where the orthogonal matrix Q is called the frame. For k <=
/// k_star, Q is the identity. For k > k_star the engine changes Q in every step, which preserves
/// the relative accuracy of (14) during a run, unless the method does not turn the frame.
class PopulationEngine : public Engine {
 public:
  struct State {
    Mat Z;      // (k_star + e, c k)  [M; R] Q, with the c blocks of (28) side by side
    Vec w;      // (c parameters,)    Q^T w, the step sizes, Q^T v
    Mat frame;  // (k, k)             Q
  };

  /// Returns the state in the initial frame, from [M; R] and w in the frame Q = I.
  static State start(const Method& method, Mat Z, Vec w, Index k_star);
  /// Returns the current state.
  virtual State state() const = 0;

  /// Returns the frame Q: coordinates() is [M; R] Q, and head() is Q^T w, for the M, R and w of the
  /// user.
  virtual const Mat& frame() const = 0;
  using Engine::coordinates;
  virtual const Mat& coordinates() const = 0;
  // A panel of trials and a device use these members: they draw heads from heads(), and write the
  // state after their rounds by replace().
  virtual HeadSource& heads() = 0;
  virtual const Vec& current_head() const = 0;  // (parameters,)  w, also if head() is an average
  using Column = Eigen::Map<const Vec, 0, Eigen::InnerStride<>>;
  virtual void replace(Column Z,       // (rows k,)  [M; R], row by row
                       Column w) = 0;  // (parameters,)
  /// Takes the gradient of a round, which a device has computed, for the next step().
  virtual void take_gradient(Index round,
                             Column grad_B,       // (rows k,)  and the rows of H, (14)
                             Column grad_w) = 0;  // (parameters,)
  // The gradient of the last call of gradient(), in coordinates and in the frame Q.
  virtual Mat grad_B() const = 0;         // (k_star + e, k)
  virtual const Vec& grad_w() const = 0;  // (parameters,)
};

/// Returns the cost of a round. `sizes.rows` is the number of rows of [M; R], plus k if k > k_star
/// and the frame turns.
RoundCost population_cost(const Method& method, const RoundSizes& sizes);

/// Makes a population engine. `noise` is the standard deviation of the noise of responses: it adds
/// noise^2/2 to the losses and does not affect gradients. The memory is O(pieces * k * (k_star + e
/// + J * width)), where width is the number of tasks in a panel. A round takes O(n * k * (k_star +
/// e) * (J + 1)) operations. For MAML every task also takes O(J^2) operations on vectors of length
/// k_star + e.
std::unique_ptr<PopulationEngine> make_population(const Method& method,
                                                  PopulationEngine::State state, HeadSource heads,
                                                  Index n, double noise);

/// Whether `trials` trials of a shape, on one thread, take less time in panels than one after the
/// other. Both ways give the same results.
bool population_fills_panels(const Method& method, const Shape& shape, Index n, Index trials);

/// Makes an empty panel of trials whose engines have this shape, with k <= k_star, and n tasks a
/// round.
std::unique_ptr<TrialPanel> make_population_panel(const Method& method, const Shape& shape, Index n,
                                                  double noise);

/// Returns the work of a round of one trial if `sizes.trials` trials run in panels.
Work work_of_panels(const Method& method, const RoundSizes& sizes);

}  // namespace metaspan
