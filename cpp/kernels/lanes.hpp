// SIMD registers of the widest kind that this build may use: their types, loads and stores, written
// with the vector extension of GCC and Clang.
#pragma once

#include <cstddef>
#include <cstdint>
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

}  // namespace metaspan::kernels
