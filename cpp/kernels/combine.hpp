// Sums X^T C over rows of X, for a matrix C with few columns. The functions are serial, take
// pointers and shapes, and allocate no memory.
#pragma once

#include "sweep.hpp"

namespace metaspan::kernels {

namespace detail {

constexpr int kMostFactors = 7;  // columns of C that are multiplied together

/// Returns how many registers of a row of X are multiplied at a time by `Columns` columns of C. A
/// few registers stay free of sums, for X and C.
template <int Columns>
constexpr int registers_together() {
  constexpr int kSums = kLaneBytes == 64 ? 28 : 12;  // of 32 registers with AVX-512, else of 16
  constexpr int registers = kSums / Columns;
  return registers < 1 ? 1 : registers < 4 ? registers : 4;
}

/// Computes out += C^T X for `Registers` registers of columns of X, which begin at column `first`,
/// and `Columns` columns of C. The sums stay in registers while the rows are added in order. For
/// every row, the columns of X that begin `ahead` numbers after these columns are prefetched,
/// unless `ahead` is 0. As many bytes as all rows read are prefetched from `upcoming`, unless it is
/// null.
template <int Columns, int Registers, class Scalar>
inline void add_rows(const Run<Scalar>* runs, std::ptrdiff_t count, std::ptrdiff_t first,
                     const double* C, std::ptrdiff_t c_stride, std::ptrdiff_t ahead,
                     const Scalar* upcoming, double* out, std::ptrdiff_t out_stride) {
  Lane sum[Columns][Registers];
  for (int j = 0; j < Columns; ++j) {
    for (int l = 0; l < Registers; ++l) sum[j][l] = load(out + j * out_stride + l * kLane);
  }
  for (const Run<Scalar>* run = runs; run < runs + count; ++run) {
    const Scalar* row = run->X + first;
    for (std::ptrdiff_t r = 0; r < run->count; ++r, row += run->stride, C += c_stride) {
      Lane x[Registers];
      for (int l = 0; l < Registers; ++l) {
        x[l] = load_wide(row + l * kLane);
        if (ahead != 0) __builtin_prefetch(row + l * kLane + ahead, 0, 3);
        if (upcoming != nullptr) __builtin_prefetch(upcoming + l * kLane, 0, 2);
      }
      if (upcoming != nullptr) upcoming += Registers * kLane;
      for (int j = 0; j < Columns; ++j) {
        const Lane c = broadcast(C[j]);
        for (int l = 0; l < Registers; ++l) sum[j][l] += c * x[l];
      }
    }
  }
  for (int j = 0; j < Columns; ++j) {
    for (int l = 0; l < Registers; ++l) store(out + j * out_stride + l * kLane, sum[j][l]);
  }
}

/// Computes out += C^T X for `rest` columns of X, which begin at column `first` and do not fill a
/// register, and for `Columns` columns of C.
template <int Columns, class Scalar>
inline void add_rows_of_rest(const Run<Scalar>* runs, std::ptrdiff_t count, std::ptrdiff_t first,
                             std::ptrdiff_t rest, const double* C, std::ptrdiff_t c_stride,
                             double* out, std::ptrdiff_t out_stride) {
  Lane sum[Columns];
  for (int j = 0; j < Columns; ++j) sum[j] = load_first(rest, out + j * out_stride);
  for (const Run<Scalar>* run = runs; run < runs + count; ++run) {
    const Scalar* row = run->X + first;
    for (std::ptrdiff_t r = 0; r < run->count; ++r, row += run->stride, C += c_stride) {
      const Lane x = load_first(rest, row);
      for (int j = 0; j < Columns; ++j) sum[j] += broadcast(C[j]) * x;
    }
  }
  for (int j = 0; j < Columns; ++j) store_first(rest, out + j * out_stride, sum[j]);
}

/// Computes out += C^T X for `strip` columns of C, 1 <= strip <= Columns, and for `columns` columns
/// of X, beginning at `first`. If `fetch` is true, the next columns of X are prefetched; after the
/// last columns, the first columns of the next rows are prefetched. With `upcoming`, as many
/// numbers are prefetched from there as fill whole registers here.
template <int Columns, class Scalar>
inline void add_strip_of_factors(std::ptrdiff_t strip, const Run<Scalar>* runs,
                                 std::ptrdiff_t count, std::ptrdiff_t rows, std::ptrdiff_t first,
                                 std::ptrdiff_t columns, const double* C, std::ptrdiff_t c_stride,
                                 bool fetch, const Scalar* upcoming, double* out,
                                 std::ptrdiff_t out_stride) {
  if constexpr (Columns > 1) {
    if (strip < Columns) {
      return add_strip_of_factors<Columns - 1>(strip, runs, count, rows, first, columns, C,
                                               c_stride, fetch, upcoming, out, out_stride);
    }
  }
  constexpr int kRegisters = registers_together<Columns>();
  constexpr std::ptrdiff_t kStep = kRegisters * kLane;
  std::ptrdiff_t c = 0;
  for (; c + kStep <= columns; c += kStep) {
    add_rows<Columns, kRegisters>(runs, count, first + c, C, c_stride, fetch ? kStep : 0,
                                  upcoming == nullptr ? upcoming : upcoming + rows * c, out + c,
                                  out_stride);
  }
  for (; c + kLane <= columns; c += kLane) {
    add_rows<Columns, 1>(runs, count, first + c, C, c_stride, 0,
                         static_cast<const Scalar*>(nullptr), out + c, out_stride);
  }
  if (c < columns) {
    add_rows_of_rest<Columns>(runs, count, first + c, columns - c, C, c_stride, out + c,
                              out_stride);
  }
}

}  // namespace detail

/// Computes out += C^T X for the rows of `count` runs, one run after the other. The columns of X
/// are processed in tiles of kTile columns, so that a few rows of a tile fit an L1 cache. Within a
/// tile, the columns of C are processed in strips of about equal width. Every element of out is one
/// sum over the rows in order, and later calls can add further rows to it; its bits do not depend
/// on the division of the rows among runs and calls. A single column leaves tiles with little
/// arithmetic, and takes the sweep over whole rows, whose sums have the same order. If X is in a
/// cache, memory would be idle during the arithmetic; as many numbers as X has are then prefetched
/// into the L2 cache, one after the other from `upcoming`, which are those that are needed next.
template <class Scalar>
inline void sweep_combine_matrix(const Run<Scalar>* runs, std::ptrdiff_t count,
                                 std::ptrdiff_t columns, std::ptrdiff_t k,
                                 const double* C,  // (rows of all runs, k)
                                 double* out,      // (k, columns), rows `out_stride` apart
                                 std::ptrdiff_t out_stride, const Scalar* upcoming = nullptr) {
  std::ptrdiff_t rows = 0;
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    const Run<Scalar>& run = runs[i];
    if (k == 1) sweep_combine<true>(run.count, columns, run.X, run.stride, C + rows, out);
    rows += run.count;
  }
  if (k == 1) return;
  constexpr std::ptrdiff_t kTile = 4 * kLane;
  const std::ptrdiff_t strips = (k + detail::kMostFactors - 1) / detail::kMostFactors;
  for (std::ptrdiff_t c = 0; c < columns; c += kTile) {
    const std::ptrdiff_t width = columns - c < kTile ? columns - c : kTile;
    for (std::ptrdiff_t strip = 0; strip < strips; ++strip) {
      const std::ptrdiff_t first = strip * k / strips, end = (strip + 1) * k / strips;
      const bool once = strip == 0;  // prefetches every number once
      const Scalar* soon = once && upcoming != nullptr ? upcoming + rows * c : nullptr;
      detail::add_strip_of_factors<detail::kMostFactors>(end - first, runs, count, rows, c, width,
                                                         C + first, k, once, soon,
                                                         out + first * out_stride + c, out_stride);
    }
  }
}

}  // namespace metaspan::kernels
