// The mathematics of the random numbers of normal.hpp, one block at a time, for CPU and device. A
// file that includes this header for Number = double is compiled with -ffp-contract=off. Device
// code passes a Number whose operators are rounded one by one, since other code of a kernel is
// contracted to FMA instructions. Both have the same bits, because all operations are correctly
// rounded.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "metaspan/base/host_device.hpp"

namespace metaspan::kernels {

constexpr std::uint32_t kMul0 = 0xD2511F53, kMul1 = 0xCD9E8D57;
constexpr std::uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
constexpr int kPhiloxRounds = 10;

constexpr std::uint64_t kOneBits = 0x3FF0000000000000;       // of 1.0
constexpr std::uint64_t kSqrtHalfBits = 0x3FE6A09E667F3BCD;  // of sqrt(1/2)
constexpr std::uint64_t kMantissa = 0x000FFFFFFFFFFFFF;

/// Return the double with the given bits, and the bits of a double.
METASPAN_HD inline double from_bits(std::uint64_t bits) {
  double x = 0;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

METASPAN_HD inline std::uint64_t to_bits(double x) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

/// Returns the square root; a Number of device code has an overload of its own.
METASPAN_HD inline double square_root(double x) { return std::sqrt(x); }

/// Computes one Philox4x32-10 block in place: x has the counter on entry, and the random words on
/// return.
METASPAN_HD inline void philox_block(std::uint32_t k0, std::uint32_t k1,
                                     std::uint32_t x[4]) {  // (4,) in and out
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const std::uint64_t p0 = std::uint64_t{kMul0} * x[0], p1 = std::uint64_t{kMul1} * x[2];
    x[0] = static_cast<std::uint32_t>(p1 >> 32) ^ x[1] ^ k0;
    x[2] = static_cast<std::uint32_t>(p0 >> 32) ^ x[3] ^ k1;
    x[1] = static_cast<std::uint32_t>(p1);
    x[3] = static_cast<std::uint32_t>(p0);
    k0 += kWeyl0;
    k1 += kWeyl1;
  }
}

/// Returns a uniform in (0, 1) from two random words: 52 random bits fill the mantissa of a double
/// in [1, 2). Then 1 is subtracted and half a unit of the last bit is added, so that 0 cannot
/// occur.
METASPAN_HD inline double uniform_of(std::uint64_t high, std::uint64_t low) {
  return (from_bits((high << 20) | (low >> 12) | kOneBits) - 1.0) + 0x1p-53;
}

/// Returns the part g in (-1/2, 1/2) of an angle pi/2 (q + g) from two random words, of which the
/// top two bits are the quadrant q and the next 52 bits give g.
METASPAN_HD inline double angle_of(std::uint64_t high, std::uint64_t low) {
  return (from_bits(((high & 0x3FFFFFFF) << 22) | (low >> 10) | kOneBits) - 1.5) + 0x1p-53;
}

/// Returns log(u) for u > 0 that is not denormal. Let u = 2^e m with m in [sqrt(1/2), sqrt(2)), f =
/// m - 1 and s = f/(2 + f). Then log m = log((1+s)/(1-s)) = f - f^2/2 + s (f^2/2 + R), where s R is
/// the odd series of log((1+s)/(1-s)) without its first term. To keep rounding errors small, the
/// largest term f is added last, and log 2 is added in two parts.
template <class Number>
METASPAN_HD inline Number log_positive(Number u) {
  constexpr double kLn2Hi = 0x1.62e42feep-1, kLn2Lo = 0x1.a39ef35793c76p-33;
  const std::uint64_t shifted = to_bits(static_cast<double>(u)) + (kOneBits - kSqrtHalfBits);
  // Converts an integer below 2^52 to a double: if the low bits of the double 2^52 are replaced by
  // the integer, the value of the double is 2^52 plus the integer.
  const Number e = from_bits((shifted >> 52) | 0x4330000000000000) - (0x1p52 + 1023.0);
  const Number f = from_bits((shifted & kMantissa) + kSqrtHalfBits) - 1.0;
  const Number s = f / (2.0 + f);
  const Number z = s * s;
  // 2/3 + 2/5 z + 2/7 z^2 + ...: z < 0.0295, so the omitted terms are less than 2^-57 times the
  // sum.
  Number series = 2.0 / 23;
  series = series * z + 2.0 / 21;
  series = series * z + 2.0 / 19;
  series = series * z + 2.0 / 17;
  series = series * z + 2.0 / 15;
  series = series * z + 2.0 / 13;
  series = series * z + 2.0 / 11;
  series = series * z + 2.0 / 9;
  series = series * z + 2.0 / 7;
  series = series * z + 2.0 / 5;
  series = series * z + 2.0 / 3;
  const Number half_square = 0.5 * f * f;
  return e * kLn2Hi - ((half_square - (s * (half_square + series * z) + e * kLn2Lo)) - f);
}

/// Returns sin(pi/2 g) for |g| <= 1/2 by Taylor's series in g. The first coefficient of the series,
/// pi/2, is split into two doubles, so that rounding pi/2 causes no error.
template <class Number>
METASPAN_HD inline Number sin_quarter(Number g) {
  constexpr double kHalfPi = 0x1.921fb54442d18p+0, kHalfPiRest = 0x1.1a62633145c07p-54;
  const Number z = g * g;
  Number series = 0x1.aaec32af93359p-38;  // (pi/2)^17 / 17!
  series = series * z - 0x1.6fadb9f155744p-31;
  series = series * z + 0x1.e8f434d018d63p-25;
  series = series * z - 0x1.e3074fde8871fp-19;
  series = series * z + 0x1.50783487ee782p-13;
  series = series * z - 0x1.32d2cce62bd86p-8;
  series = series * z + 0x1.466bc6775aae2p-4;
  series = series * z - 0x1.4abbce625be53p-1;
  return g * kHalfPi + g * (kHalfPiRest + series * z);
}

/// Returns cos(pi/2 g) for |g| <= 1/2 by Taylor's series.
template <class Number>
METASPAN_HD inline Number cos_quarter(Number g) {
  const Number z = g * g;
  Number series = 0x1.20c62c2f2d7f5p-34;  // (pi/2)^16 / 16!
  series = series * z - 0x1.b6e24f44b128fp-28;
  series = series * z + 0x1.f9d38a3763cc3p-22;
  series = series * z - 0x1.a6d1f2a204a8cp-16;
  series = series * z + 0x1.e1f506891babbp-11;
  series = series * z - 0x1.55d3c7e3cbffap-6;
  series = series * z + 0x1.03c1f081b5ac4p-2;
  series = series * z - 0x1.3bd3cc9be45dep+0;
  return 1.0 + series * z;
}

/// Rotates (cosine, sine) by `quadrant` quarter turns: sine and cosine are swapped in odd
/// quadrants, and their signs depend on the quadrant. The swap and the signs are made by bit
/// operations, since a processor cannot predict branches on random bits.
METASPAN_HD inline void rotate(std::uint64_t quadrant, double cosine, double sine,
                               double& a,    // out, the cosine of the rotated pair
                               double& b) {  // out, its sine
  const std::uint64_t sin_bits = to_bits(sine), cos_bits = to_bits(cosine);
  const std::uint64_t swap = (sin_bits ^ cos_bits) & (0 - (quadrant & 1));
  const std::uint64_t a_sign = ((quadrant ^ (quadrant >> 1)) & 1) << 63;
  const std::uint64_t b_sign = (quadrant >> 1) << 63;
  a = from_bits((cos_bits ^ swap) ^ a_sign);
  b = from_bits((sin_bits ^ swap) ^ b_sign);
}

/// Transforms one block of random words into two normals by the Box-Muller transform, as
/// normal_pairs() of normal.hpp does for many blocks in stages.
template <class Number>
METASPAN_HD inline void normals_of_block(const std::uint32_t x[4], double& a, double& b) {
  const Number radius = square_root(-2.0 * log_positive(Number(uniform_of(x[0], x[1]))));
  const Number g = angle_of(x[2], x[3]);
  rotate(x[2] >> 30, static_cast<double>(radius * cos_quarter(g)),
         static_cast<double>(radius * sin_quarter(g)), a, b);
}

/// Returns the candidate for a chi-square that is computed from the normal x, or -1 if the uniform
/// u rejects this candidate.
///
/// The candidate for Gamma(a) is a_0 (1 + t)^3 with t = c x, c = 1 / sqrt(9 a_0) and a_0 = a - 1/3.
/// The logarithm of the probability of accepting this candidate is x^2/2 + a_0 (1 - (1+t)^3 + 3
/// log(1+t)). Since 9 a_0 t^2 = x^2, the terms in t and t^2 cancel exactly. The logarithm is
/// therefore a_0 (3 (log(1+t) - t + t^2/2) - t^3), and its power series in t begins with -3/4 a_0
/// t^4. For small t the power series is summed, because the closed form would lose all digits for
/// a_0 as large as 10^15. Both the power series and the closed form are computed, and one of the
/// two is selected, so that the loop over tasks has no branch.
template <class Number>
METASPAN_HD inline Number chi_square_candidate(Number a_0, Number c, Number x, Number u) {
  const Number t = c * x;
  const bool inside = static_cast<double>(t) > -1;
  const Number s = inside ? t : Number(0.0);
  Number series = 3.0 / 15 - s * (3.0 / 16);
  series = 3.0 / 14 - s * series;
  series = 3.0 / 13 - s * series;
  series = 3.0 / 12 - s * series;
  series = 3.0 / 11 - s * series;
  series = 3.0 / 10 - s * series;
  series = 3.0 / 9 - s * series;
  series = 3.0 / 8 - s * series;
  series = 3.0 / 7 - s * series;
  series = 3.0 / 6 - s * series;
  series = 3.0 / 5 - s * series;
  series = 3.0 / 4 - s * series;
  const Number square = s * s;
  const Number near = -square * square * series;
  const Number far = 3.0 * (log_positive(1.0 + s) - s + square / 2.0) - square * s;
  const Number rest = std::abs(static_cast<double>(s)) < 0.05 ? near : far;
  const bool taken =
      inside & (static_cast<double>(log_positive(u)) < static_cast<double>(a_0 * rest));
  return taken ? 2.0 * a_0 * (1.0 + s) * (1.0 + s) * (1.0 + s) : Number(-1.0);
}

/// The constants a_0 and c of chi_square_candidate() for a number of degrees of freedom.
template <class Number>
struct ChiSquareShape {
  Number a_0, c;
};
template <class Number>
METASPAN_HD inline ChiSquareShape<Number> chi_square_shape(double dof) {
  const Number a_0 = Number(dof) / 2.0 - Number(1.0 / 3);
  return {a_0, 1.0 / square_root(9.0 * a_0)};
}

/// Draws further candidates for one chi-square of a panel, whose first candidate was rejected,
/// until a candidate is accepted: attempt a takes its normal from the counter (task, row, set, 2a),
/// and its uniform from the counter (task, row, set, 2a + 1).
template <class Number>
METASPAN_HD inline double retry_chi_square(const std::uint32_t key[2], std::uint32_t task,
                                           std::uint32_t row, std::uint32_t set, double dof) {
  const ChiSquareShape<Number> shape = chi_square_shape<Number>(dof);
  for (std::uint32_t attempt = 1;; ++attempt) {
    std::uint32_t x[4] = {task, row, set, 2 * attempt};
    std::uint32_t y[4] = {task, row, set, 2 * attempt + 1};
    philox_block(key[0], key[1], x);
    philox_block(key[0], key[1], y);
    double normal = 0, other = 0;
    normals_of_block<Number>(x, normal, other);
    const double chi_square = static_cast<double>(
        chi_square_candidate(shape.a_0, shape.c, Number(normal), Number(uniform_of(y[0], y[1]))));
    if (chi_square > 0) return chi_square;
  }
}

}  // namespace metaspan::kernels
