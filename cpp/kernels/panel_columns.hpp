// Operations on the columns of panels, where no sum combines different columns. On the CPU they
// serve all columns of a panel, whose rows are contiguous. On a device a thread serves a single
// column, and the rows are `Stride` numbers apart. The functions are serial, take pointers and
// shapes, and allocate no memory.
#pragma once

#include <cstddef>

#include "metaspan/base/host_device.hpp"

namespace metaspan::kernels {

/// Computes dots[t] = sum_i a[i, t] b[i, t], the inner product of the columns of a and b for every
/// task t. The rows are added in turns to `Chains` partial sums, 4 in narrow panels and 2 in wide
/// panels, so that additions do not wait for each other. The remaining rows are added to the first
/// partial sum, and then the partial sums are added in order.
template <int Width, int Chains = (Width <= 8 ? 4 : 2), int Stride = Width>
METASPAN_HD inline void dot_columns(std::ptrdiff_t rows,
                                    const double* a,  // (rows, Width)
                                    const double* b,  // (rows, Width)
                                    double* dots) {   // (Width,)
  double sums[Chains][Width] = {};
  std::ptrdiff_t i = 0;
  for (; i + Chains <= rows; i += Chains) {
    for (int c = 0; c < Chains; ++c) {
      for (int t = 0; t < Width; ++t) {
        sums[c][t] += a[(i + c) * Stride + t] * b[(i + c) * Stride + t];
      }
    }
  }
  for (; i < rows; ++i) {
    for (int t = 0; t < Width; ++t) sums[0][t] += a[i * Stride + t] * b[i * Stride + t];
  }
  for (int c = 1; c < Chains; ++c) {
    for (int t = 0; t < Width; ++t) sums[0][t] += sums[c][t];
  }
  for (int t = 0; t < Width; ++t) dots[t] = sums[0][t];
}

/// Computes out[i, t] += scale factor[t] a[i, t]: adds a multiple of a panel, with a separate
/// factor for every task. The products scale factor[t] are formed once, so that a row takes one
/// multiplication and one addition for each task.
template <int Width, int Stride = Width>
METASPAN_HD inline void add_columns(std::ptrdiff_t rows, double scale,
                                    const double* factor,  // (Width,)
                                    const double* a,       // (rows, Width)
                                    double* out) {         // (rows, Width)
  double f[Width];
  for (int t = 0; t < Width; ++t) f[t] = scale * factor[t];
  for (std::ptrdiff_t i = 0; i < rows; ++i) {
    for (int t = 0; t < Width; ++t) out[i * Stride + t] += f[t] * a[i * Stride + t];
  }
}

}  // namespace metaspan::kernels
