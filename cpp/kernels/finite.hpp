// Tests whether arrays are finite. The functions are serial and take pointers and shapes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace metaspan::kernels {

/// Whether `count` contiguous numbers are all finite. A number is NaN or infinite if all its
/// exponent bits are set. The test works on integers and has no early exit, so that the compiler
/// can vectorise the loop.
inline bool all_finite(const double* x, std::ptrdiff_t count) {
  constexpr std::uint64_t kExponent = 0x7FF0000000000000;
  std::uint64_t bad = 0;
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    std::uint64_t bits;
    std::memcpy(&bits, x + i, sizeof bits);
    bad |= (bits & kExponent) == kExponent;
  }
  return bad == 0;
}

/// Whether `count` contiguous floats are all finite, by the same test of exponent bits.
inline bool all_finite(const float* x, std::ptrdiff_t count) {
  constexpr std::uint32_t kExponent = 0x7F800000;
  std::uint32_t bad = 0;
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    std::uint32_t bits;
    std::memcpy(&bits, x + i, sizeof bits);
    bad |= (bits & kExponent) == kExponent;
  }
  return bad == 0;
}

}  // namespace metaspan::kernels
