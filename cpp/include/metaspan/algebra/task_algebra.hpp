// Equations (5)-(10), (25)-(27), (29), (32), (34) and (35): the inner loop and what a task
// contributes to the outer step, computed from the products of a Design. This code uses neither d
// nor the data directly, and it draws no random numbers. Device code compiles it from this source.
#pragma once

#include <memory>
#include <vector>

#include "metaspan/algebra/design.hpp"
#include "metaspan/algebra/layout.hpp"
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

/// The inner loop (2) or the solved head (26), the outer loss (7) and the backward pass (9), for
/// the columns of a panel that a Design serves, in a workspace that the caller hands over.
///
/// A task needs J + 1 products with X or X' and J + 1 with their transposes. An exact method needs
/// J more of both, and MAML also needs O(J^2) vector operations.
template <class Design>
class PanelAlgebra {
 public:
  using Columns = typename Design::Columns;

  /// `workspace` is a panel (layout.rows, Design::width).
  METASPAN_HD PanelAlgebra(const Method& method, const AlgebraLayout& layout, double* workspace)
      : method_(method), at_(layout), workspace_(workspace) {}

  /// Runs the inner loop (2) from (B, w). Afterwards adapted() is w_J, residual(j) and head(j) are
  /// valid for j < J, and slot j of the design is X^T r_j. With a solved head, (26), w_1 is the
  /// solved head, and residual() is not valid.
  METASPAN_HD void adapt(Design& design,
                         const double* w) {  // (parameters,)
    spread(w);
    adapt(design);
  }

  /// Runs adapt(), then computes what the task contributes to the outer step: grad_w(), and the
  /// terms of grad_B, (10), which are passed to the design. With `losses` it also computes loss().
  /// This takes one more product with X, and one with X' if the contribution needs no product with
  /// X'.
  METASPAN_HD void gradient(Design& design,
                            const double* w,  // (parameters,)
                            bool losses) {
    spread(w);
    gradient(design, losses);
  }
  /// Computes the same contribution for tasks that may differ in the initial head. Column t of
  /// start(), (parameters, width), has the w of task t and the parameters that follow w, see
  /// Method.
  METASPAN_HD void gradient(Design& design, bool losses);
  /// Runs adapt() and, with `losses`, computes loss(), with the bits of gradient(). No term is
  /// passed to the design, and grad_w() is not valid.
  METASPAN_HD void outputs(Design& design,
                           const double* w,  // (parameters,)
                           bool losses);
  METASPAN_HD double* start() { return row(at_.heads); }

  METASPAN_HD const double* adapted() const { return row(at_.head(at_.steps)); }  // (k, width)  w_J
  METASPAN_HD const double* grad_w() const { return row(at_.omega); }  // (parameters, width)
  METASPAN_HD const double* residual(int j) const {                    // (m_in, width)  r_j
    return row(at_.of_slot(g(j)));
  }
  METASPAN_HD const double* head(int j) const { return row(at_.head(j)); }  // (k, width)  w_j

  /// The step size of the last inner loop, unless every entry of the head has a step size.
  METASPAN_HD double step_size() const { return method_.alpha; }

  /// The inner loss before and after the inner loop, and the outer loss after it.
  enum Loss { before, after, outer };
  METASPAN_HD const double* loss(Loss which) const { return row(at_.losses + which); }  // (width,)

  /// A term v c^T of grad_B, (10), or of Omega, (9), with v in a slot.
  struct Pair {
    int slot;
    const double* c;  // (k, width)
  };
  /// After gradient(), term number i < Method::terms() of the contribution to grad_B.
  METASPAN_HD Pair term(int i) const {
    const Pair term = term_of_B(i);
    if (!method_.clips()) return term;
    return {term.slot, row(at_.clipped + i * at_.step_k)};
  }

  METASPAN_HD const AlgebraLayout& layout() const { return at_; }
  METASPAN_HD const double* workspace() const { return workspace_; }

 protected:
  /// Moves the algebra to another workspace. Its contents are not copied.
  void use(double* workspace) { workspace_ = workspace; }

 private:
  static constexpr int kWidth = Columns::width;

  METASPAN_HD double* row(Index i) const { return workspace_ + i * Columns::stride; }
  /// Copies w, and the parameters that follow it, into every column of start().
  METASPAN_HD void spread(const double* w) {  // (parameters,)
    for (Index i = 0; i < at_.parameters; ++i) Columns::fill(1, w[i], row(at_.heads + i));
  }
  METASPAN_HD void adapt(Design& design);  // from start()
  METASPAN_HD void solve_head(Design& design);
  METASPAN_HD void measure(Design& design);
  METASPAN_HD void measure_outer(Design& design);
  METASPAN_HD void put_loss(Loss which, Index m, const double* r);
  METASPAN_HD void measure_others(Design& design);
  METASPAN_HD void complete(Design& design);
  METASPAN_HD void contribute(Design& design, int slot, const double* c);
  METASPAN_HD void clip(Design& design);
  METASPAN_HD void contribute_moves(Design& design);
  METASPAN_HD void contribute_solved(Design& design);
  METASPAN_HD void contribute_private_head(Design& design);
  METASPAN_HD void differentiate_step(Design& design, int j);
  METASPAN_HD void read_context(const double* features, double* head) const;
  METASPAN_HD void contribute_attention(Design& design);
  METASPAN_HD bool moves_B() const { return method_.adapt_B; }
  METASPAN_HD Index k() const { return at_.k; }
  /// The first row of the private head among the parameters.
  METASPAN_HD Index private_row() const { return k() + method_.learned_steps(k()); }
  METASPAN_HD bool learns_steps() const { return method_.step_sizes != StepSizes::fixed; }
  /// The memory for B_j^T g_j. With learned step sizes, every step j has memory of its own.
  METASPAN_HD double* pull(int j) const {
    return row(at_.pulls + (learns_steps() ? j * at_.step_k : Index{0}));
  }
  METASPAN_HD double* a_bar(int j) const { return row(at_.a_bars + j * at_.step_k); }  // (k, width)
  METASPAN_HD double* residual_of(int slot) const { return row(at_.of_slot(slot)); }
  /// The learned step sizes, (k or 1, width), and their gradient.
  METASPAN_HD const double* step_sizes() const { return row(at_.heads + k()); }
  METASPAN_HD double* grad_steps() { return row(at_.omega + k()); }
  // The index of each slot; a function is named after the vector of (9) that its slot holds.
  METASPAN_HD static int g(int j) { return j; }                     // X^T r_j
  METASPAN_HD int p() const { return at_.steps; }                   // X'^T s'
  METASPAN_HD int g_bar(int j) const { return at_.steps + 1 + j; }  // X^T r_bar_j
  METASPAN_HD int p_v() const { return 2 * at_.steps + 1; }         // X'^T s'_v
  // The sums of (6) and a step of (9); task_algebra_impl.hpp describes them.
  METASPAN_HD int pairs(int j) const;
  METASPAN_HD Pair pair(int i) const;
  METASPAN_HD Pair term_of_B(int i) const;
  METASPAN_HD Terms<Columns> terms() const { return {row(at_.factors), count_, moves_}; }
  METASPAN_HD void push_term(const double* a, const double* b);
  METASPAN_HD void push_moves(int moves, const double* V);
  METASPAN_HD void subtract_moves(Design& design, int moves, int slot, double* out);
  METASPAN_HD void subtract_pair(Design& design, int a, int b, const double* c, double* out);
  METASPAN_HD void step_back(Design& design, int j);

  Method method_;
  AlgebraLayout at_;
  double* workspace_;          // (layout.rows, width)
  int count_ = 0, moves_ = 0;  // of the terms
};

/// A PanelAlgebra that owns its workspace. The constructor allocates all memory, for panels of up
/// to max_m_in and max_m_out rows; calls do not allocate.
template <class Design>
class TaskAlgebra : public PanelAlgebra<Design> {
  // Panels start at cache lines: the loops over panels of one column are short vectors.
  static constexpr Index kLine = 8;  // numbers
  static constexpr Index kAlign = ceil_div(kLine, Design::Columns::stride);

 public:
  TaskAlgebra(const Method& method, Index k, Index max_m_in, Index max_m_out)
      : TaskAlgebra(method, AlgebraLayout(method, k, max_m_in, max_m_out, kAlign)) {}
  TaskAlgebra(TaskAlgebra&&) noexcept = default;  // the workspace keeps its address

 private:
  TaskAlgebra(const Method& method, const AlgebraLayout& layout)
      : PanelAlgebra<Design>(method, layout, nullptr),
        memory_(static_cast<std::size_t>(layout.rows * Design::Columns::stride + kLine)) {
    void* start = memory_.data();
    std::size_t bytes = memory_.size() * sizeof(double);
    this->use(
        static_cast<double*>(std::align(kLine * sizeof(double), sizeof(double), start, bytes)));
  }
  std::vector<double> memory_;
};

}  // namespace metaspan
