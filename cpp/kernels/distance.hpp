// The distance (20) of small states, computed for one state or for many states side by side. The
// functions are serial, take pointers and shapes, and allocate no memory. distance.cpp is compiled
// without contraction to FMA instructions, so that the distance of a state has the same bits in
// every column of a panel and for every width of the panel.
#pragma once

#include <cstddef>

#include "distance_math.hpp"
#include "trials.hpp"

namespace metaspan::kernels {

/// Computes the sine of the largest principal angle, (20), of states Z = [M; R] with k = k_star,
/// one state per column. The sine is 1 if M is singular or if R M^{-1} is not finite. The function
/// is compiled for the widths 1 and kTrials.
template <int Width>
void distances(std::ptrdiff_t k, std::ptrdiff_t e,
               const double* Z,  // (k + e, k, Width)
               double* scratch,  // (distance_scratch(k, e), Width)
               double* dist);    // (Width,) out
template <>
void distances<1>(std::ptrdiff_t, std::ptrdiff_t, const double*, double*, double*);
template <>
void distances<kTrials>(std::ptrdiff_t, std::ptrdiff_t, const double*, double*, double*);

}  // namespace metaspan::kernels
