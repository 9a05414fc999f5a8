// The Design of the collapsed engine, (16)-(18): random samples of a task, represented in an
// orthonormal basis. The basis consists of the D basis vectors of the state, (13), and of vectors
// orthogonal to these, along which the samples also have components.
#pragma once

#include "cholesky.hpp"
#include "metaspan/algebra/factors.hpp"
#include "metaspan/algebra/task_algebra.hpp"
#include "metaspan/in_law/sample_design.hpp"
#include "metaspan/in_law/sample_shape.hpp"
#include "normal.hpp"
#include "panel.hpp"

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

/// Tasks of a SampleDesign side by side in SIMD registers, all with the same state.
struct TaskColumns {
  using Columns = PanelColumns<kernels::kTasks>;

  /// Computes out = A V for one matrix A of all tasks, see kernels::product().
  static void product(Index rows, Index depth, const double* A, Index a_row, Index a_step,
                      const double* V, double* out) {
    kernels::product<false>(rows, depth, Columns::width, A, a_row, a_step, V, out);
  }
  /// Computes the lower triangle of Z^T Z, (triangle(k), width).
  static void spread_gram(Index rows, Index k, const double* Z, double* G) {
    kernels::spread_gram<Columns::width>(rows, k, Z, G);
  }
};

/// The SampleDesign of a panel of the CPU, which adds the terms of grad_B in the span.
class CollapsedDesign : public SampleDesign<TaskColumns> {
 public:
  /// The tasks of a panel, their samples and the state.
  struct Panel {
    const Mat& Z;         // (D, k)           [M; R]
    const double* theta;  // (known, width)   theta of each task in the first columns of the basis
    Index known, tasks;   // k_star, or D columns and the one aside with xi
    double noise;
    const SampleShape& shape;
    const PanelSet &inner, &outer;
    bool shared;  // the outer samples are the inner samples
    bool defers;  // the terms of grad_B are left to add_scaled(), since they are clipped, (29)
  };

  /// Memory for panels of one shape.
  class Scratch {
   public:
    Scratch(const Method& method, const SampleShape& shape, bool shared, Index k);

    std::vector<double> G;  // (D, padded)  in and out, += the panel's terms of grad_B in the span

   private:
    friend class CollapsedDesign;
    Method method_;
    Index padded_;
    std::vector<double> u_, vectors_, basis_, products_, factor_;  // see SampleDesign::Memory
    std::vector<double> transposed_;                               // (width, padded)
    std::vector<double> scaled_;                                   // (k, width)
  };

  /// `algebra` is the one that will run on the design, for the method of the scratch memory without
  /// clipping.
  CollapsedDesign(const Panel& panel, Scratch& scratch,
                  const PanelAlgebra<CollapsedDesign>& algebra);

  /// Adds the term slot c^T of (10) to G, unless terms are deferred.
  void add(int slot, const double* C) {
    if (!defers_) add_in_span(slot, C);
  }
  /// Adds the deferred terms to G, each task's multiplied by its factor.
  void add_scaled(const double* factors);  // (width,)

 private:
  /// Adds the part of a term in the span to G.
  void add_in_span(int slot, const double* C);

  bool defers_;
  Scratch& scratch_;
};

}  // namespace metaspan
