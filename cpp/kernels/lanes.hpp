// SIMD registers of the widest kind that this build may use: their types, loads and stores, written
// with the vector extension of GCC and Clang.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace metaspan::kernels {

#if defined(__AVX512F__)
constexpr int kLaneBytes = 64;
#elif defined(__AVX__)
constexpr int kLaneBytes = 32;
#else
constexpr int kLaneBytes = 16;
#endif
constexpr int kLane = kLaneBytes / 8;  // doubles in a register

/// Lane is a register of doubles, and LaneBits is the same register as 64-bit words.
using Lane = double __attribute__((vector_size(kLaneBytes)));
using LaneBits = std::uint64_t __attribute__((vector_size(kLaneBytes)));
/// Lane and LaneBits for memory that is aligned only to a double and that other pointers may alias.
/// The attributes must follow the name, since Clang ignores the alignment if the attributes follow
/// the type.
using LooseLane __attribute__((vector_size(kLaneBytes), aligned(8), may_alias)) = double;
using LooseLaneBits __attribute__((vector_size(kLaneBytes), aligned(8), may_alias)) = std::uint64_t;
static_assert(alignof(LooseLane) == 8 && alignof(LooseLaneBits) == 8);

/// Unaligned loads and stores of one register.
inline Lane load(const double* p) { return *reinterpret_cast<const LooseLane*>(p); }
inline void store(double* p, Lane v) { *reinterpret_cast<LooseLane*>(p) = v; }
inline LaneBits load(const std::uint64_t* p) { return *reinterpret_cast<const LooseLaneBits*>(p); }
inline void store(std::uint64_t* p, LaneBits v) { *reinterpret_cast<LooseLaneBits*>(p) = v; }

/// Returns a register in which every element is x. Compilers know that x - 0 equals x, so they omit
/// the subtraction and use a single instruction that loads x into all elements. For 0 + x,
/// compilers would keep the addition, since 0 + x turns -0 into 0.
inline Lane broadcast(double x) { return x - Lane{}; }

/// Makes the compiler hold v in a register. Where v is used several times, GCC may otherwise read
/// it from memory at every use, and loads then take longer than the arithmetic.
inline void hold(Lane& v) {
#if defined(__x86_64__)
  __asm__("" : "+v"(v));
#elif defined(__aarch64__)
  __asm__("" : "+w"(v));
#endif
}

/// Returns the 64-bit products of the low 32 bits of each element; the high bits of `a` and `b` are
/// ignored. Uses an intrinsic if the instruction set has a single instruction for these products.
inline LaneBits multiply_low_words(LaneBits a, LaneBits b) {
#if defined(__AVX512F__)
  return (LaneBits)_mm512_maskz_mul_epu32(0xFF, (__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
  return (LaneBits)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__SSE2__) && !defined(__AVX__)
  return (LaneBits)_mm_mul_epu32((__m128i)a, (__m128i)b);
#else
  return (a & 0xFFFFFFFF) * (b & 0xFFFFFFFF);
#endif
}

namespace detail {

/// Exchanges blocks of `Step` elements between two registers: the blocks of b at even places with
/// the blocks of a at odd places.
template <std::size_t Step, std::size_t... I>
inline void exchange_blocks(Lane& a, Lane& b, std::index_sequence<I...>) {
  const Lane low = __builtin_shufflevector(a, b, ((I & Step) != 0 ? I - Step + kLane : I)...);
  const Lane high = __builtin_shufflevector(a, b, ((I & Step) != 0 ? I + kLane : I + Step)...);
  a = low;
  b = high;
}

/// Transposes a square of registers in place: the two off-diagonal quarters of the square are
/// swapped, and then each quarter is transposed in the same way, down to single elements.
template <std::size_t Step = kLane / 2>
inline void transpose_square(Lane (&rows)[kLane]) {
#pragma GCC unroll 8
  for (std::size_t r = 0; r < kLane; ++r) {
    if ((r & Step) != 0) continue;
    exchange_blocks<Step>(rows[r], rows[r + Step], std::make_index_sequence<kLane>{});
  }
  if constexpr (Step > 1) transpose_square<Step / 2>(rows);
}

/// Returns the sum of the elements of a register, added in order.
inline double sum_of(Lane v) {
  double sum = 0;
  for (int lane = 0; lane < kLane; ++lane) sum += v[lane];
  return sum;
}

/// Adds the elements of each of `Count` registers in order. A square of registers is transposed, so
/// that kLane sums are computed together; their bits are those of sum_of(). The loops are unrolled
/// by pragmas, since GCC otherwise keeps the registers in memory.
template <int Count>
inline void add_elements(const Lane* registers, double* out) {
  if constexpr (Count == 1) {
    out[0] = sum_of(registers[0]);
  } else {
    constexpr int kNow = Count < kLane ? Count : kLane;
    Lane square[kLane], sum{};
#pragma GCC unroll 8
    for (int r = 0; r < kLane; ++r) square[r] = r < kNow ? registers[r] : Lane{};
    transpose_square(square);
#pragma GCC unroll 8
    for (int r = 0; r < kLane; ++r) sum += square[r];
    if constexpr (kNow == kLane) {
      store(out, sum);
    } else {
      for (int r = 0; r < kNow; ++r) out[r] = sum[r];
    }
    if constexpr (Count > kLane) add_elements<Count - kLane>(registers + kLane, out + kLane);
  }
}

/// The same for `count` registers in memory.
inline void add_elements(std::ptrdiff_t count, const double* registers, double* out) {
  std::ptrdiff_t i = 0;
  for (; i + kLane <= count; i += kLane) {
    Lane square[kLane];
    for (int r = 0; r < kLane; ++r) square[r] = load(registers + (i + r) * kLane);
    add_elements<kLane>(square, out + i);
  }
  for (; i < count; ++i) out[i] = sum_of(load(registers + i * kLane));
}

}  // namespace detail

}  // namespace metaspan::kernels
