// The instances of the templates of distance_math.hpp for one state and for registers of states.
#include "distance.hpp"

#include <type_traits>

#include "distance_math.hpp"
#include "trials.hpp"

namespace metaspan::kernels {

namespace {

/// A number, or a mask, of each of kStates states in two registers R. Nearly every operation
/// depends on the one before it; the operations on one register hide the latency of those on the
/// other.
template <class R>
struct Pair {
  R low, high;
};
constexpr int kStates = 2 * kLane;
using States = Pair<Lane>;
using Mask = Pair<LaneBits>;

template <class R>
Pair<R> operator*(const Pair<R>& a, const Pair<R>& b) {
  return {a.low * b.low, a.high * b.high};
}
template <class R>
Pair<R> operator/(const Pair<R>& a, const Pair<R>& b) {
  return {a.low / b.low, a.high / b.high};
}
template <class R>
Pair<R> operator+(const Pair<R>& a, const Pair<R>& b) {
  return {a.low + b.low, a.high + b.high};
}
template <class R>
Pair<R> operator-(const Pair<R>& a, const Pair<R>& b) {
  return {a.low - b.low, a.high - b.high};
}
template <class R>
Pair<R> operator&(const Pair<R>& a, const Pair<R>& b) {
  return {a.low & b.low, a.high & b.high};
}
template <class R>
Pair<R> operator|(const Pair<R>& a, const Pair<R>& b) {
  return {a.low | b.low, a.high | b.high};
}
template <class R>
Pair<R> operator~(const Pair<R>& a) {
  return {~a.low, ~a.high};
}
template <class R>
Pair<R>& operator&=(Pair<R>& a, const Pair<R>& b) {
  return a = a & b;
}
States operator+(const States& a, double b) { return {a.low + b, a.high + b}; }
States operator+(double a, const States& b) { return b + a; }
States operator*(double a, const States& b) { return {a * b.low, a * b.high}; }
States operator/(double a, const States& b) { return {a / b.low, a / b.high}; }
States& operator+=(States& a, const States& b) { return a = a + b; }
States& operator-=(States& a, const States& b) { return a = a - b; }
Mask operator&(const Mask& a, std::uint64_t b) { return {a.low & b, a.high & b}; }
Lane root(Lane x) {
  for (int t = 0; t < kLane; ++t) x[t] = std::sqrt(x[t]);
  return x;
}

}  // namespace

template <>
struct Bits<States> {
  using Mask = kernels::Mask;
  static States read(const double* memory) { return {load(memory), load(memory + kLane)}; }
  static void write(double* memory, const States& x) {
    store(memory, x.low);
    store(memory + kLane, x.high);
  }
  static Mask of(const States& x) { return {(LaneBits)x.low, (LaneBits)x.high}; }
  static States number(const Mask& bits) { return {(Lane)bits.low, (Lane)bits.high}; }
  static Mask larger(const States& a, const States& b) {
    return {(LaneBits)(a.low > b.low), (LaneBits)(a.high > b.high)};
  }
  static States root(const States& x) { return {kernels::root(x.low), kernels::root(x.high)}; }
  static bool any(const Mask& mask) {
    const LaneBits either = mask.low | mask.high;
    std::uint64_t all = 0;
    for (int t = 0; t < kLane; ++t) all |= either[t];
    return all != 0;
  }
};

namespace {

template <std::ptrdiff_t K>
using Known = std::integral_constant<std::ptrdiff_t, K>;

/// Calls distance() with sizes that the compiler knows if k = e is small, since it then unrolls the
/// loops. Unless d is small, e equals k.
template <class N>
typename N::Value measure(std::ptrdiff_t k, std::ptrdiff_t e, const double* Z,
                          std::ptrdiff_t stride, N scratch) {
  if (k == e && k == 2) return distance(Known<2>{}, Known<2>{}, Z, stride, scratch);
  if (k == e && k == 3) return distance(Known<3>{}, Known<3>{}, Z, stride, scratch);
  return distance(k, e, Z, stride, scratch);
}

}  // namespace

template <>
void distances<1>(std::ptrdiff_t k, std::ptrdiff_t e, const double* Z, double* scratch,
                  double* dist) {
  *dist = measure(k, e, Z, 1, Numbers<double, 1>(scratch));
}

template <>
void distances<kTrials>(std::ptrdiff_t k, std::ptrdiff_t e, const double* Z, double* scratch,
                        double* dist) {
  for (int t = 0; t < kTrials; t += kStates) {
    Bits<States>::write(dist + t, measure(k, e, Z + t, kTrials, Numbers<States, kStates>(scratch)));
  }
}

}  // namespace metaspan::kernels
