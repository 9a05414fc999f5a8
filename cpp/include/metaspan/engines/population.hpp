// Infinitely many samples a task: population losses in the coordinates of (13), at a cost independent of d.
#pragma once

#include <memory>

#include "metaspan/engine.hpp"
#include "metaspan/heads.hpp"

namespace metaspan {

/// A population run with its tasks served in panels that suit their number.
class PopulationEngine : public Engine {
 public:
  virtual const Mat& grad_B() const = 0;  // (k_star + e, k): in coordinates, of the last gradient()
  virtual const Vec& grad_w() const = 0;  // (k,)
};

/// `noise` is the standard deviation of the samples' noise: it adds noise^2/2 to the losses, nothing to a gradient.
/// Memory O(lanes k (k_star + e + J width)); a round O(n k (k_star + e) (J + 1)) and, for MAML, O(J^2) vectors more.
std::unique_ptr<PopulationEngine> make_population(const Method& method, Mat Z, Vec w,
                                                  HeadSource heads, Index n, double noise);

}  // namespace metaspan
