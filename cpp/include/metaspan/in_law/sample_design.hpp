// The passes over random samples of a task, (16)-(18), and the factors of its contribution off the
// span, for the panels of any policy of columns: CollapsedDesign runs them on the CPU, and a kernel
// of cpp/cuda runs them on a device. Files that instantiate it include sample_passes_impl.hpp and
// off_span_impl.hpp.
#pragma once

#include "metaspan/algebra/design.hpp"
#include "metaspan/algebra/layout.hpp"
#include "metaspan/in_law/sample_view.hpp"

namespace metaspan {

/// A Design, see design.hpp. A slot stores the coordinates of a vector X^T r in the basis. X X^T is
/// never formed. A pass takes the rows of X one by one: it computes the residual of a row, and adds
/// the residual times the row to the slot while a cache still holds the row. The residuals of slots
/// and the terms of grad_B are read from the workspace of the algebra.
///
/// Tasks is TaskColumns on the CPU and TaskColumn on a device: the columns of the design, and the
/// products of the state with them.
template <class Tasks>
class SampleDesign {
 public:
  using Columns = typename Tasks::Columns;
  static constexpr int width = Columns::width;

  /// The random numbers of one set, see PanelSet.
  struct Numbers {
    const double* numbers;  // (numbers, width)
    const double* radii;    // (rows, width), or null
    const double* beyond;   // (width,), or null
  };
  /// The tasks of a panel, their samples and the state.
  struct Panel {
    const double* Z;  // (D, k)  [M; R]
    Index k;
    const double* theta;  // (known, width)   theta of each task in the first columns of the basis
    Index known, tasks;   // k_star, or D columns and the one aside with xi
    double noise;
    SampleView shape;
    Numbers inner, outer;
    bool shared;  // the outer samples are the inner samples
  };

  /// Memory of a panel; `longest` is longest_off_span().
  struct Memory {
    double* u;         // (columns, width)
    double* vectors;   // (slots, columns, width)
    double* basis;     // (max(slots longest, k), width)
    double* products;  // (slots, slots, width)
    double* factor;    // (slots, k, width)
  };

  /// `layout` must outlive the design.
  METASPAN_HD SampleDesign(const Method& method, const Panel& panel, const Memory& memory,
                           const AlgebraLayout& layout,
                           const double* workspace)  // of the algebra
      : method_(method), panel_(panel), memory_(memory), layout_(layout), workspace_(workspace) {}

  METASPAN_HD Index tasks() const { return panel_.tasks; }
  METASPAN_HD Index m_in() const { return panel_.shape.rows_of(panel_.shape.inner); }
  METASPAN_HD Index m_out() const { return panel_.shape.rows_of(outer_shape()); }
  METASPAN_HD Index tracked() const { return 0; }

  METASPAN_HD void residual_in(const double* V, Terms<Columns> terms, int slot, double* r);
  METASPAN_HD void residual_out(const double* V, Terms<Columns> terms, int slot, double* r);
  METASPAN_HD void product_in(const double* V, Terms<Columns> terms, int slot, double* r);
  METASPAN_HD void normal_equations(double* G, double* b);
  METASPAN_HD void features(int slot, double* out) const;
  METASPAN_HD void dot(int a, int b, double* dots) const;
  /// Leaves the term to the caller, who finds it in the memory of the algebra after a round.
  METASPAN_HD void add(int, const double*) {}

  /// Computes, for every task, the squared norm of its part of grad_B in the basis, (width,). With
  /// a frame, the basis contains the whole part.
  METASPAN_HD void squares(double* out) const;

  /// A factor A (rows, k, width) for every task of a panel. The part of a group off the span is U
  /// A, where U is a Haar-distributed frame for TermGroup::frame, (17), a matrix of standard
  /// normals for the groups of (18), and one unit vector for TermGroup::along_xi.
  struct Factor {
    const double* values;
    Index rows;
  };
  /// Returns the factor A of a group. The factor is valid until the next call.
  METASPAN_HD Factor off_span(TermGroup group);

  /// Returns the coordinates of a slot in the basis, (columns, width).
  METASPAN_HD const double* vector(int slot) const {
    return set_of(slot).infinite ? residual(slot)
                                 : memory_.vectors + slot * columns() * Columns::stride;
  }
  /// Term number i of grad_B, (10), of Method::terms().
  struct OffTerm {
    int slot;
    const double* c;  // (k, width)
  };
  METASPAN_HD OffTerm term(int i) const {
    const AlgebraLayout::Term term = layout_.term(method_, i);
    return {term.slot, workspace_ + term.c * Columns::stride};
  }
  METASPAN_HD int term_count() const { return method_.terms(); }

 protected:
  METASPAN_HD const Panel& panel() const { return panel_; }

 private:
  METASPAN_HD const SetView& outer_shape() const {
    return panel_.shared ? panel_.shape.inner : panel_.shape.outer;
  }
  METASPAN_HD bool is_outer(int slot) const { return is_outer_slot(slot, layout_.steps); }
  METASPAN_HD const SetView& set_of(int slot) const {
    return is_outer(slot) ? outer_shape() : panel_.shape.inner;
  }
  METASPAN_HD const double* residual(int slot) const {
    return workspace_ + layout_.of_slot(slot) * Columns::stride;
  }
  METASPAN_HD Index columns() const { return panel_.shape.columns(); }
  /// Computes u <- B V + terms or, if `less_truth` is true, u <- B V + terms - theta.
  METASPAN_HD_CALL void direction(const double* V, Terms<Columns> terms, bool less_truth);
  /// Computes r = X u - noise and slot <- X^T r, row by row.
  METASPAN_HD void pass(const SetView& set, const Numbers& numbers, double noise, int slot,
                        double* r);
  METASPAN_HD void pass_infinite(const SetView& set, double* r);
  METASPAN_HD void pass_rows(const SetView& set, const Numbers& numbers, double noise, int block,
                             double* back, double* r);
  /// Off the basis, X^T r is a sum over the rows of X of a coefficient times a vector of standard
  /// normals. Computes these coefficients.
  METASPAN_HD void weights(int slot, const double* r, double* out) const;
  /// Whether the term of `slot` belongs to `group`.
  METASPAN_HD bool is_member(int slot, TermGroup group) const;
  METASPAN_HD Factor along_xi();
  /// Computes the factor R of the QR decomposition of the vectors in `basis`, stores R in
  /// `products`, and overwrites the vectors.
  METASPAN_HD void orthogonalise(Index count, Index length);

  Method method_;
  Panel panel_;
  Memory memory_;
  const AlgebraLayout& layout_;
  const double* workspace_;
};

}  // namespace metaspan
