// Equations (5)-(10): from the products of a design to the terms of the gradient. No d, no data,
// no randomness.
#pragma once

#include <vector>

#include "metaspan/algebra/design.hpp"
#include "metaspan/algebra/method.hpp"

namespace metaspan {

/// What TaskAlgebra::gradient() asks of a design for a panel.
struct AlgebraCounts {
  double forward;  // products X (..), one of them outside
  double back;     // B^T slot
  double added;    // terms of the gradient
  double moves;    // multiples of slots that are added, and products of two slots
};

/// `losses` is the share of the calls with losses.
AlgebraCounts algebra_counts(const Method& method, double losses);

/// The inner loop, the outer loss and the way back, for a panel of tasks at a time.
///
/// All memory is taken when it is made, for panels up to the given size; the calls allocate
/// nothing. A task costs J + 1 products with X or X' each way, exact methods J more, and MAML
/// O(J^2) vector operations.
template <class Design>
class TaskAlgebra {
 public:
  TaskAlgebra(const Method& method, Index k, Index max_m_in, Index max_m_out);

  /// The inner loop (2) from (B, w): afterwards adapted(), and residual(j), head(j) for j < J; and
  /// slot j of the design is X^T r_j.
  void adapt(Design& design,
             const double* w);  // (k,)

  /// adapt(), then the outer loss and its gradient: the design is given the terms of grad_B, (10).
  /// With `losses`, loss() is filled too: one product with X more.
  void gradient(Design& design,
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
  /// A term v c^T of Omega, (9), v by its slot.
  struct Pair {
    int slot;
    const double* c;  // (k, width)
  };

  bool moves_B() const { return method_.adapt_B; }
  // The slots of the design, by the letters of (9).
  static int g(int j) { return j; }                               // X^T r_j
  int p() const { return method_.inner_steps; }                   // X'^T s'
  int g_bar(int j) const { return method_.inner_steps + 1 + j; }  // X^T r_bar_j
  void push_term(int slot, const double* a, const double* b);
  void push_moves(int moves, const double* V);
  Terms<kWidth> terms() const { return {terms_.data(), static_cast<int>(terms_.size())}; }
  void subtract_moves(Design& design, int moves, int slot, double* out);
  void subtract_pair(Design& design, int a, int b, const double* c, double* out);
  void step_back(Design& design, int j);

  Method method_;
  Index k_;
  std::vector<Panel> heads_;            // w_0 .. w_J        (k, width) each
  std::vector<Panel> residuals_;        // r_0 .. r_{J-1}    (m_in, width)
  std::vector<Panel> r_bars_, a_bars_;  // one a step back, kept for the pairs
  std::vector<Pair> pairs_;
  std::vector<Term<kWidth>> terms_;
  Panel outer_residual_, in_scratch_, k_scratch_, omega_;
  Panel losses_[3];
};

}  // namespace metaspan
