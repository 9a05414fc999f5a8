// The instances of the templates of distance_math.hpp for one state and for registers of states.
#include "distance.hpp"

#include "distance_math.hpp"
#include "trials.hpp"

namespace metaspan::kernels {

template <>
struct Bits<Lane> {
  using Mask = LaneBits;
  static Mask of(Lane x) { return (LaneBits)x; }
  static Lane number(Mask bits) { return (Lane)bits; }
  static Mask larger(Lane a, Lane b) { return (LaneBits)(a > b); }
  static Lane root(Lane x) {
    for (int t = 0; t < kLane; ++t) x[t] = std::sqrt(x[t]);
    return x;
  }
  static bool any(Mask mask) {
    std::uint64_t all = 0;
    for (int t = 0; t < kLane; ++t) all |= mask[t];
    return all != 0;
  }
};

template <>
void distances<1>(std::ptrdiff_t k, std::ptrdiff_t e, const double* Z, double* scratch,
                  double* dist) {
  *dist = distance(k, e, Z, 1, Numbers<double, 1>(scratch));
}

template <>
void distances<kTrials>(std::ptrdiff_t k, std::ptrdiff_t e, const double* Z, double* scratch,
                        double* dist) {
  for (int t = 0; t < kTrials; t += kLane) {
    store(dist + t, distance(k, e, Z + t, kTrials, Numbers<Lane, kLane>(scratch)));
  }
}

}  // namespace metaspan::kernels
