// Products with panels. A panel is a row-major matrix with one task in each of its `Width` columns.
// Operations on a row process the tasks side by side in SIMD registers, and no sum combines
// different tasks. The functions are serial, take pointers and shapes, and allocate no memory.
#pragma once

#include "lanes.hpp"
#include "panel_columns.hpp"

namespace metaspan::kernels {

namespace detail {

/// Computes a tile of out (+)= A V of `Rows` rows and `Lanes` registers in each row. The tile stays
/// in registers during the whole sum over p. Each step p loads `Lanes` registers of V, which are
/// used for all rows, and broadcasts one element of A for each row. Every element of out is a
/// single sum over p in rising order.
template <int Rows, int Lanes, bool Add>
inline void product_block(std::ptrdiff_t depth, const double* A, std::ptrdiff_t a_row,
                          std::ptrdiff_t a_step, const double* V, std::ptrdiff_t v_row, double* out,
                          std::ptrdiff_t out_row) {
  Lane sum[Rows][Lanes];
  for (int r = 0; r < Rows; ++r) {
    for (int c = 0; c < Lanes; ++c) sum[r][c] = Add ? load(out + r * out_row + c * kLane) : Lane{};
  }
  for (std::ptrdiff_t p = 0; p < depth; ++p) {
    Lane v[Lanes];
    for (int c = 0; c < Lanes; ++c) v[c] = load(V + p * v_row + c * kLane);
    for (int r = 0; r < Rows; ++r) {
      const Lane a = broadcast(A[r * a_row + p * a_step]);
      for (int c = 0; c < Lanes; ++c) sum[r][c] += a * v[c];
    }
  }
  for (int r = 0; r < Rows; ++r) {
    for (int c = 0; c < Lanes; ++c) store(out + r * out_row + c * kLane, sum[r][c]);
  }
}

/// Computes all rows of a strip of out that is `Lanes` registers wide. A tile has as many rows as
/// fit into registers. If there are 16 registers, a tile has at most 12 registers of sums, so that
/// at least 4 registers are left for V and A. With the 32 registers of AVX-512, a tile has twice as
/// many rows. The remaining rows are processed in pairs. If one row is left, it is processed alone.
/// The order of the sum of an element does not depend on the size of the tile.
template <int Lanes, bool Add>
inline void product_strip(std::ptrdiff_t rows, std::ptrdiff_t depth, const double* A,
                          std::ptrdiff_t a_row, std::ptrdiff_t a_step, const double* V,
                          std::ptrdiff_t v_row, double* out, std::ptrdiff_t out_row) {
  constexpr int kHalf = Lanes == 4 ? 3 : Lanes == 3 ? 4 : Lanes == 2 ? 5 : 6;
  constexpr int kMost = kLaneBytes == 64 ? 2 * kHalf : kHalf;
  std::ptrdiff_t i = 0;
  for (; i + kMost <= rows; i += kMost) {
    product_block<kMost, Lanes, Add>(depth, A + i * a_row, a_row, a_step, V, v_row,
                                     out + i * out_row, out_row);
  }
  for (; i + 2 <= rows; i += 2) {
    product_block<2, Lanes, Add>(depth, A + i * a_row, a_row, a_step, V, v_row, out + i * out_row,
                                 out_row);
  }
  for (; i < rows; ++i) {
    product_block<1, Lanes, Add>(depth, A + i * a_row, a_row, a_step, V, v_row, out + i * out_row,
                                 out_row);
  }
}

}  // namespace detail

/// Computes out = A V, or out += A V. V and out are contiguous and row-major. A may be a row-major
/// matrix or the transpose of one, depending on the strides of A. The columns of out are split into
/// strips of four registers and one strip of the remaining registers. V is read strip by strip, and
/// every element of out is read and written at most once.
template <bool Add>
inline void product(std::ptrdiff_t rows, std::ptrdiff_t depth, std::ptrdiff_t columns,
                    const double* A,  // (rows, depth), element (i, p) at i a_row + p a_step
                    std::ptrdiff_t a_row, std::ptrdiff_t a_step,
                    const double* V,  // (depth, columns), columns a multiple of kLane
                    double* out) {    // (rows, columns)
  std::ptrdiff_t c = 0;
  for (; c + 4 * kLane <= columns; c += 4 * kLane) {
    detail::product_strip<4, Add>(rows, depth, A, a_row, a_step, V + c, columns, out + c, columns);
  }
  switch ((columns - c) / kLane) {  // fewer than four registers are left
    case 3:
      return detail::product_strip<3, Add>(rows, depth, A, a_row, a_step, V + c, columns, out + c,
                                           columns);
    case 2:
      return detail::product_strip<2, Add>(rows, depth, A, a_row, a_step, V + c, columns, out + c,
                                           columns);
    case 1:
      return detail::product_strip<1, Add>(rows, depth, A, a_row, a_step, V + c, columns, out + c,
                                           columns);
    default:
      return;
  }
}

/// Computes out = A^T for a panel A. In out, every task has a contiguous row of `padded` elements,
/// with zeros at the end. Squares of registers are transposed by shuffles, which takes a quarter of
/// the time of copying single elements.
template <int Width>
inline void transpose(std::ptrdiff_t rows,
                      const double* A,        // (rows, Width)
                      std::ptrdiff_t padded,  // >= rows, a multiple of kLane
                      double* out) {          // (Width, padded)
  static_assert(Width % kLane == 0, "panels fill whole registers");
  for (std::ptrdiff_t i = 0; i < padded; i += kLane) {
    for (int t = 0; t < Width; t += kLane) {
      Lane square[kLane];
      for (int r = 0; r < kLane; ++r) {
        square[r] = i + r < rows ? load(A + (i + r) * Width + t) : Lane{};
      }
      detail::transpose_square(square);
      for (int r = 0; r < kLane; ++r) store(out + (t + r) * padded + i, square[r]);
    }
  }
}

}  // namespace metaspan::kernels
