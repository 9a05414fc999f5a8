// The features X B of rows of X, as inner products of rows of X with rows of B^T. The functions are
// serial, take pointers and shapes, and allocate no memory.
#pragma once

#include "panel.hpp"
#include "sweep.hpp"

namespace metaspan::kernels {

namespace detail {

/// Columns of B that are multiplied together.
constexpr int kMostColumns = kLaneBytes == 64 ? 14 : 7;
constexpr std::ptrdiff_t kFeatureChunk = 256;  // columns of X whose part of B fits an L1 cache

/// Returns how many rows of X are multiplied together with `Columns` columns of B. The number is
/// chosen so that the sums leave a few registers free for X and B.
template <int Columns>
constexpr int rows_together() {
  constexpr int kSums = kLaneBytes == 64 ? 28 : 12;  // of 32 registers with AVX-512, else of 16
  constexpr int rows = kSums / Columns;
  return rows < 1 ? 1 : rows < kRows ? rows : kRows;
}

/// Copies a chunk of B^T to `tile`. For each group of kLane columns of X, the tile has the
/// registers of all columns of B side by side and aligned. Zeros fill the last register.
template <int Columns>
inline void pack(std::ptrdiff_t columns, const double* B_t, std::ptrdiff_t b_stride, double* tile) {
  for (int j = 0; j < Columns; ++j) {
    const double* row = B_t + j * b_stride;
    std::ptrdiff_t c = 0;
    for (; c + kLane <= columns; c += kLane) store(tile + c * Columns + j * kLane, load(row + c));
    for (std::ptrdiff_t i = 0; c < columns && i < kLane; ++i) {
      tile[c * Columns + j * kLane + i] = c + i < columns ? row[c + i] : 0;
    }
  }
}

/// Computes sums += X B for `Rows` rows of X and `Columns` columns of B. Every element of the
/// result has a register of sums, to which the products of kLane columns of X are added at a time.
/// A register of X is used for all columns of B, and a register of B for all rows of X. Every
/// element of a register has work, whatever the number of columns of B. If `ahead` is not 0, the
/// numbers `ahead` places behind those of X are prefetched, evenly during the arithmetic: they are
/// the next to be multiplied.
template <int Rows, int Columns, class Scalar>
inline void add_features(std::ptrdiff_t columns, const Scalar* X, std::ptrdiff_t stride,
                         const double* tile,  // (columns / kLane, Columns, kLane)
                         std::ptrdiff_t ahead, double* sums, std::ptrdiff_t sums_stride) {
  Lane sum[Rows][Columns];
  for (int r = 0; r < Rows; ++r) {
    for (int j = 0; j < Columns; ++j) sum[r][j] = load(sums + r * sums_stride + j * kLane);
  }
  std::ptrdiff_t c = 0;
  for (; c + kLane <= columns; c += kLane) {
    Lane x[Rows];
    for (int r = 0; r < Rows; ++r) {
      x[r] = load_wide(X + r * stride + c);
      if (ahead != 0) __builtin_prefetch(X + r * stride + c + ahead, 0, 3);
    }
    for (int j = 0; j < Columns; ++j) {
      const Lane b = load(tile + c * Columns + j * kLane);
      for (int r = 0; r < Rows; ++r) sum[r][j] += x[r] * b;
    }
  }
  if (c < columns) {
    for (int r = 0; r < Rows; ++r) {
      Lane x{};
      for (std::ptrdiff_t i = c; i < columns; ++i) {
        x[i - c] = static_cast<double>(X[r * stride + i]);
      }
      for (int j = 0; j < Columns; ++j) sum[r][j] += x * load(tile + c * Columns + j * kLane);
    }
  }
  for (int r = 0; r < Rows; ++r) {
    for (int j = 0; j < Columns; ++j) store(sums + r * sums_stride + j * kLane, sum[r][j]);
  }
}

/// Computes sums += X B for any number of rows, `Rows` at a time. The remaining rows are processed
/// `Rows` / 2 at a time, and so on down to single rows. No sum depends on how rows are grouped. If
/// `next` is not null, the numbers that follow are prefetched: the same columns of the next rows
/// and, after the last rows, `next`.
template <int Rows, int Columns, class Scalar>
inline void add_features_of_rows(std::ptrdiff_t rows, std::ptrdiff_t columns, const Scalar* X,
                                 std::ptrdiff_t stride, const double* tile, const Scalar* next,
                                 double* sums, std::ptrdiff_t sums_stride) {
  std::ptrdiff_t i = 0;
  for (; i + Rows <= rows; i += Rows) {
    const Scalar* at = X + i * stride;
    std::ptrdiff_t ahead = 0;
    if (next != nullptr) ahead = i + 2 * Rows <= rows ? Rows * stride : next - at;
    add_features<Rows, Columns>(columns, at, stride, tile, ahead, sums + i * sums_stride,
                                sums_stride);
  }
  if constexpr (Rows > 1) {
    if (i == rows) return;
    add_features_of_rows<Rows / 2, Columns>(rows - i, columns, X + i * stride, stride, tile, next,
                                            sums + i * sums_stride, sums_stride);
  }
}

/// Computes sums += X B for a chunk of columns of X and a strip of `count` columns of B, 1 <= count
/// <= Columns.
template <int Columns, class Scalar>
inline void add_strip(std::ptrdiff_t count, std::ptrdiff_t rows, std::ptrdiff_t columns,
                      const Scalar* X, std::ptrdiff_t stride, const double* B_t,
                      std::ptrdiff_t b_stride, const Scalar* next, double* sums,
                      std::ptrdiff_t sums_stride) {
  if (count == Columns) {
    alignas(kLaneBytes) double tile[kFeatureChunk * Columns];
    pack<Columns>(columns, B_t, b_stride, tile);
    return add_features_of_rows<rows_together<Columns>(), Columns>(rows, columns, X, stride, tile,
                                                                   next, sums, sums_stride);
  }
  if constexpr (Columns > 1) {
    add_strip<Columns - 1>(count, rows, columns, X, stride, B_t, b_stride, next, sums, sums_stride);
  }
}

/// Adds the elements of each of `count` registers in order. A square of registers is transposed, so
/// that kLane sums are computed together; their bits are those of sum_of().
inline void add_elements(std::ptrdiff_t count, const double* registers, double* out) {
  std::ptrdiff_t i = 0;
  for (; i + kLane <= count; i += kLane) {
    Lane square[kLane];
    for (int r = 0; r < kLane; ++r) square[r] = load(registers + (i + r) * kLane);
    transpose_square(square);
    Lane sum{};
    for (int r = 0; r < kLane; ++r) sum += square[r];
    store(out + i, sum);
  }
  for (; i < count; ++i) out[i] = sum_of(load(registers + i * kLane));
}

}  // namespace detail

/// Computes Z = X B from B^T. X is read in chunks of so few columns that the part of B for a chunk
/// stays in the L1 cache. Each chunk is multiplied by strips of columns of B of about equal width.
/// Every element of Z has kLane sums. Sum l is over the columns l, l + kLane, l + 2 kLane and so on
/// of X, in order, and at the end the kLane sums are added in order. The bits of a row of Z depend
/// on `columns`, but not on `rows` or k.
template <class Scalar>
inline void sweep_features(std::ptrdiff_t rows, std::ptrdiff_t columns, std::ptrdiff_t k,
                           const Scalar* X,  // (rows, columns), rows `stride` apart
                           std::ptrdiff_t stride,
                           const double* B_t,  // (k, columns), rows `b_stride` apart
                           std::ptrdiff_t b_stride,
                           double* sums,  // (rows, k, kLane) scratch
                           double* Z) {   // (rows, k)
  for (std::ptrdiff_t i = 0; i < rows * k * kLane; ++i) sums[i] = 0;
  const std::ptrdiff_t strips = (k + detail::kMostColumns - 1) / detail::kMostColumns;
  for (std::ptrdiff_t c = 0; c < columns; c += detail::kFeatureChunk) {
    const std::ptrdiff_t count =
        columns - c < detail::kFeatureChunk ? columns - c : detail::kFeatureChunk;
    const Scalar* next = X + (c + count < columns ? c + count : rows * stride);
    for (std::ptrdiff_t strip = 0; strip < strips; ++strip) {
      const std::ptrdiff_t first = strip * k / strips, end = (strip + 1) * k / strips;
      detail::add_strip<detail::kMostColumns>(
          end - first, rows, count, X + c, stride, B_t + first * b_stride + c, b_stride,
          strip == 0 ? next : nullptr, sums + first * kLane, k * kLane);
    }
  }
  detail::add_elements(rows * k, sums, Z);
}

}  // namespace metaspan::kernels
