// The Design of the collapsed engine, (16)-(18): random samples of a task, represented in an
// orthonormal basis. The basis spans the columns of the state and the task's vectors outside their
// span.
#pragma once

#include "metaspan/algebra/design.hpp"
#include "metaspan/in_law/sample_shape.hpp"
#include "normal.hpp"

namespace metaspan {

/// The random numbers of one data set for a panel of tasks. A row has kernels::kTasks elements: one
/// number for each task, all at the same position of the layout.
struct PanelSet {
  std::vector<double> numbers;  // (numbers, tasks)  entries of X and noise, not normalised
  std::vector<double> radii;    // (rows, tasks)     s of (19); empty for Gaussian features
  std::vector<double> beyond;   // (tasks,)          see SetShape::beyond
};

/// Draws the samples of the tasks [first, first + tasks) of a round, (16), for the inner set, the
/// outer set or both. The time is proportional to how many numbers are drawn.
void draw_samples(Key key, const SampleLaw& law, const SampleShape& shape, Index first, Index tasks,
                  bool with_inner, bool with_outer, PanelSet& inner, PanelSet& outer);

/// A Design, see design.hpp. A slot is a vector X^T r in the basis. X X^T is never formed: a pass
/// takes X row by row, computes the residual and adds the residual times the row to the slot while
/// a cache holds the row.
class CollapsedDesign {
 public:
  static constexpr int width = kernels::kTasks;

  /// The tasks of a panel, their samples and the state.
  struct Panel {
    const Mat& Z;         // (D, k)           [M; R]
    const double* heads;  // (k_star, width)  w_star of each task
    Index k_star, tasks;
    double noise;
    const SampleShape& shape;
    const PanelSet &inner, &outer;
    int outer_slot;
    bool shared;  // the outer samples are the inner samples
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
  };

  CollapsedDesign(const Panel& panel, Scratch& scratch) : panel_(panel), scratch_(scratch) {
    scratch.terms_.clear();
  }

  Index tasks() const { return panel_.tasks; }
  Index m_in() const { return panel_.shape.rows_of(panel_.shape.inner); }
  Index m_out() const { return panel_.shape.rows_of(outer_shape()); }
  Index tracked() const { return 0; }

  void residual_in(const double* V, Terms<width> terms, int slot, double* r);
  void residual_out(const double* V, Terms<width> terms, int slot, double* r);
  void product_in(const double* V, Terms<width> terms, int slot, double* r);
  void normal_equations(double* G, double* b);
  void features(int slot, double* out) const;
  void dot(int a, int b, double* dots) const;
  void add(int slot, const double* C);

  /// Groups of a task's terms, whose parts off the span are summed by group. For (17), `frame` has
  /// all terms. For (18), `inner` has the terms of the inner set, `outer` those of the outer set,
  /// and `both` those of samples that are in both sets.
  enum class Group { frame, inner, outer, both };
  /// A factor A (rows, k, width) for every task of a panel. Off the span a group adds U A, where U
  /// is a Haar frame for Group::frame, (17), and standard normal for the other groups, (18).
  struct Factor {
    const double* values;
    Index rows;
  };
  /// Returns the factor of a group, valid until the next call.
  Factor off_span(Group group);

 private:
  const SetShape& outer_shape() const {
    return panel_.shared ? panel_.shape.inner : panel_.shape.outer;
  }
  Index columns() const { return panel_.shape.columns(); }
  /// Computes u_ <- B V + terms, minus theta if `less_truth`.
  void direction(const double* V, Terms<width> terms, bool less_truth);
  /// Computes r = X u - noise and slot <- X^T r, row by row.
  void pass(const SetShape& set, const PanelSet& numbers, double noise, int slot, double* r);
  /// Computes the coefficients in X^T r of the rows of X, where rows are scaled to unit length off
  /// the basis.
  void weights(int slot, const double* r, double* out) const;
  /// Whether a term with this slot belongs to a group.
  bool is_member(int slot, Group group) const;
  /// Replaces the vectors of basis_ by the factor R of their QR decomposition, in products_.
  void orthogonalise(Index count, Index length);

  Panel panel_;
  Scratch& scratch_;
};

}  // namespace metaspan
