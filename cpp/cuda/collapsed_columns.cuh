// A task of SampleDesign on a device: a thread serves one column of a panel, whose numbers are
// kPanelColumns apart.
#pragma once

#include "launch.hpp"
#include "metaspan/algebra/columns.hpp"
#include "metaspan/cuda/panels.hpp"

namespace metaspan::cuda {

/// A task of SampleDesign in the column of one thread.
struct TaskColumn {
  using Columns = ThreadColumn<kPanelColumns>;
  static constexpr Index stride = Columns::stride;

  /// Computes out = A v for the state A of the column's trial. Four rows at a time read v once, and
  /// the threads of a trial read the same numbers of A. Each element is a sum over p in rising
  /// order.
  __device__ static void product(Index rows, Index depth, const double* A, Index a_row,
                                 Index a_step, const double* v, double* out) {
    constexpr Index kRows = 4;
    for (Index i = 0; i < rows; i += kRows) {
      const Index some = rows - i < kRows ? rows - i : kRows;
      double sums[kRows] = {};
      for (Index p = 0; p < depth; ++p) {
        const double x = v[p * stride];
        for (Index r = 0; r < kRows; ++r) {
          if (r < some) sums[r] += load_global(A + (i + r) * a_row + p * a_step) * x;
        }
      }
      for (Index r = 0; r < kRows; ++r) {
        if (r < some) out[(i + r) * stride] = sums[r];
      }
    }
  }
  /// Computes the lower triangle of G = A^T A.
  __device__ static void spread_gram(Index rows, Index k, const double* A, double* G) {
    for (Index i = 0; i < k; ++i) {
      for (Index j = 0; j <= i; ++j, G += stride) {
        double sum = 0;
        for (Index r = 0; r < rows; ++r) {
          sum += load_global(A + r * k + i) * load_global(A + r * k + j);
        }
        *G = sum;
      }
    }
  }
};

}  // namespace metaspan::cuda
