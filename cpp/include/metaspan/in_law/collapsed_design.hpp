// The Design of the collapsed engine, (16)-(18): random samples of a task, represented in an
// orthonormal basis. The basis consists of the D basis vectors of the state, (13), and of vectors
// orthogonal to these, along which the samples also have components.
#pragma once

#include "metaspan/algebra/design.hpp"
#include "metaspan/algebra/factors.hpp"
#include "metaspan/in_law/sample_shape.hpp"
#include "normal.hpp"

namespace metaspan {

/// The random numbers of one data set for a panel of tasks. Each row of an array has
/// kernels::kTasks elements, which are the numbers of the kernels::kTasks tasks at one position of
/// the layout.
struct PanelSet {
  std::vector<double> numbers;  // (numbers, tasks)  entries of X and noise, not normalised
  std::vector<double> radii;    // (rows, tasks)     s of (19); empty for Gaussian features
  std::vector<double> beyond;   // (tasks,)          see SetShape::beyond
};

/// Draws the samples of the tasks [first, first + tasks) of a round, (16), for the inner set, the
/// outer set or both. The time is proportional to the number of random numbers that are drawn.
void draw_samples(Key key, const SampleLaw& law, const SampleShape& shape, Index first, Index tasks,
                  bool with_inner, bool with_outer, PanelSet& inner, PanelSet& outer);

/// Draws theta of the tasks [first, first + tasks) in the basis, (33): [w_star; 0] plus xi in the
/// columns of the state and, if the shape has one, in the column of the direction of xi.
void draw_theta(Key key, const SampleLaw& law, const SampleShape& shape, Index first, Index tasks,
                const double* heads,  // (k_star, kTasks)
                Index k_star,
                PanelSet& xi,                 // scratch
                std::vector<double>& theta);  // (inside(), kTasks) out

/// A Design, see design.hpp. A slot stores the coordinates of a vector X^T r in the basis. X X^T is
/// never formed. A pass takes the rows of X one by one: it computes the residual of a row, and adds
/// the residual times the row to the slot while a cache still holds the row.
class CollapsedDesign {
 public:
  using Columns = PanelColumns<kernels::kTasks>;
  static constexpr int width = Columns::width;

  /// The tasks of a panel, their samples and the state.
  struct Panel {
    const Mat& Z;         // (D, k)           [M; R]
    const double* theta;  // (known, width)   theta of each task in the first columns of the basis
    Index known, tasks;   // k_star, or D columns and the one aside with xi
    double noise;
    const SampleShape& shape;
    const PanelSet &inner, &outer;
    int outer_slot;
    bool shared;  // the outer samples are the inner samples
    bool defers;  // add() only keeps the terms: add_scaled() adds them once they are clipped, (29)
    int blocks = 1;  // Method::blocks()
  };

  /// Memory for panels of one shape.
  class Scratch {
   public:
    Scratch(const Method& method, const SampleShape& shape, bool shared, Index k);

    std::vector<double> G;  // (D, padded)  in and out, += the panel's terms of grad_B in the span

   private:
    friend class CollapsedDesign;
    struct Slot {
      const double* vector = nullptr;    // (columns, width)
      const double* residual = nullptr;  // (rows, width)
    };
    struct OffTerm {
      int slot;
      const double* c;  // (k, width)
    };
    Index padded_;
    std::vector<double> u_;           // (columns, width)
    std::vector<double> vectors_;     // (slots, columns, width)
    std::vector<double> transposed_;  // (width, padded)
    std::vector<Slot> slots_;
    std::vector<OffTerm> terms_;
    std::vector<const double*> members_;  // rows c of the terms of a group
    std::vector<double> basis_;           // (terms, longest vector off the span, width)
    std::vector<double> products_;        // (terms, terms, width)
    std::vector<double> factor_;          // (terms, k, width)
    std::vector<double> scaled_;          // (k, width)
  };

  CollapsedDesign(const Panel& panel, Scratch& scratch) : panel_(panel), scratch_(scratch) {
    scratch.terms_.clear();
  }

  Index tasks() const { return panel_.tasks; }
  Index m_in() const { return panel_.shape.rows_of(panel_.shape.inner); }
  Index m_out() const { return panel_.shape.rows_of(outer_shape()); }
  Index tracked() const { return 0; }

  void residual_in(const double* V, Terms<Columns> terms, int slot, double* r);
  void residual_out(const double* V, Terms<Columns> terms, int slot, double* r);
  void product_in(const double* V, Terms<Columns> terms, int slot, double* r);
  void normal_equations(double* G, double* b);
  void features(int slot, double* out) const;
  void dot(int a, int b, double* dots) const;
  void add(int slot, const double* C);

  /// Computes, for every task, the squared norm of its part of grad_B in the basis, (width,). With
  /// a frame, the basis contains the whole part.
  void squares(double* out);
  /// Adds the terms that add() kept to grad_B, each task's multiplied by its factor.
  void add_scaled(const double* factors);  // (width,)

  /// Groups of a task's terms of grad_B. The parts of the terms off the span are summed within each
  /// group. For (17), the group `frame` has all terms. For (18), `inner` has the terms of the inner
  /// set and `outer` has the terms of the outer set; if the two sets are the same samples, `both`
  /// has all terms.
  enum class Group { frame, inner, outer, both };
  /// A factor A (rows, k, width) for every task of a panel. The part of a group off the span is U
  /// A, where U is a Haar-distributed frame for Group::frame, (17), and a matrix of standard
  /// normals for all other groups, (18).
  struct Factor {
    const double* values;
    Index rows;
  };
  /// Returns the factor A of a group. The factor is valid until the next call of off_span().
  Factor off_span(Group group);
  /// Returns the row (1, k, width) of the gradient along the direction of xi, (33), valid until the
  /// next call of this function or of off_span().
  Factor along_xi();

 private:
  const SetShape& outer_shape() const {
    return panel_.shared ? panel_.shape.inner : panel_.shape.outer;
  }
  Index columns() const { return panel_.shape.columns(); }
  /// Computes u_ <- B V + terms or, if `less_truth` is true, u_ <- B V + terms - theta.
  void direction(const double* V, Terms<Columns> terms, bool less_truth);
  /// Computes r = X u - noise and slot <- X^T r, row by row.
  void pass(const SetShape& set, const PanelSet& numbers, double noise, int slot, double* r);
  /// Off the basis, X^T r is a sum over the rows of X of a coefficient times a vector of standard
  /// normals. Computes these coefficients.
  void weights(int slot, const double* r, double* out) const;
  /// Adds the part of a term in the span to G.
  void add_in_span(int slot, const double* C);
  /// Whether the term of `slot` belongs to `group`.
  bool is_member(int slot, Group group) const;
  /// Computes the factor R of the QR decomposition of the vectors in basis_, stores R in products_,
  /// and overwrites the vectors.
  void orthogonalise(Index count, Index length);

  Panel panel_;
  Scratch& scratch_;
};

}  // namespace metaspan
