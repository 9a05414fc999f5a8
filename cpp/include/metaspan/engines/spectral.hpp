// Population losses of features with a diagonal covariance, on B at full size.
#pragma once

#include "metaspan/engines/arrays.hpp"
#include "metaspan/random/heads.hpp"

namespace metaspan {

/// Memory O(d (k_star + k)); a round O(d (k_star + k)^2) for every moment, one for ANIL and at most
/// 4 J + 3 for MAML, and O(n (k_star + k)^2 (J + 1)^2) for the tasks. `roots` (d,) and B_star (d,
/// k_star) must outlive it.
template <class BScalar>
std::unique_ptr<ArraysEngine<BScalar>> make_spectral(const Method& method, const double* roots,
                                                     const Mat& B_star, Index k,
                                                     const ArraysStart<BScalar>& start,
                                                     HeadSource heads, double noise);

/// `sizes.rows` is d.
RoundCost spectral_cost(const Method& method, const RoundSizes& sizes);

}  // namespace metaspan
