// Equations (5)-(10), (25)-(27), (29), (32), (34) and (35): the inner loop and what a task
// contributes to the outer step, computed from the products of a Design. This code uses neither d
// nor the data directly, and it draws no random numbers.
#pragma once

#include <vector>

#include "metaspan/algebra/design.hpp"
#include "metaspan/algebra/method.hpp"

namespace metaspan {

/// Numbers of operations that TaskAlgebra::gradient() requests of a design for one panel.
struct AlgebraCounts {
  double forward;  // products with X, including the one with X'
  double back;     // products B^T slot
  double added;    // terms that are added to grad_B
  double moves;    // additions of a scaled slot and inner products of two slots, (6), (9)
};

/// Counts the operations of one call. `losses` is the fraction of calls that compute losses.
AlgebraCounts algebra_counts(const Method& method, double losses);

/// The number of partial sums in an inner product of two panels, see dot_columns().
template <class Design>
constexpr int kChainsOf = Design::width <= 8 ? 4 : 2;

/// The inner loop (2) or the solved head (26), the outer loss (7) and the backward pass (9), for
/// one panel of tasks at a time.
///
/// The constructor allocates all memory, for panels of up to max_m_in and max_m_out rows; calls do
/// not allocate. A task needs J + 1 products with X or X' and J + 1 with their transposes. An exact
/// method needs J more of both, and MAML also needs O(J^2) vector operations.
template <class Design>
class TaskAlgebra {
 public:
  TaskAlgebra(const Method& method, Index k, Index max_m_in, Index max_m_out);

  /// Runs the inner loop (2) from (B, w). Afterwards adapted() is w_J, residual(j) and head(j) are
  /// valid for j < J, and slot j of the design is X^T r_j. With a solved head, (26), w_1 is the
  /// solved head, and residual() is not valid.
  void adapt(Design& design,
             const double* w) {  // (parameters,)
    spread(w);
    adapt(design);
  }

  /// Runs adapt(), then computes what the task contributes to the outer step: grad_w(), and the
  /// terms of grad_B, (10), which are passed to the design. With `losses` it also computes loss().
  /// This takes one more product with X, and one with X' if the contribution needs no product with
  /// X'.
  void gradient(Design& design,
                const double* w,  // (parameters,)
                bool losses) {
    spread(w);
    gradient(design, losses);
  }
  /// Computes the same contribution for tasks that may differ in the initial head. Column t of
  /// start(), (parameters, width), has the w of task t and the parameters that follow w, see
  /// Method.
  void gradient(Design& design, bool losses);
  double* start() { return heads_[0].data(); }

  const double* adapted() const { return heads_[method_.inner_steps].data(); }  // (k, width)  w_J
  const double* grad_w() const { return omega_.data(); }                // (parameters, width)
  const double* residual(int j) const { return residuals_[j].data(); }  // (m_in, width)  r_j
  const double* head(int j) const { return heads_[j].data(); }          // (k, width)     w_j

  /// The step size of the last inner loop, unless every entry of the head has a step size.
  double step_size() const { return method_.alpha; }

  /// The inner loss before and after the inner loop, and the outer loss after it.
  enum Loss { before, after, outer };
  const double* loss(Loss which) const { return losses_[which].data(); }  // (width,)

 private:
  static constexpr int kWidth = Design::width;
  using Panel = std::vector<double>;
  /// A term v c^T of Omega, (9), with v in a slot.
  struct Pair {
    int slot;
    const double* c;  // (k, width)
  };

  /// Copies w, and the parameters that follow it, into every column of start().
  void spread(const double* w) {  // (parameters,)
    const Index parameters = method_.parameters(k_);
    for (Index i = 0; i < parameters; ++i) std::fill_n(start() + i * kWidth, kWidth, w[i]);
  }
  void adapt(Design& design);  // from start()
  void solve_head(Design& design);
  void measure_others(Design& design);
  void complete(Design& design);
  void contribute(Design& design, int slot, const double* c);
  void clip(Design& design);
  void contribute_moves(Design& design);
  void contribute_solved(Design& design);
  void contribute_private_head(Design& design);
  void differentiate_step(Design& design, int j);
  void read_context(const double* features, double* head) const;
  void contribute_attention(Design& design);
  bool moves_B() const { return method_.adapt_B; }
  /// The first row of the private head among the parameters.
  Index private_row() const { return k_ + method_.learned_steps(k_); }
  /// The memory for B_j^T g_j. With learned step sizes, every step j has memory of its own.
  double* pull(int j) { return pulls_.empty() ? k_scratch_.data() : pulls_[j].data(); }
  /// The learned step sizes, (k or 1, width), and their gradient.
  const double* step_sizes() const { return heads_[0].data() + k_ * kWidth; }
  double* grad_steps() { return omega_.data() + k_ * kWidth; }
  // The index of each slot; a function is named after the vector of (9) that its slot holds.
  static int g(int j) { return j; }                               // X^T r_j
  int p() const { return method_.inner_steps; }                   // X'^T s'
  int g_bar(int j) const { return method_.inner_steps + 1 + j; }  // X^T r_bar_j
  int p_v() const { return 2 * method_.inner_steps + 1; }         // X'^T s'_v
  // The sums of (6) and a step of (9); task_algebra_impl.hpp describes them.
  void push_term(int slot, const double* a, const double* b);
  void push_moves(int moves, const double* V);
  Terms<kWidth> terms() const { return {terms_.data(), static_cast<int>(terms_.size())}; }
  void subtract_moves(Design& design, int moves, int slot, double* out);
  void subtract_pair(Design& design, int a, int b, const double* c, double* out);
  void step_back(Design& design, int j);

  Method method_;
  Index k_;
  std::vector<Panel> heads_;      // w_0 .. w_J        (k, width) each; w_0: (parameters, width)
  std::vector<Panel> residuals_;  // r_0 .. r_{J-1}    (m_in, width)
  std::vector<Panel> r_bars_, a_bars_;  // one for each backward step; pairs_ refers to them
  std::vector<Pair> pairs_;
  std::vector<Pair> terms_of_B_;  // of grad_B, where these are clipped
  std::vector<Panel> clipped_;    // c of each of these terms, scaled
  std::vector<Term<kWidth>> terms_;
  std::vector<Panel> pulls_;  // B_j^T g_j, (k, width) each, for learned step sizes
  Panel outer_residual_, in_scratch_, k_scratch_;
  Panel omega_;                         // (parameters, width)
  Panel first_residual_;                // (m_in, width)  r_0 of all blocks, for fresh steps
  Panel private_residual_, private_c_;  // (m_out, width)  s'_v and (k, width)  gamma v
  Panel system_;                        // (triangle(k), width)  L of (26)
  Panel losses_[3];
};

}  // namespace metaspan
