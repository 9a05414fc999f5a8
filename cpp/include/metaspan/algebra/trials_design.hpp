// The Design of one task of several trials at once, for population losses in coordinates, (13).
// Device code compiles it from this source.
#pragma once

#include "metaspan/algebra/task_algebra.hpp"

namespace metaspan {

/// A Design for one task of `width` trials, one trial per column, each with its own Z = [M; R] and
/// target. As in SharedDesign, X = X' = I, Z = Z' and y = y' = [w_star; 0], and with tracked rows Z
/// is followed by the k rows of an identity matrix. A slot is read from the workspace of the
/// algebra, see AlgebraLayout.
///
/// Trials is TrialColumns on the CPU and TrialColumn on a device: the columns of the design, the
/// product with a matrix of each trial, and what becomes of a term a c^T of grad_B.
template <class Trials>
class TrialsDesign {
 public:
  using Columns = typename Trials::Columns;
  static constexpr int width = Columns::width;
  using Sink = typename Trials::Sink;

  METASPAN_HD TrialsDesign(Index D, Index k,
                           const double* Z,      // (D, k, width)  [M; R]
                           const double* heads,  // (k_star, width)  w_star
                           Index k_star, const AlgebraLayout& layout,
                           const double* workspace,  // of the algebra
                           Sink sink, Index tracked = 0)
      : D_(D),
        k_(k),
        k_star_(k_star),
        Z_(Z),
        heads_(heads),
        layout_(layout),
        workspace_(workspace),
        sink_(sink),
        tracked_(tracked) {}

  METASPAN_HD Index tasks() const { return width; }
  METASPAN_HD Index m_in() const { return D_ + tracked_; }
  METASPAN_HD Index m_out() const { return m_in(); }
  METASPAN_HD Index tracked() const { return tracked_; }

  METASPAN_HD void features(int slot, double* out) const {
    Trials::product(k_, D_, Z_, 1, k_, vector(slot), out);
  }
  METASPAN_HD void dot(int a, int b, double* dots) const {
    Columns::dot(D_, vector(a), vector(b), dots);
  }
  METASPAN_HD void residual_in(const double* V, Terms<Columns> terms, int slot, double* r) const {
    product_in(V, terms, slot, r);
    const double* heads = heads_;
    Columns::each(k_star_, [=](Index i) { r[i] -= heads[i]; });
  }
  METASPAN_HD void residual_out(const double* V, Terms<Columns> terms, int slot, double* r) const {
    residual_in(V, terms, slot, r);
  }
  METASPAN_HD void product_in(const double* V, Terms<Columns> terms, int, double* r) const {
    Trials::product(D_, k_, Z_, k_, 1, V, r);
    Columns::copy(tracked_, V, r + D_ * Columns::stride);
    for (int t = 0; t < terms.count; ++t) {
      Columns::add(m_in(), 1.0, terms.factor(t), vector(terms.slot(t)), r);
    }
  }
  /// Computes Z^T Z and Z^T y of every trial from the Z of the trial.
  METASPAN_HD void normal_equations(double* G, double* b) const {
    Columns::fill(kernels::triangle(k_), 0.0, G);
    for (Index i = 0; i < D_; ++i) Columns::add_outer(k_, Z_ + i * k_ * Columns::stride, G);
    Trials::product(k_, k_star_, Z_, 1, k_, heads_, b);
  }
  METASPAN_HD void add(int slot, const double* c) { sink_.add(m_in(), k_, vector(slot), c); }

 private:
  METASPAN_HD const double* vector(int slot) const {
    return workspace_ + layout_.of_slot(slot) * Columns::stride;
  }

  Index D_, k_, k_star_;
  const double *Z_, *heads_;
  const AlgebraLayout& layout_;
  const double* workspace_;
  Sink sink_;
  Index tracked_;
};

/// Trials of TrialsDesign on a device: a trial for each thread, whose terms are added to grad_B at
/// once.
template <int Stride = 32>
struct TrialColumn {
  using Columns = ThreadColumn<Stride>;

  /// Computes out[i] = sum_p A[i, p] V[p] of the thread's trial. Element (i, p) of A is at row
  /// i a_row + p a_step. Each sum is in rising order of p; three sums at a time hide the latency of
  /// each other and share the reads of V.
  METASPAN_HD static void product(Index rows, Index depth, const double* A, Index a_row,
                                  Index a_step, const double* V, double* out) {
    Index i = 0;
    for (; i + 3 <= rows; i += 3) {
      multiply_rows<3>(depth, A + i * a_row * Stride, a_row, a_step, V, out + i * Stride);
    }
    for (; i < rows; ++i) {
      multiply_rows<1>(depth, A + i * a_row * Stride, a_row, a_step, V, out + i * Stride);
    }
  }

  /// Adds a c^T to grad_B.
  struct Sink {
    double* G;  // (D, k, 1), rows Stride apart

    METASPAN_HD void add(Index D, Index k, const double* a, const double* c) const {
      for (Index i = 0; i < D; ++i) {
        const double a_i = a[i * Stride];
        for (Index j = 0; j < k; ++j) G[(i * k + j) * Stride] += a_i * c[j * Stride];
      }
    }
  };

 private:
  template <int Rows>
  METASPAN_HD static void multiply_rows(Index depth, const double* A, Index a_row, Index a_step,
                                        const double* V, double* out) {
    double sums[Rows] = {};
    for (Index p = 0; p < depth; ++p) {
      const double v = V[p * Stride];
      for (int r = 0; r < Rows; ++r) sums[r] += A[(r * a_row + p * a_step) * Stride] * v;
    }
    for (int r = 0; r < Rows; ++r) out[r * Stride] = sums[r];
  }
};

}  // namespace metaspan
