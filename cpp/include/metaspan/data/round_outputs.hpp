// What the sweeps of a round return beside the gradient of B.
#pragma once

#include "metaspan/base/base.hpp"

namespace metaspan {

/// The results of a round except grad_B: grad_w and, for each task of the round, the requested
/// losses and adapted heads.
struct RoundOutputs {
  Vec w;        // (parameters,)  grad_w, and the gradients of the parameters that follow w
  Mat losses;   // (3, n)  inner before, inner after, outer
  Mat adapted;  // (n, k)  w_J
  Vec weights;  // (n,) weights of the tasks of the round, (47), or empty if all of them are 1
};

}  // namespace metaspan
