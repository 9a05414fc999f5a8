// Matrix-vector sweeps over some columns of X, a few rows at a time, in an order that shapes alone
// decide. X in its own type, everything else and, but where a name says so, every sum in double.
// Serial; pointers and shapes alone.
#pragma once

#include "lanes.hpp"

namespace metaspan::kernels {

/// kLane neighbours as doubles.
inline Lane load_wide(const double* p) { return load(p); }
inline Lane load_wide(const float* p) {
  using LooseFloats __attribute__((vector_size(kLaneBytes / 2), aligned(4), may_alias)) = float;
  static_assert(alignof(LooseFloats) == 4);
  return __builtin_convertvector(*reinterpret_cast<const LooseFloats*>(p), Lane);
}

/// A row of numbers as doubles.
template <class Scalar>
inline void copy_wide(std::ptrdiff_t count, const Scalar* from, double* to) {
  std::ptrdiff_t i = 0;
  for (; i + kLane <= count; i += kLane) store(to + i, load_wide(from + i));
  if (i == count) return;
  if (count >= kLane) return store(to + count - kLane, load_wide(from + count - kLane));
  for (; i < count; ++i) to[i] = static_cast<double>(from[i]);
}

namespace detail {

constexpr int kRows = 8;                 // rows of X at a time: a register each
constexpr std::ptrdiff_t kChunk = 8192;  // columns at a time in transposed sweeps: their sums stay
                                         // in the first cache

inline double sum_of(Lane v) {
  double sum = 0;
  for (int lane = 0; lane < kLane; ++lane) sum += v[lane];
  return sum;
}

/// `Chains` independent sums a row, so that few rows keep the arithmetic units as busy as many.
template <int Rows, int Chains, class Scalar>
inline void times_rows(std::ptrdiff_t columns, const Scalar* X, std::ptrdiff_t stride,
                       const double* u, double* out) {
  Lane sums[Rows][Chains] = {};
  std::ptrdiff_t c = 0;
  for (; c + Chains * kLane <= columns; c += Chains * kLane) {
    for (int chain = 0; chain < Chains; ++chain) {
      const Lane v = load(u + c + chain * kLane);
      for (int r = 0; r < Rows; ++r) {
        sums[r][chain] += load_wide(X + r * stride + c + chain * kLane) * v;
      }
    }
  }
  for (; c + kLane <= columns; c += kLane) {
    const Lane v = load(u + c);
    for (int r = 0; r < Rows; ++r) sums[r][0] += load_wide(X + r * stride + c) * v;
  }
  for (int r = 0; r < Rows; ++r) {
    for (int chain = 1; chain < Chains; ++chain) sums[r][0] += sums[r][chain];
    double sum = sum_of(sums[r][0]);
    for (std::ptrdiff_t i = c; i < columns; ++i) {
      sum += static_cast<double>(X[r * stride + i]) * u[i];
    }
    out[r] = sum;
  }
}

template <int Rows, bool Add, class Scalar>
inline void combine_rows(std::ptrdiff_t columns, const Scalar* X, std::ptrdiff_t stride,
                         const double* a, double* out) {
  Lane factor[Rows];
  for (int r = 0; r < Rows; ++r) factor[r] = Lane{} + a[r];
  std::ptrdiff_t c = 0;
  for (; c + kLane <= columns; c += kLane) {
    Lane sum = Add ? load(out + c) : Lane{};
    for (int r = 0; r < Rows; ++r) sum += factor[r] * load_wide(X + r * stride + c);
    store(out + c, sum);
  }
  for (; c < columns; ++c) {
    double sum = Add ? out[c] : 0;
    for (int r = 0; r < Rows; ++r) sum += a[r] * static_cast<double>(X[r * stride + c]);
    out[c] = sum;
  }
}

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

}  // namespace detail

/// out = X u.
template <class Scalar>
inline void sweep_times(std::ptrdiff_t rows, std::ptrdiff_t columns,
                        const Scalar* X,  // (rows, columns), rows `stride` apart
                        std::ptrdiff_t stride,
                        const double* u,  // (columns,)
                        double* out) {    // (rows,)
  constexpr int kRows = detail::kRows;
  std::ptrdiff_t i = 0;
  for (; i + kRows <= rows; i += kRows) {
    detail::times_rows<kRows, 1>(columns, X + i * stride, stride, u, out + i);
  }
  for (; i + 4 <= rows; i += 4) {
    detail::times_rows<4, 2>(columns, X + i * stride, stride, u, out + i);
  }
  for (; i < rows; ++i) detail::times_rows<1, 4>(columns, X + i * stride, stride, u, out + i);
}

/// out = X^T a, or out += X^T a.
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

// The same in single precision, twice as many numbers at a time: sums over a chunk of columns, or
// over the rows, are of floats.

namespace detail {

constexpr int kSingles = 2 * kLane;
constexpr std::ptrdiff_t kSingleChunk = 1024;
using Singles = float __attribute__((vector_size(kLaneBytes)));
using LooseSingles __attribute__((vector_size(kLaneBytes), aligned(4), may_alias)) = float;
static_assert(alignof(LooseSingles) == 4);

inline Singles load_singles(const float* p) { return *reinterpret_cast<const LooseSingles*>(p); }

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

/// out = X u.
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

/// out = X^T a, or out += X^T a.
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
