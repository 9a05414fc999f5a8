// Transforms of the features X B of all tasks that estimators apply between two products with X.
#pragma once

#include <vector>

#include "metaspan/sweeps/row_products.hpp"

namespace metaspan {

/// A linear transform of the features of every task: C_i = diag(p_i) Z_i + L_i R_i^T Z_i.
struct RowForms {
  const double* scales;  // p, (N,)
  const double* left;    // L, (N, rank)
  const double* right;   // R, (N, rank)
  Index rank;
};

/// Returns the transform Z -> C of tasks with these first rows. `offsets` must outlive it.
RowTransform transform_by_forms(const RowForms& forms, const std::vector<Index>& offsets, Index k);

/// The least-squares heads v_i of all tasks, and the loss sum_i shares_i ||y_i - Z_i v_i||^2 / 2.
/// With intercepts, the loss is sum_i shares_i ||y_i - c_i - Z_i v_i||^2 / 2, with the best c_i.
struct HeadFits {
  const double* y;       // (N,)
  const double* shares;  // (n,)
  double* heads;         // (n, k) out
  bool intercepts;
  double loss = 0;
  bool regular = true;  // whether all Z_i^T Z_i are far enough from singular for normal equations
};

/// Returns the transform to the weighted residuals shares_i (Z_i v_i - y_i), with intercepts
/// shares_i (c_i + Z_i v_i - y_i), and the heads, which are also written to `fits`. Both arguments
/// must outlive it.
OuterTransform transform_by_heads(HeadFits& fits, const std::vector<Index>& offsets, Index k,
                                  int threads);

}  // namespace metaspan
