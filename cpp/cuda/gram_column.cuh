// The Design of a task of the Gram route on a device: a team of threads serves one column of the
// panels that the first sweep has written.
#pragma once

#include "launch.hpp"
#include "metaspan/algebra/task_algebra.hpp"
#include "metaspan/cuda/algebra.hpp"
#include "metaspan/cuda/panels.hpp"
#include "team_column.cuh"

namespace metaspan::cuda {

constexpr int kRanks = 8;  // threads of a task, in different warps

/// The rows in which a design keeps the products K a and K' a of its slots; they follow the rows of
/// the algebra. Two more rows of each slot say whether its products are known.
struct SlotProducts {
  SlotProducts(const Method& method, Index most_in, Index most_out)
      : most_in(most_in),
        rows_of_slot(method.adapt_B || method.clips() ? 2 + most_in + most_out : 0),
        rows(method.slots() * rows_of_slot) {}

  Index most_in, rows_of_slot, rows;
};

/// The Design of one task, as DenseDesign on the CPU. Z, y and the Gram matrices are in panels; the
/// vector of a slot is the residual that the algebra keeps for it. Products with Gram matrices are
/// kept with the slot until its residual changes, so each of them reads its matrix once.
class GramColumn {
 public:
  using Columns = TeamColumn<kRanks>;
  static constexpr int width = Columns::width;

  /// Pointers to the column of the task in each panel; null if the method does not need the panel.
  /// A column without a task has no samples, but takes part in the barriers.
  struct Task {
    Index tasks;  // 1, or 0 in a column without a task
    Index m_in, m_out, most_in, most_out, k;
    const double *Z_in, *Z_out, *y_in, *y_out, *K, *K_cross, *K_outer;
  };

  __device__ GramColumn(const Task& task, const Method& method, const AlgebraLayout& layout,
                        const SlotProducts& products, double* workspace)
      : task_(task),
        layout_(layout),
        products_(products),
        steps_(method.inner_steps),
        blocks_(method.blocks()),
        workspace_(workspace) {}

  __device__ Index tasks() const { return task_.tasks; }
  __device__ Index m_in() const { return task_.m_in; }
  __device__ Index m_out() const { return task_.m_out; }
  __device__ Index tracked() const { return 0; }

  /// The inner residual of (2).
  __device__ void residual_in(const double* V, Terms<Columns> terms, int slot, double* r) {
    product_in(V, terms, slot, r);
    subtract(task_.m_in, task_.y_in, r);
    if (slot != kNoSlot && blocks_ > 1) keep_block<Columns>(task_.m_in, slot, blocks_, r);
  }

  /// The outer residual of (7), by the second line of (6).
  __device__ void residual_out(const double* V, Terms<Columns> terms, int slot, double* r) {
    product(task_.m_out, task_.k, task_.Z_out, task_.k, 1, V, r);
    for (int t = 0; t < terms.count; ++t) {
      Columns::add(task_.m_out, 1.0, terms.factor(t), outer_product(terms.slot(t)), r);
    }
    subtract(task_.m_out, task_.y_out, r);
    forget_products(slot);
  }

  /// X B_j v by the first line of (6): Z v plus a multiple of K r_l for each term.
  __device__ void product_in(const double* V, Terms<Columns> terms, int slot, double* r) {
    product(task_.m_in, task_.k, task_.Z_in, task_.k, 1, V, r);
    for (int t = 0; t < terms.count; ++t) {
      Columns::add(task_.m_in, 1.0, terms.factor(t), inner_product(terms.slot(t)), r);
    }
    forget_products(slot);
  }

  /// The normal equations of (26), by tiles of Z^T Z whose sums are in registers.
  __device__ void normal_equations(double* G, double* b) const {
    __syncthreads();
    int tile = 0;
    for (Index i = 0; i < task_.k; i += kTile) {
      for (Index j = 0; j <= i; j += kTile) {
        if (tile++ % kRanks == Columns::rank()) normal_tile(i, j, G, b);
      }
    }
  }

  /// B^T X^T a = Z^T a of (6).
  __device__ void features(int slot, double* out) const {
    const bool outer = is_outer(slot);
    product(task_.k, outer ? task_.m_out : task_.m_in, outer ? task_.Z_out : task_.Z_in, 1, task_.k,
            vector(slot), out);
  }

  /// The inner product of X^T a and X^T b: b . K a for two inner slots, b . K' a if b is outer.
  __device__ void dot(int a, int b, double* dots) {
    if (is_outer(b)) return Columns::dot(task_.m_out, outer_product(a), vector(b), dots);
    Columns::dot(task_.m_in, inner_product(a), vector(b), dots);
  }

  /// The terms of grad_B stay in the workspace: a kernel of its own sums them, see add_factors().
  __device__ void add(int, const double*) const {}

 private:
  // Rows of a product, and rows and columns of a part of Z^T Z, whose sums are in registers.
  static constexpr int kAtOnce = 2, kTile = 2;

  __device__ bool is_outer(int slot) const { return is_outer_slot(slot, steps_); }
  __device__ const double* vector(int slot) const {
    return workspace_ + layout_.of_slot(slot) * kPanelColumns;
  }
  __device__ static void subtract(Index rows, const double* y, double* r) {
    Columns::each(rows, [=](Index i) { r[i] -= load_global(y + i); });
  }

  /// Computes out = A V, where element (i, p) of A is at row i a_row + p a_step of its panel. Each
  /// number of A is read once, by the rank that has its row, and rows share the reads of V.
  __device__ static void product(Index rows, Index depth, const double* A, Index a_row,
                                 Index a_step, const double* V, double* out) {
    __syncthreads();
    for (Index i = Columns::rank() * kAtOnce; i < rows; i += kRanks * kAtOnce) {
      double sums[kAtOnce] = {};
      for (Index p = 0; p < depth; ++p) {
        const double v = V[p * kPanelColumns];
        for (int r = 0; r < kAtOnce; ++r) {
          if (i + r >= rows) continue;
          sums[r] += load_global(A + ((i + r) * a_row + p * a_step) * kPanelColumns) * v;
        }
      }
      for (int r = 0; r < kAtOnce; ++r) {
        if (i + r < rows) out[(i + r) * kPanelColumns] = sums[r];
      }
    }
  }

  /// Computes a tile of the lower triangle of Z^T Z, from row i and column j, and the rows of Z^T y
  /// beside the first tile of a row.
  __device__ void normal_tile(Index i, Index j, double* G, double* b) const {
    const Index rows = task_.k - i, columns = task_.k - j;
    double sums[kTile][kTile] = {}, sums_y[kTile] = {};
    for (Index s = 0; s < task_.m_in; ++s) {
      const double* z = task_.Z_in + s * task_.k * kPanelColumns;
      const double y = j == 0 ? load_global(task_.y_in + s * kPanelColumns) : 0;
      double left[kTile], right[kTile];
      for (int r = 0; r < kTile; ++r) {
        left[r] = r < rows ? load_global(z + (i + r) * kPanelColumns) : 0;
        right[r] = r < columns ? load_global(z + (j + r) * kPanelColumns) : 0;
      }
      for (int r = 0; r < kTile; ++r) {
        for (int c = 0; c < kTile; ++c) sums[r][c] += left[r] * right[c];
        sums_y[r] += left[r] * y;
      }
    }
    for (int r = 0; r < kTile && r < rows; ++r) {
      double* row = G + kernels::triangle(i + r) * kPanelColumns;
      for (int c = 0; c < kTile; ++c) {
        if (j + c <= i + r) row[(j + c) * kPanelColumns] = sums[r][c];
      }
      if (j == 0) b[(i + r) * kPanelColumns] = sums_y[r];
    }
  }

  /// The rows of a slot: whether each of its products is known, K a and K' a.
  __device__ double* products_of(int slot) const {
    return workspace_ + (layout_.rows + slot * products_.rows_of_slot) * kPanelColumns;
  }
  __device__ void forget_products(int slot) {
    if (slot == kNoSlot || products_.rows_of_slot == 0) return;
    Columns::fill(2, 0.0, products_of(slot));
  }
  /// Returns whether a product is not yet known, and marks it as known. The answer is the same in
  /// all columns of the panel.
  __device__ static bool is_new(double* known) {
    if (Columns::first(known) != 0) return false;
    constexpr double kKnown = 1;
    Columns::put(&kKnown, known);
    return true;
  }

  /// X times the slot's vector, (m_in,): K a for an inner slot, K'^T a for an outer slot.
  __device__ const double* inner_product(int slot) {
    double *known = products_of(slot), *out = known + 2 * kPanelColumns;
    if (!is_new(known)) return out;
    if (is_outer(slot)) {
      product(task_.m_in, task_.m_out, task_.K_cross, 1, task_.most_in, vector(slot), out);
    } else {
      product(task_.m_in, task_.m_in, task_.K, task_.most_in, 1, vector(slot), out);
    }
    return out;
  }
  /// X' times the slot's vector, (m_out,): K' a for an inner slot, X' X'^T a for an outer slot.
  __device__ const double* outer_product(int slot) {
    double *known = products_of(slot), *out = known + (2 + products_.most_in) * kPanelColumns;
    if (!is_new(known + kPanelColumns)) return out;
    if (is_outer(slot)) {
      product(task_.m_out, task_.m_out, task_.K_outer, task_.most_out, 1, vector(slot), out);
    } else {
      product(task_.m_out, task_.m_in, task_.K_cross, task_.most_in, 1, vector(slot), out);
    }
    return out;
  }

  Task task_;
  const AlgebraLayout& layout_;
  const SlotProducts& products_;
  int steps_, blocks_;
  double* workspace_;
};

}  // namespace metaspan::cuda
