// Factors and solves small symmetric linear systems, one for each column of a panel, side by side.
// The rows of a panel are `Stride` numbers apart. The functions are serial, take pointers and
// shapes, and allocate no memory.
#pragma once

#include <cmath>
#include <cstddef>
#include <limits>

#include "metaspan/base/host_device.hpp"

namespace metaspan::kernels {

// Constants instead of calls, which device code could not make.
constexpr double kRounding = std::numeric_limits<double>::epsilon();
constexpr double kNotANumber = std::numeric_limits<double>::quiet_NaN();

/// Number of entries of the lower triangle of a (k, k) matrix, stored row by row.
METASPAN_HD constexpr std::ptrdiff_t triangle(std::ptrdiff_t k) { return k * (k + 1) / 2; }

/// Replaces the lower triangles G, (triangle(k), Width), of positive definite matrices by their
/// Cholesky factors L, row by row. If a pivot is not larger than its rounding error, it is replaced
/// by NaN, so that a column with a singular matrix has no finite solution.
template <int Width, int Stride = Width>
METASPAN_HD void factor_cholesky(std::ptrdiff_t k, double* G) {
  const double least = static_cast<double>(k) * kRounding;
  for (std::ptrdiff_t i = 0; i < k; ++i) {
    double* row = G + triangle(i) * Stride;
    for (std::ptrdiff_t j = 0; j < i; ++j) {
      const double* other = G + triangle(j) * Stride;
      double* x = row + j * Stride;
      for (std::ptrdiff_t l = 0; l < j; ++l) {
        for (int t = 0; t < Width; ++t) x[t] -= row[l * Stride + t] * other[l * Stride + t];
      }
      for (int t = 0; t < Width; ++t) x[t] /= other[j * Stride + t];
    }
    double* pivot = row + i * Stride;
    double whole[Width];
    for (int t = 0; t < Width; ++t) whole[t] = pivot[t];
    for (std::ptrdiff_t l = 0; l < i; ++l) {
      for (int t = 0; t < Width; ++t) pivot[t] -= row[l * Stride + t] * row[l * Stride + t];
    }
    for (int t = 0; t < Width; ++t) {
      pivot[t] = pivot[t] > least * whole[t] ? std::sqrt(pivot[t]) : kNotANumber;
    }
  }
}

/// Solves L L^T x = b for every column, and overwrites b, (k, Width), with x.
template <int Width, int Stride = Width>
METASPAN_HD void solve_cholesky(std::ptrdiff_t k, const double* L, double* b) {
  for (std::ptrdiff_t i = 0; i < k; ++i) {
    const double* row = L + triangle(i) * Stride;
    for (std::ptrdiff_t j = 0; j < i; ++j) {
      for (int t = 0; t < Width; ++t) b[i * Stride + t] -= row[j * Stride + t] * b[j * Stride + t];
    }
    for (int t = 0; t < Width; ++t) b[i * Stride + t] /= row[i * Stride + t];
  }
  for (std::ptrdiff_t i = k - 1; i >= 0; --i) {
    const double* row = L + triangle(i) * Stride;
    for (int t = 0; t < Width; ++t) b[i * Stride + t] /= row[i * Stride + t];
    for (std::ptrdiff_t j = 0; j < i; ++j) {
      for (int t = 0; t < Width; ++t) b[j * Stride + t] -= row[j * Stride + t] * b[i * Stride + t];
    }
  }
}

/// Computes G = Z^T Z, (triangle(k), Width), for a single Z, (rows, k), and writes this G to every
/// column.
template <int Width>
void spread_gram(std::ptrdiff_t rows, std::ptrdiff_t k, const double* Z, double* G) {
  for (std::ptrdiff_t i = 0; i < k; ++i) {
    for (std::ptrdiff_t j = 0; j <= i; ++j, G += Width) {
      double sum = 0;
      for (std::ptrdiff_t r = 0; r < rows; ++r) sum += Z[r * k + i] * Z[r * k + j];
      for (int t = 0; t < Width; ++t) G[t] = sum;
    }
  }
}

/// Adds z z^T to the lower triangles G, (triangle(k), Width), where each column has one z, (k,
/// Width).
template <int Width, int Stride = Width>
METASPAN_HD void add_outer(std::ptrdiff_t k, const double* z, double* G) {
  for (std::ptrdiff_t i = 0; i < k; ++i) {
    for (std::ptrdiff_t j = 0; j <= i; ++j, G += Stride) {
      for (int t = 0; t < Width; ++t) G[t] += z[i * Stride + t] * z[j * Stride + t];
    }
  }
}

}  // namespace metaspan::kernels
