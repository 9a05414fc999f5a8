// Inner products and matrix-vector products of doubles. The order of every sum depends on shapes
// alone. General libraries are not used, since they split loops by the alignment of their
// arguments, so that the last bits of the results depend on addresses. The functions are serial,
// take pointers and shapes, and allocate no memory.
#pragma once

#include "lanes.hpp"

namespace metaspan::kernels {

/// Returns sum_i a_i b_i. The products a_i b_i are added in turns to two registers of partial sums,
/// so that additions do not wait for each other. Then the two registers are added; if one more full
/// register of products is left, it is added to the result. The elements of the resulting register
/// are summed in order, and the products that are left after all full registers are added at the
/// end.
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

/// Computes out = A v, where each element of out is computed by dot(). A is row-major with rows
/// `stride` apart.
inline void times(std::ptrdiff_t rows, std::ptrdiff_t columns,
                  const double* A,  // (rows, columns)
                  const double* v,  // (columns,)
                  double* out,      // (rows,)
                  std::ptrdiff_t stride) {
  for (std::ptrdiff_t i = 0; i < rows; ++i) out[i] = dot(columns, A + i * stride, v);
}
/// Computes out = A v for an A with contiguous rows, where each element of out is computed by
/// dot().
inline void times(std::ptrdiff_t rows, std::ptrdiff_t columns, const double* A, const double* v,
                  double* out) {
  times(rows, columns, A, v, out, columns);
}

/// Computes out = A^T v. A is row-major with rows `stride` apart. A is read row by row, so that
/// reads are contiguous, and each element of out is summed in the order of the rows.
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
/// Computes out = A^T v for an A with contiguous rows.
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
