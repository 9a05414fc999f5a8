// The spectral engine: population losses of features with a diagonal covariance, (15), on B at full
// size.
#pragma once

#include "metaspan/engines/arrays.hpp"
#include "metaspan/random/heads.hpp"

namespace metaspan {

/// Makes a spectral engine. `roots` (d,) are the square roots of the covariance; `roots` and B_star
/// (d, k_star) must outlive the engine. The memory is O(d * p) with p = k_star + k. A round takes
/// O(d * p^2) for every moment, and O(n * p^2 * (J + 1)^2) for the tasks. ANIL has one moment and
/// MAML 2 J + 1 moments.
template <class BScalar>
std::unique_ptr<ArraysEngine<BScalar>> make_spectral(const Method& method, const double* roots,
                                                     const Mat& B_star, Index k,
                                                     const ArraysStart<BScalar>& start,
                                                     HeadSource heads, double noise);

/// Returns the cost of a round. In `sizes`, `rows` is d.
RoundCost spectral_cost(const Method& method, const RoundSizes& sizes);

}  // namespace metaspan
