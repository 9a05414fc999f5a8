// The rules by which a trial ends. The CPU and a CUDA device compile them.
#pragma once

#include <cmath>
#include <cstddef>

#include "metaspan/base/host_device.hpp"

namespace metaspan {

/// The status of a trial; only a live trial advances.
enum class TrialStatus { live = 0, converged = 1, diverged = 2, underflow = 3 };

/// Distances below this value depend on denormal numbers and have lost their accuracy: a trial
/// whose distance falls below it ends with the status underflow.
constexpr double kLeastDist = 1e-300;

/// Applies the rules on the distance of a recorded row. Convergence is tested first: a distance at
/// or below stop_dist is convergence even if it is below kLeastDist too. `stop_dist` 0 means no
/// rule. `was_apart` says whether the distance of the previous row was above 0: if the distance is
/// 0 in this row and was above 0 before, it has fallen below the smallest double between two rows,
/// (14). A distance that has always been 0, as for a start on the truth, is not an underflow.
/// `resolves` is Engine::resolves_distance().
METASPAN_HD inline TrialStatus judge_distance(double dist, double stop_dist, bool resolves,
                                              bool was_apart) {
  if (dist <= stop_dist && stop_dist > 0) return TrialStatus::converged;
  if (resolves && dist < kLeastDist && (dist > 0 || was_apart)) return TrialStatus::underflow;
  return TrialStatus::live;
}

/// Whether a step of size beta keeps `count` numbers finite. The magnitudes of the numbers before
/// the step are at most `state`, and the magnitudes of their gradients at most `gradient`. The test
/// bounds the sum of the new magnitudes, so it does not depend on the order of the numbers.
METASPAN_HD inline bool stays_finite(double state, double gradient, double beta,
                                     std::ptrdiff_t count) {
  return std::isfinite(static_cast<double>(count) * (state + beta * gradient));
}

}  // namespace metaspan
