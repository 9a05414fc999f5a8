// Matrix-vector products in an order that shapes alone decide, wherever the memory lies: general
// libraries peel loops by the alignment of their arguments, and with it change the last bit.
// Serial; pointers and shapes alone.
#pragma once

#include "lanes.hpp"

namespace metaspan::kernels {

/// sum_i a_i b_i: by lanes, the lanes then in their order, the rest after them.
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

/// out = A v; rows of A are `stride` apart.
inline void times(std::ptrdiff_t rows, std::ptrdiff_t columns,
                  const double* A,  // (rows, columns)
                  const double* v,  // (columns,)
                  double* out,      // (rows,)
                  std::ptrdiff_t stride) {
  for (std::ptrdiff_t i = 0; i < rows; ++i) out[i] = dot(columns, A + i * stride, v);
}
inline void times(std::ptrdiff_t rows, std::ptrdiff_t columns, const double* A, const double* v,
                  double* out) {
  times(rows, columns, A, v, out, columns);
}

/// out = A^T v; rows of A are `stride` apart.
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
inline void transposed_times(std::ptrdiff_t rows, std::ptrdiff_t columns, const double* A,
                             const double* v, double* out) {
  transposed_times(rows, columns, A, v, out, columns);
}

/// A += u v^T.
inline void add_outer(std::ptrdiff_t rows, std::ptrdiff_t columns,
                      const double* u,  // (rows,)
                      const double* v,  // (columns,)
                      double* A) {      // (rows, columns)
  for (std::ptrdiff_t i = 0; i < rows; ++i) {
    for (std::ptrdiff_t j = 0; j < columns; ++j) A[i * columns + j] += u[i] * v[j];
  }
}

}  // namespace metaspan::kernels
