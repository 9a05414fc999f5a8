// Inner products and matrix-vector products of doubles. The order of every sum depends on shapes
// alone. General libraries peel loops by the alignment of their arguments, so that their last bits
// change with the address. Serial; arguments are pointers and shapes; nothing is allocated.
#pragma once

#include "lanes.hpp"

namespace metaspan::kernels {

/// Returns sum_i a_i b_i. Two registers of partial sums, taken in turns, keep additions from
/// waiting for each other. They are added to each other, a last full register follows if there
/// is one, then the lanes are added in order, then the elements that fill no register.
inline double dot(std::ptrdiff_t count, const double* a, const double* b) {
  Lane sums{}, others{};
  std::ptrdiff_t i = 0;
  for (; i + 2 * kLane <= count; i += 2 * kLane) {
    sums += load(a + i) * load(b + i);
    others += load(a + i + kLane) * load(b + i + kLane);
  }
  sums += others;
  for (; i + kLane <= count; i += kLane) sums += load(a + i) * load(b + i);
  double sum = 0;
  for (int lane = 0; lane < kLane; ++lane) sum += sums[lane];
  for (; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

/// Computes out = A v, each element by dot(). A is row-major with rows `stride` apart.
inline void times(std::ptrdiff_t rows, std::ptrdiff_t columns,
                  const double* A,  // (rows, columns)
                  const double* v,  // (columns,)
                  double* out,      // (rows,)
                  std::ptrdiff_t stride) {
  for (std::ptrdiff_t i = 0; i < rows; ++i) out[i] = dot(columns, A + i * stride, v);
}
/// The same for contiguous rows.
inline void times(std::ptrdiff_t rows, std::ptrdiff_t columns, const double* A, const double* v,
                  double* out) {
  times(rows, columns, A, v, out, columns);
}

/// Computes out = A^T v. A is row-major with rows `stride` apart and is read row by row, so that
/// reads are contiguous; each element of out is a sum over the rows in their order.
inline void transposed_times(std::ptrdiff_t rows, std::ptrdiff_t columns,
                             const double* A,  // (rows, columns)
                             const double* v,  // (rows,)
                             double* out,      // (columns,)
                             std::ptrdiff_t stride) {
  for (std::ptrdiff_t j = 0; j < columns; ++j) out[j] = 0;
  for (std::ptrdiff_t i = 0; i < rows; ++i) {
    for (std::ptrdiff_t j = 0; j < columns; ++j) out[j] += v[i] * A[i * stride + j];
  }
}
/// The same for contiguous rows.
inline void transposed_times(std::ptrdiff_t rows, std::ptrdiff_t columns, const double* A,
                             const double* v, double* out) {
  transposed_times(rows, columns, A, v, out, columns);
}

/// Computes A += u v^T for a contiguous row-major A.
inline void add_outer(std::ptrdiff_t rows, std::ptrdiff_t columns,
                      const double* u,  // (rows,)
                      const double* v,  // (columns,)
                      double* A) {      // (rows, columns)
  for (std::ptrdiff_t i = 0; i < rows; ++i) {
    for (std::ptrdiff_t j = 0; j < columns; ++j) A[i * columns + j] += u[i] * v[j];
  }
}

}  // namespace metaspan::kernels
