// Equations (5)-(10): from the products of a design to the factors of the gradient. No d, no data,
// no randomness.
#pragma once

#include <vector>

#include "metaspan/design.hpp"
#include "metaspan/method.hpp"

namespace metaspan {

/// The inner loop, the outer loss and the way back, for a panel of tasks at a time.
///
/// All memory is taken when it is made, for panels up to the given size; the calls allocate
/// nothing. A task costs 2 J + 2 products with Z, exact methods 2 J more, MAML O(J^2) vector
/// operations and, where K is not trivial, the products with it that `Method` tells.
template <class Design>
class TaskAlgebra {
 public:
  TaskAlgebra(const Method& method, Index k, Index max_m_in, Index max_m_out);

  /// The inner loop (2) from (B, w): afterwards adapted(), and residual(j), head(j) for j < J.
  void adapt(
      const Design& design,
      const double* w,                // (k,)
      bool gram_for_losses = false);  // K r_j for MAML with J = 1 too, which only the losses need

  /// adapt(), then the outer loss and its gradient: the design is given the terms of C and C',
  /// (10). With `losses`, loss() is filled too: one product with Z more.
  void gradient(const Design& design,
                const double* w,  // (k,)
                bool losses);

  const double* adapted() const { return heads_[method_.inner_steps].data(); }  // (k, width)  w_J
  const double* grad_w() const { return omega_.data(); }                        // (k, width)
  const double* residual(int j) const { return residuals_[j].data(); }  // (m_in, width)  r_j
  const double* head(int j) const { return heads_[j].data(); }          // (k, width)     w_j

  enum Loss { before, after, outer };
  const double* loss(Loss which) const { return losses_[which].data(); }  // (width,)

 private:
  static constexpr int kWidth = Design::width;
  using Panel = std::vector<double>;
  /// A term s c^T of C that later steps back still meet, with K s beside it.
  struct Pair {
    const double* s;    // (m_in, width)
    const double* K_s;  // (m_in, width)
    const double* c;    // (k, width)
  };

  bool moves_B() const { return method_.adapt_B; }
  void inner_residual(const Design& design, const double* V, int moves, double* out);
  void step_back(const Design& design, int j);

  Method method_;
  Index k_;
  std::vector<Panel> heads_;                       // w_0 .. w_J        (k, width) each
  std::vector<Panel> residuals_;                   // r_0 .. r_{J-1}    (m_in, width)
  std::vector<Panel> K_r_;                         // scratch of K r_j  (m_in, width)     MAML
  std::vector<Panel> Kc_r_;                        // scratch of K' r_j (m_out, width)    MAML
  std::vector<const double*> K_r_at_, Kc_r_at_;    // where the design put them
  std::vector<Panel> r_bars_, K_r_bars_, a_bars_;  // one a step back, kept for the pairs
  std::vector<Pair> pairs_;
  Panel outer_residual_, Kct_s_, in_scratch_, k_scratch_, omega_;
  const double* Kct_s_at_ = nullptr;  // K'^T s'
  Panel losses_[3];
};

}  // namespace metaspan
