// Infinitely many samples a task: population losses in the coordinates of (13), at a cost
// independent of d.
#pragma once

#include <memory>

#include "metaspan/algebra/method.hpp"
#include "metaspan/engines/engine.hpp"
#include "metaspan/random/heads.hpp"

namespace metaspan {

/// A population run with its tasks served in panels that suit their number.
///
/// The state is kept in a frame of the learner's own: B Q and Q^T w for an orthogonal Q. For k <=
/// k_star it is the identity; for k > k_star it turns with every step, which is what keeps the
/// relative accuracy of (14) in a run.
class PopulationEngine : public Engine {
 public:
  struct State {
    Mat Z;      // (k_star + e, k)  [M; R] Q
    Vec w;      // (k,)             Q^T w
    Mat frame;  // (k, k)           Q
  };

  /// The state in the frame to begin with, from M, R and w as they are.
  static State start(Mat Z, const Vec& w, Index k_star);

  /// Q of the state: [M; R] and w are those of the user times Q.
  virtual const Mat& frame() const = 0;
  using Engine::coordinates;
  virtual const Mat& coordinates() const = 0;
  virtual Mat grad_B() const = 0;         // (k_star + e, k): in coordinates, of the last gradient()
  virtual const Vec& grad_w() const = 0;  // (k,)
};

/// `sizes.rows` are those of [M; R], and k more where they are tracked.
RoundCost population_cost(const Method& method, const RoundSizes& sizes);

/// `noise` is the standard deviation of the samples' noise: it adds noise^2/2 to the losses,
/// nothing to a gradient. Memory O(pieces k (k_star + e + J width)); a round O(n k (k_star + e) (J
/// + 1)) and, for MAML, O(J^2) vectors more.
std::unique_ptr<PopulationEngine> make_population(const Method& method,
                                                  PopulationEngine::State state, HeadSource heads,
                                                  Index n, double noise);

}  // namespace metaspan
