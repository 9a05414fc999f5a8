// Matrix-vector sweeps over a piece of the columns of X, a few rows at a time. X may be float or
// double; all other arrays and all sums are double, except in functions whose names contain
// `single`. The order of every sum depends on shapes alone. The functions are serial and take
// pointers and shapes.
#pragma once

#include <type_traits>

#include "lanes.hpp"

namespace metaspan::kernels {

/// Loads kLane contiguous numbers as doubles. Uses an intrinsic if the instruction set has a single
/// instruction for the conversion. Without the intrinsic, GCC converts the two halves of a register
/// separately and joins the results.
inline Lane load_wide(const double* p) { return load(p); }
inline Lane load_wide(const float* p) {
#if defined(__AVX512F__)
  return (Lane)_mm512_maskz_cvtps_pd(0xFF, _mm256_loadu_ps(p));
#elif defined(__AVX__)
  return (Lane)_mm256_cvtps_pd(_mm_loadu_ps(p));
#else
  using LooseFloats __attribute__((vector_size(kLaneBytes / 2), aligned(4), may_alias)) = float;
  static_assert(alignof(LooseFloats) == 4);
  return __builtin_convertvector(*reinterpret_cast<const LooseFloats*>(p), Lane);
#endif
}

/// Loads kLane contiguous numbers as doubles, a register of AVX-512 in two halves. A row of X may
/// begin anywhere, and a load takes longer if it crosses the border between two cache lines: up to
/// all loads of whole registers cross one, but at most every second load of half a register. On a
/// Zen 4 processor, sweeps over rows in a cache take 0.92 to 0.95 of the time with halves; a sweep
/// that waits for memory is slower with halves by a twentieth.
inline Lane load_halves(const double* p) {
#if defined(__AVX512F__)
  const __m512d low = _mm512_castpd256_pd512(_mm256_loadu_pd(p));
  return (Lane)_mm512_maskz_insertf64x4(0xFF, low, _mm256_loadu_pd(p + 4), 1);
#else
  return load(p);
#endif
}
inline Lane load_halves(const float* p) { return load_wide(p); }

/// Loads the first `count` numbers, 0 < count < kLane, as doubles, with zeros behind them. Nothing
/// behind these numbers is read.
template <class Scalar>
inline Lane load_first(std::ptrdiff_t count, const Scalar* p) {
#if defined(__AVX512VL__)
  const auto mask = static_cast<__mmask8>((1 << count) - 1);
  if constexpr (std::is_same_v<Scalar, double>) {
    return (Lane)_mm512_maskz_loadu_pd(mask, p);
  } else {
    return (Lane)_mm512_maskz_cvtps_pd(0xFF, _mm256_maskz_loadu_ps(mask, p));
  }
#elif defined(__AVX2__) && !defined(__AVX512F__)
  if constexpr (std::is_same_v<Scalar, double>) {
    const __m256i places = _mm256_set_epi64x(3, 2, 1, 0);
    return (Lane)_mm256_maskload_pd(p, _mm256_cmpgt_epi64(_mm256_set1_epi64x(count), places));
  } else {
    const __m128i places = _mm_set_epi32(3, 2, 1, 0);
    const __m128i mask = _mm_cmpgt_epi32(_mm_set1_epi32(static_cast<int>(count)), places);
    return (Lane)_mm256_cvtps_pd(_mm_maskload_ps(p, mask));
  }
#else
  Lane v{};
  for (std::ptrdiff_t i = 0; i < count; ++i) v[i] = static_cast<double>(p[i]);
  return v;
#endif
}

/// Stores the first `count` elements of a register, 0 < count < kLane.
inline void store_first(std::ptrdiff_t count, double* p, Lane v) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1 << count) - 1), (__m512d)v);
#else
  for (std::ptrdiff_t i = 0; i < count; ++i) p[i] = v[i];
#endif
}

/// Converts `count` contiguous numbers to doubles. The last register may overlap the register
/// before it, so that no scalar loop is needed.
template <class Scalar>
inline void copy_wide(std::ptrdiff_t count, const Scalar* from, double* to) {
  std::ptrdiff_t i = 0;
  for (; i + kLane <= count; i += kLane) store(to + i, load_wide(from + i));
  if (i == count) return;
  if (count >= kLane) return store(to + count - kLane, load_wide(from + count - kLane));
  for (; i < count; ++i) to[i] = static_cast<double>(from[i]);
}

/// Rows of X that are equally far apart in memory.
template <class Scalar>
struct Run {
  const Scalar* X;  // (count, columns), rows `stride` apart
  std::ptrdiff_t count, stride;
};

namespace detail {

constexpr int kRows = 8;                      // rows of X at a time, with one register of sums each
constexpr std::ptrdiff_t kAheadBytes = 1024;  // a row is prefetched this far ahead of its reads
constexpr std::ptrdiff_t kChunk = 8192;  // columns at a time in transposed sweeps: their sums stay
                                         // in a cache
/// Numbers in a cache line, which a prefetch reads whole.
template <class Scalar>
constexpr auto kInLine = static_cast<std::ptrdiff_t>(64 / sizeof(Scalar));

/// Computes out = X u for `Rows` rows together, so that each register of u is loaded once for all
/// rows. Each row has `Chains` registers of partial sums, to which products are added in turns. A
/// few rows with several registers each have as many independent additions as many rows with one
/// register each. The columns that are left after all full registers are one more register, with
/// zeros behind them. For each row, the registers of sums are added in order, and then the elements
/// of the resulting register. Unless `upcoming` is null, as many cache lines as these rows have are
/// prefetched from there. Some loops over rows are unrolled by a pragma, since GCC otherwise keeps
/// the sums in memory.
template <int Rows, int Chains, class Scalar>
inline void times_rows(std::ptrdiff_t columns, const Scalar* X, std::ptrdiff_t stride,
                       const double* u, double* out, const Scalar* upcoming = nullptr) {
  Lane sums[Rows][Chains];
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 8
    for (int chain = 0; chain < Chains; ++chain) sums[r][chain] = Lane{};
  }
  std::ptrdiff_t c = 0;
  for (; c + Chains * kLane <= columns; c += Chains * kLane) {
    for (int chain = 0; chain < Chains; ++chain) {
      const Lane v = load(u + c + chain * kLane);
      for (int r = 0; r < Rows; ++r) {
        sums[r][chain] += load_halves(X + r * stride + c + chain * kLane) * v;
      }
    }
    if (upcoming == nullptr) continue;
    for (std::ptrdiff_t i = 0; i < Rows * Chains * kLane; i += kInLine<Scalar>) {
      __builtin_prefetch(upcoming + i, 0, 2);
    }
    upcoming += Rows * Chains * kLane;
  }
  for (; c + kLane <= columns; c += kLane) {
    const Lane v = load(u + c);
    for (int r = 0; r < Rows; ++r) sums[r][0] += load_halves(X + r * stride + c) * v;
  }
  if (const std::ptrdiff_t rest = columns - c; rest > 0) {
    const Lane v = load_first(rest, u + c);
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) sums[r][0] += load_first(rest, X + r * stride + c) * v;
  }
  Lane all[Rows];
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
    all[r] = sums[r][0];
    for (int chain = 1; chain < Chains; ++chain) all[r] += sums[r][chain];
  }
  add_elements<Rows>(all, out);
}

/// Computes out = X^T a or, with `Add`, out += X^T a for `Rows` rows together. Each element of out
/// is read and written once for all these rows, and the rows are added to the element in order.
template <int Rows, bool Add, class Scalar>
inline void combine_rows(std::ptrdiff_t columns, const Scalar* X, std::ptrdiff_t stride,
                         const double* a, double* out) {
  Lane factor[Rows];
  for (int r = 0; r < Rows; ++r) factor[r] = broadcast(a[r]);
  std::ptrdiff_t c = 0;
  for (; c + kLane <= columns; c += kLane) {
    Lane sum = Add ? load(out + c) : Lane{};
    for (int r = 0; r < Rows; ++r) sum += factor[r] * load_halves(X + r * stride + c);
    store(out + c, sum);
  }
  if (const std::ptrdiff_t rest = columns - c; rest > 0) {
    Lane sum = Add ? load_first(rest, out + c) : Lane{};
    for (int r = 0; r < Rows; ++r) sum += factor[r] * load_first(rest, X + r * stride + c);
    store_first(rest, out + c, sum);
  }
}

/// Computes out = X^T a or, with `Add`, out += X^T a for the remaining rows, which are fewer than
/// kRows. Up to four rows are processed at a time.
template <bool Add, class Scalar>
inline void combine_rest(std::ptrdiff_t rows, std::ptrdiff_t columns, const Scalar* X,
                         std::ptrdiff_t stride, const double* a, double* out) {
  if (rows >= 4) {
    combine_rows<4, Add>(columns, X, stride, a, out);
    combine_rest<true>(rows - 4, columns, X + 4 * stride, stride, a + 4, out);
  } else if (rows == 3) {
    combine_rows<3, Add>(columns, X, stride, a, out);
  } else if (rows == 2) {
    combine_rows<2, Add>(columns, X, stride, a, out);
  } else if (rows == 1) {
    combine_rows<1, Add>(columns, X, stride, a, out);
  }
}

/// Computes out_a = X^T a or, with `Add`, out_a += X^T a for kRows rows of X, and out_u = Y u for
/// kRows rows of Y, in one loop over the columns of both. X is in a cache and Y is in memory, so
/// that the arithmetic on X overlaps with reading Y. While a register of Y is multiplied, a later
/// part of the same row is prefetched. The sums have the same order as in combine_rows() and
/// times_rows().
template <bool Add, class Scalar>
inline void combine_and_times_rows(std::ptrdiff_t columns, const Scalar* X, std::ptrdiff_t stride,
                                   const double* a, double* out_a, const Scalar* Y, const double* u,
                                   double* out_u) {
  Lane factor[kRows], sums[kRows];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    factor[r] = broadcast(a[r]);
    sums[r] = Lane{};
  }
  std::ptrdiff_t c = 0;
  for (; c + kLane <= columns; c += kLane) {
    if (c % kInLine<Scalar> == 0) {
      for (int r = 0; r < kRows; ++r) {
        __builtin_prefetch(reinterpret_cast<const char*>(Y + r * stride + c) + kAheadBytes, 0, 2);
      }
    }
    Lane sum = Add ? load(out_a + c) : Lane{};
    const Lane v = load(u + c);
    for (int r = 0; r < kRows; ++r) sum += factor[r] * load_wide(X + r * stride + c);
    for (int r = 0; r < kRows; ++r) sums[r] += load_wide(Y + r * stride + c) * v;
    store(out_a + c, sum);
  }
  if (const std::ptrdiff_t rest = columns - c; rest > 0) {
    const Lane v = load_first(rest, u + c);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) sums[r] += load_first(rest, Y + r * stride + c) * v;
    combine_rows<kRows, Add>(rest, X + c, stride, a, out_a + c);
  }
  add_elements<kRows>(sums, out_u);
}

/// Computes X^T a and X^T b for `Rows` rows together. If `Add` is true, the results are added to
/// the outputs; otherwise they replace the outputs. Every register of X is loaded once for both
/// products.
template <int Rows, bool Add, class Scalar>
inline void combine_rows_two(std::ptrdiff_t columns, const Scalar* X, std::ptrdiff_t stride,
                             const double* a, const double* b, double* out_a, double* out_b) {
  Lane factor_a[Rows], factor_b[Rows];
  for (int r = 0; r < Rows; ++r) {
    factor_a[r] = broadcast(a[r]);
    factor_b[r] = broadcast(b[r]);
  }
  std::ptrdiff_t c = 0;
  for (; c + kLane <= columns; c += kLane) {
    Lane sum_a = Add ? load(out_a + c) : Lane{}, sum_b = Add ? load(out_b + c) : Lane{};
    for (int r = 0; r < Rows; ++r) {
      const Lane x = load_halves(X + r * stride + c);
      sum_a += factor_a[r] * x;
      sum_b += factor_b[r] * x;
    }
    store(out_a + c, sum_a);
    store(out_b + c, sum_b);
  }
  if (const std::ptrdiff_t rest = columns - c; rest > 0) {
    Lane sum_a = Add ? load_first(rest, out_a + c) : Lane{};
    Lane sum_b = Add ? load_first(rest, out_b + c) : Lane{};
    for (int r = 0; r < Rows; ++r) {
      const Lane x = load_first(rest, X + r * stride + c);
      sum_a += factor_a[r] * x;
      sum_b += factor_b[r] * x;
    }
    store_first(rest, out_a + c, sum_a);
    store_first(rest, out_b + c, sum_b);
  }
}

}  // namespace detail

/// Computes out = X u. X is row-major. Eight rows are processed at a time, with one register of
/// sums for each row. If fewer than eight rows are left, four rows have two registers each, and
/// every further row has four registers. The order of the sum of a row depends only on the position
/// of the row and on the shape of X. While eight rows are multiplied, as many numbers as they have
/// are prefetched into the L2 cache, one after the other from `upcoming`, unless it is null.
template <class Scalar>
inline void sweep_times(std::ptrdiff_t rows, std::ptrdiff_t columns,
                        const Scalar* X,  // (rows, columns), rows `stride` apart
                        std::ptrdiff_t stride,
                        const double* u,  // (columns,)
                        double* out,      // (rows,)
                        const Scalar* upcoming = nullptr) {
  constexpr int kRows = detail::kRows;
  std::ptrdiff_t i = 0;
  for (; i + kRows <= rows; i += kRows) {
    detail::times_rows<kRows, 1>(columns, X + i * stride, stride, u, out + i,
                                 upcoming == nullptr ? upcoming : upcoming + i * columns);
  }
  for (; i + 4 <= rows; i += 4) {
    detail::times_rows<4, 2>(columns, X + i * stride, stride, u, out + i);
  }
  for (; i < rows; ++i) detail::times_rows<1, 4>(columns, X + i * stride, stride, u, out + i);
}

/// Computes out = X^T a, or out += X^T a. X is row-major. Chunks of columns are completed one after
/// the other, so that the sums of a chunk stay in a cache. Within a chunk, eight rows of X at a
/// time are added to out. If `Add` is false, the first rows overwrite out. Each element of out is
/// summed in the order of the rows.
template <bool Add, class Scalar>
inline void sweep_combine(std::ptrdiff_t rows, std::ptrdiff_t columns,
                          const Scalar* X,  // (rows, columns), rows `stride` apart
                          std::ptrdiff_t stride,
                          const double* a,  // (rows,)
                          double* out) {    // (columns,)
  constexpr int kRows = detail::kRows;
  for (std::ptrdiff_t c = 0; c < columns; c += detail::kChunk) {
    const std::ptrdiff_t count = columns - c < detail::kChunk ? columns - c : detail::kChunk;
    const Scalar* part = X + c;
    double* sum = out + c;
    if (rows < kRows) {
      detail::combine_rest<Add>(rows, count, part, stride, a, sum);
      continue;
    }
    detail::combine_rows<kRows, Add>(count, part, stride, a, sum);
    std::ptrdiff_t i = kRows;
    for (; i + kRows <= rows; i += kRows) {
      detail::combine_rows<kRows, true>(count, part + i * stride, stride, a + i, sum);
    }
    detail::combine_rest<true>(rows - i, count, part + i * stride, stride, a + i, sum);
  }
}

/// Computes out_a = X^T a, or out_a += X^T a, and out_u = Y u, processing kRows rows of X and kRows
/// rows of Y together. The remaining rows of X and of Y are processed afterwards. The bits equal
/// those of sweep_combine() and sweep_times().
template <bool Add, class Scalar>
inline void sweep_combine_and_times(std::ptrdiff_t columns,
                                    std::ptrdiff_t stride,  // of the rows of X and of Y
                                    std::ptrdiff_t rows,
                                    const Scalar* X,  // (rows, columns)
                                    const double* a,  // (rows,)
                                    double* out_a,    // (columns,)
                                    std::ptrdiff_t others,
                                    const Scalar* Y,  // (others, columns)
                                    const double* u,  // (columns,)
                                    double* out_u) {  // (others,)
  constexpr int kRows = detail::kRows;
  if (rows < kRows || others < kRows) {
    sweep_combine<Add>(rows, columns, X, stride, a, out_a);
    return sweep_times(others, columns, Y, stride, u, out_u);
  }
  detail::combine_and_times_rows<Add>(columns, X, stride, a, out_a, Y, u, out_u);
  std::ptrdiff_t i = kRows;
  for (; i + kRows <= rows && i + kRows <= others; i += kRows) {
    detail::combine_and_times_rows<true>(columns, X + i * stride, stride, a + i, out_a,
                                         Y + i * stride, u, out_u + i);
  }
  sweep_combine<true>(rows - i, columns, X + i * stride, stride, a + i, out_a);
  sweep_times(others - i, columns, Y + i * stride, stride, u, out_u + i);
}

/// Computes out_a = X^T a and out_b = X^T b, and reads X only once. Each element of out_a and out_b
/// is summed in the order of the rows.
template <class Scalar>
inline void sweep_combine_two(std::ptrdiff_t rows, std::ptrdiff_t columns,
                              const Scalar* X,  // (rows, columns), rows `stride` apart
                              std::ptrdiff_t stride,
                              const double* a,  // (rows,)
                              const double* b,  // (rows,)
                              double* out_a,    // (columns,)
                              double* out_b) {  // (columns,)
  constexpr int kRows = detail::kRows;
  std::ptrdiff_t i = 0;
  if (rows >= kRows) {
    detail::combine_rows_two<kRows, false>(columns, X, stride, a, b, out_a, out_b);
    i = kRows;
  } else {
    detail::combine_rows_two<1, false>(columns, X, stride, a, b, out_a, out_b);
    i = 1;
  }
  for (; i + kRows <= rows; i += kRows) {
    detail::combine_rows_two<kRows, true>(columns, X + i * stride, stride, a + i, b + i, out_a,
                                          out_b);
  }
  for (; i + 2 <= rows; i += 2) {
    detail::combine_rows_two<2, true>(columns, X + i * stride, stride, a + i, b + i, out_a, out_b);
  }
  for (; i < rows; ++i) {
    detail::combine_rows_two<1, true>(columns, X + i * stride, stride, a + i, b + i, out_a, out_b);
  }
}

// Sweeps over X with sums in single precision, for which a register holds twice as many numbers as
// in double precision. Only sums over a chunk of columns, or over the rows of a call, are floats;
// all other arithmetic is in double.

namespace detail {

constexpr int kSingles = 2 * kLane;            // floats in a register
constexpr std::ptrdiff_t kSingleChunk = 1024;  // columns of a sum in single precision
using Singles = float __attribute__((vector_size(kLaneBytes)));
using LooseSingles __attribute__((vector_size(kLaneBytes), aligned(4), may_alias)) = float;
static_assert(alignof(LooseSingles) == 4);

inline Singles load_singles(const float* p) { return *reinterpret_cast<const LooseSingles*>(p); }

/// Computes out += X u for `Rows` rows of a chunk of columns. The sum for each row is computed in
/// floats and then added to a double in out.
template <int Rows>
inline void times_rows_single(std::ptrdiff_t columns, const float* X, std::ptrdiff_t stride,
                              const float* u, double* out) {
  Singles sums[Rows] = {};
  std::ptrdiff_t c = 0;
  for (; c + kSingles <= columns; c += kSingles) {
    const Singles v = load_singles(u + c);
    for (int r = 0; r < Rows; ++r) sums[r] += load_singles(X + r * stride + c) * v;
  }
  for (int r = 0; r < Rows; ++r) {
    float sum = 0;
    for (int lane = 0; lane < kSingles; ++lane) sum += sums[r][lane];
    for (std::ptrdiff_t i = c; i < columns; ++i) sum += X[r * stride + i] * u[i];
    out[r] += static_cast<double>(sum);
  }
}

/// Computes out += X^T a in single precision, for `Rows` rows together.
template <int Rows>
inline void combine_rows_single(std::ptrdiff_t columns, const float* X, std::ptrdiff_t stride,
                                const double* a, float* out) {
  Singles factor[Rows];
  for (int r = 0; r < Rows; ++r) factor[r] = Singles{} + static_cast<float>(a[r]);
  std::ptrdiff_t c = 0;
  for (; c + kSingles <= columns; c += kSingles) {
    Singles sum = load_singles(out + c);
    for (int r = 0; r < Rows; ++r) sum += factor[r] * load_singles(X + r * stride + c);
    *reinterpret_cast<LooseSingles*>(out + c) = sum;
  }
  for (; c < columns; ++c) {
    for (int r = 0; r < Rows; ++r) out[c] += static_cast<float>(a[r]) * X[r * stride + c];
  }
}

}  // namespace detail

/// Computes out = X u. Each chunk of u is converted to floats once for all rows. A sum over a chunk
/// is a float, and the sums of the chunks are added in double, so that rounding errors of single
/// precision accumulate over one chunk only.
inline void sweep_times_single(std::ptrdiff_t rows, std::ptrdiff_t columns, const float* X,
                               std::ptrdiff_t stride, const double* u, double* out) {
  constexpr int kRows = detail::kRows;
  float part[detail::kSingleChunk];
  for (std::ptrdiff_t i = 0; i < rows; ++i) out[i] = 0;
  for (std::ptrdiff_t c = 0; c < columns; c += detail::kSingleChunk) {
    const std::ptrdiff_t count =
        columns - c < detail::kSingleChunk ? columns - c : detail::kSingleChunk;
    for (std::ptrdiff_t j = 0; j < count; ++j) part[j] = static_cast<float>(u[c + j]);
    std::ptrdiff_t i = 0;
    for (; i + kRows <= rows; i += kRows) {
      detail::times_rows_single<kRows>(count, X + i * stride + c, stride, part, out + i);
    }
    for (; i < rows; ++i) {
      detail::times_rows_single<1>(count, X + i * stride + c, stride, part, out + i);
    }
  }
}

/// Computes out = X^T a if `set` is true, otherwise out += X^T a. For each chunk of columns, the
/// sums over all rows of the call are floats, which are then added to out in double.
inline void sweep_combine_single(std::ptrdiff_t rows, std::ptrdiff_t columns, const float* X,
                                 std::ptrdiff_t stride, const double* a, bool set, double* out) {
  constexpr int kRows = detail::kRows;
  for (std::ptrdiff_t c = 0; c < columns; c += detail::kSingleChunk) {
    const std::ptrdiff_t count =
        columns - c < detail::kSingleChunk ? columns - c : detail::kSingleChunk;
    float sum[detail::kSingleChunk] = {};
    std::ptrdiff_t i = 0;
    for (; i + kRows <= rows; i += kRows) {
      detail::combine_rows_single<kRows>(count, X + i * stride + c, stride, a + i, sum);
    }
    for (; i < rows; ++i) {
      detail::combine_rows_single<1>(count, X + i * stride + c, stride, a + i, sum);
    }
    for (std::ptrdiff_t j = 0; j < count; ++j) {
      out[c + j] = (set ? 0 : out[c + j]) + static_cast<double>(sum[j]);
    }
  }
}

}  // namespace metaspan::kernels
