// The Design of the spectral engine: population losses of features with a diagonal covariance,
// computed from moments, (15).
#pragma once

#include "metaspan/algebra/design.hpp"
#include "metaspan/algebra/factors.hpp"
#include "metaspan/algebra/method.hpp"
#include "metaspan/base/sizes.hpp"

namespace metaspan {

/// A Design, see design.hpp, with X = Sigma^{1/2}. With U = [B_star, B], (15), every vector of the
/// algebra is sum_b Sigma^b U a_b with coefficients a_b of length p = k_star + k, and inner
/// products of such vectors need only the moments U^T Sigma^q U. A slot stores the coefficients of
/// its vector. Multiplying a vector by X^T X = Sigma moves the coefficients of every block b to
/// block b + 1. A residual is represented by its norm, which is enough to compute losses.
class SpectralDesign {
 public:
  using Columns = PanelColumns<kPanelTasks>;
  static constexpr int width = Columns::width;

  /// Number of blocks a_b that a method needs.
  static int blocks_of(const Method& method) {
    if (!method.adapt_B || method.inner_steps == 0) return 2;
    return method.exact ? 2 * method.inner_steps + 2 : method.inner_steps + 2;
  }
  /// The highest power q of Sigma in the moments that a method needs. The norm (29) takes inner
  /// products of any two slots.
  static int moments_of(const Method& method) {
    if (method.clips()) return 2 * (blocks_of(method) - 1);
    return method.adapt_B ? 2 * method.inner_steps + 1 : 1;
  }

  /// The tasks of a panel and the moments of the state.
  struct Panel {
    const std::vector<Mat>& moments;  // (p, p)  U^T Sigma^q U at index q
    const double* heads;              // (k_star, width)
    Index k_star, k, tasks;
    int blocks;
    bool losses;  // whether the norms of residuals are computed
  };

  /// Memory for panels of one shape.
  class Scratch {
   public:
    Scratch(const Method& method, Index k_star, Index k);
    std::vector<double> H;  // (blocks, p, padded)  += the panel's terms of grad_B

   private:
    friend class SpectralDesign;
    Index padded_;
    std::vector<double> u_, product_;  // (blocks, p, width), (p, width)
    std::vector<double> slots_;        // (slots, blocks, p, width)
    std::vector<double> transposed_;   // (width, padded)
  };

  SpectralDesign(const Panel& panel, Scratch& scratch) : panel_(panel), scratch_(scratch) {}

  Index tasks() const { return panel_.tasks; }
  Index m_in() const { return 1; }
  Index m_out() const { return 1; }
  Index tracked() const { return 0; }

  void residual_in(const double* V, Terms<Columns> terms, int slot, double* r) {
    chain(V, terms, true, slot, r);
  }
  void residual_out(const double* V, Terms<Columns> terms, int slot, double* r) {
    chain(V, terms, true, slot, r);
  }
  void product_in(const double* V, Terms<Columns> terms, int slot, double* r) {
    chain(V, terms, false, slot, r);
  }
  void normal_equations(double* G, double* b) const;
  void features(int slot, double* out) const;
  void dot(int a, int b, double* dots) const;
  void add(int slot, const double* C);

 private:
  Index p() const { return panel_.k_star + panel_.k; }
  Index size() const { return panel_.blocks * p() * width; }
  double* slot_of(int slot) const { return scratch_.slots_.data() + slot * size(); }
  /// Computes a product of the Design concept: u = B V + terms, slot <- X^T X u, and r = |X u| if
  /// the norm is needed.
  void chain(const double* V, Terms<Columns> terms, bool less_truth, int slot, double* r);
  /// Computes out = sum_ij a_i^T U^T Sigma^(i + j + more) U b_j for every task.
  void form(const double* a, const double* b, int more, double* out) const;

  Panel panel_;
  Scratch& scratch_;
};

}  // namespace metaspan
