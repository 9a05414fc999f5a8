// How the task algebra accesses the columns of a panel: all columns of a row together, on the CPU,
// or one column for each thread, on a device. All accesses of the algebra to panels go through
// these functions, so that one source serves both.
#pragma once

#include "cholesky.hpp"
#include "metaspan/base/index.hpp"
#include "panel_columns.hpp"

namespace metaspan {

/// The algebra works on `width` columns of a panel, and the rows of the panel are `stride` numbers
/// apart. `Chains` is the number of partial sums in an inner product, see dot_columns().
template <int Width, int Stride, int Chains>
struct Columns {
  static constexpr int width = Width, stride = Stride, chains = Chains;

  /// Calls body(i) with the position i of every entry of the first `rows` rows.
  template <class Body>
  METASPAN_HD static void each(Index rows, Body body) {
    if constexpr (Width == Stride) {
      for (Index i = 0; i < rows * Width; ++i) body(i);
    } else {
      for (Index row = 0; row < rows; ++row) {
        for (int t = 0; t < Width; ++t) body(row * Stride + t);
      }
    }
  }
  /// Calls body(i, t) with the position i and the column t of every entry of the first `rows` rows.
  template <class Body>
  METASPAN_HD static void each_in_column(Index rows, Body body) {
    for (Index row = 0; row < rows; ++row) {
      for (int t = 0; t < Width; ++t) body(row * Stride + t, t);
    }
  }
  METASPAN_HD static void fill(Index rows, double value, double* out) {
    each(rows, [=](Index i) { out[i] = value; });
  }
  METASPAN_HD static void copy(Index rows, const double* from, double* to) {
    each(rows, [=](Index i) { to[i] = from[i]; });
  }
  /// Returns the number of the first column of a row.
  METASPAN_HD static double first(const double* row) { return *row; }
  /// Writes a row of a panel.
  METASPAN_HD static void put(const double* values, double* row) {  // (width,)
    for (int t = 0; t < Width; ++t) row[t] = values[t];
  }
  /// Computes dots[t] = sum_i a[i, t] b[i, t].
  METASPAN_HD static void dot(Index rows, const double* a, const double* b,
                              double* dots) {  // (width,)
    kernels::dot_columns<Width, Chains, Stride>(rows, a, b, dots);
  }
  /// Computes out[i, t] += scale factor[t] a[i, t].
  METASPAN_HD static void add(Index rows, double scale,
                              const double* factor,  // (width,)
                              const double* a, double* out) {
    kernels::add_columns<Width, Stride>(rows, scale, factor, a, out);
  }
  /// Adds z z^T to the lower triangles G, (triangle(k), width), for z (k, width).
  METASPAN_HD static void add_outer(Index k, const double* z, double* G) {
    kernels::add_outer<Width, Stride>(k, z, G);
  }
  METASPAN_HD static void factor_cholesky(Index k, double* G) {
    kernels::factor_cholesky<Width, Stride>(k, G);
  }
  METASPAN_HD static void solve_cholesky(Index k, const double* L, double* b) {
    kernels::solve_cholesky<Width, Stride>(k, L, b);
  }
};

/// All columns of a panel of `Width` tasks or trials, in SIMD registers.
template <int Width, int Chains = (Width <= 8 ? 4 : 2)>
using PanelColumns = Columns<Width, Width, Chains>;

/// The column of one thread, of a panel that a warp shares. Its address is that of the panel plus
/// the index of the thread within the warp. The 32 threads access 32 adjacent numbers.
template <int Stride = 32>
using ThreadColumn = Columns<1, Stride, 4>;

}  // namespace metaspan
