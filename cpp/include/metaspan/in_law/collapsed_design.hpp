// Tasks with random samples, each in an orthonormal basis of what matters of R^d: (16) as a Design.
#pragma once

#include "metaspan/algebra/design.hpp"
#include "metaspan/in_law/sample_shape.hpp"
#include "normal.hpp"

namespace metaspan {

/// The numbers of a panel of tasks, each a row of kernels::kTasks.
struct PanelSet {
  std::vector<double> numbers;  // (numbers, tasks)  entries of X and noise, not normalised
  std::vector<double> radii;  // (rows, tasks)     what the rows of X were multiplied with, or empty
  std::vector<double> beyond;  // (tasks,)
};

/// Draws the samples of the tasks from `first` on in a round, the inner ones where they are wanted.
/// O(numbers).
void draw_samples(Key key, const SampleLaw& law, const SampleShape& shape, Index first,
                  bool with_inner, PanelSet& inner, PanelSet& outer);

/// A Design, see design.hpp. A slot is a vector of the basis: X is at hand row by row, so that
/// X X^T is never formed, and a row's residual is taken back to the slot while the cache holds it.
class CollapsedDesign {
 public:
  static constexpr int width = kernels::kTasks;

  struct Panel {
    const Mat& Z;         // (D, k)           [M; R]
    const double* heads;  // (k_star, width)  w_star of each task
    Index k_star, tasks;
    double noise;
    const SampleShape& shape;
    const PanelSet &inner, &outer;
    int outer_slot;
    bool shared;
  };

  /// Memory for panels of one shape.
  class Scratch {
   public:
    Scratch(const Method& method, const SampleShape& shape, bool shared, Index k);

    std::vector<double> G;  // (D, padded)  in and out, += the sum of the panel's terms in the span

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
    std::vector<const double*> members_;  // c of the terms of a group
    std::vector<double> basis_;           // (terms, most entries of one off the span, width)
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
  void features(int slot, double* out) const;
  void dot(int a, int b, double* dots) const;
  void add(int slot, const double* C);

  /// Which terms of a task meet off the span.
  enum class Group { frame, inner, outer, both };
  /// A factor A of what a group adds off the span, U A with U orthonormal (frame) or U A of the law
  /// of (18): (rows, k, width), and how many rows.
  struct Factor {
    const double* values;
    Index rows;
  };
  Factor off_span(Group group);

 private:
  const SetShape& outer_shape() const {
    return panel_.shared ? panel_.shape.inner : panel_.shape.outer;
  }
  Index columns() const { return panel_.shape.columns(); }
  void direction(const double* V, Terms<width> terms, bool less_truth);
  void pass(const SetShape& set, const PanelSet& numbers, double noise, bool outer, int slot,
            double* r);
  void weights(int slot, const double* r, double* out) const;
  bool is_member(int slot, Group group) const;
  void orthogonalise(Index count, Index length);

  Panel panel_;
  Scratch& scratch_;
};

}  // namespace metaspan
