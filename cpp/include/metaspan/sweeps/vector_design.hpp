// Tasks by matrix-vector sweeps over their data: no Z, no K, one vector of length d a slot.
#pragma once

#include <memory>

#include "metaspan/algebra/design.hpp"
#include "metaspan/base/cancel.hpp"
#include "metaspan/data/samples.hpp"
#include "metaspan/sweeps/vector_plan.hpp"

namespace metaspan {

/// A Design, see design.hpp. A residual r_i is of its own row of X alone: as soon as it is known,
/// r_i x_i can be added to X^T r, while the cache still holds the row. So X is passed over by a few
/// rows at a time, which are read from memory once. B is met piece by piece for the whole panel.
/// Every sum runs over pieces of d, cut by shape, their parts added in order; threads may share the
/// tasks and the pieces. A row of which only entries are stored is one piece: threads may share the
/// rows of X u and the columns of X^T r.
template <class XScalar>
class VectorDesign {
 public:
  static constexpr int width = kPanelTasks;

  /// What the panels of a round have in common.
  struct Round {
    const double* B_t;  // (k, d)  B^T
    const double* w;    // (k,)
    const double* B_w;  // (d,)    B w, where every task starts
    Index d, k;
    int outer_slot;
    bool in_float32;     // sums over float data in single precision
    const Truth* truth;  // where rows are made, or null
    int threads;         // that share a panel
    Cancel* cancel;
  };

  /// The tasks of a panel, and where their terms of grad_B go: rows of length d and what they are
  /// multiplied with.
  struct Panel {
    Index tasks;
    const Samples<XScalar>* inner[width];
    const Samples<XScalar>* outer[width];
    Index places[width];   // of the tasks in truth
    bool all_slots;        // a row for every slot, or for the outer one alone
    double* rows;          // (tasks, slots or 1, d)
    double* coefficients;  // (tasks, slots or 1, padded(k))
  };

  class Scratch {
   public:
    /// `all_slots`: the slots' vectors are the tasks' terms, and nothing is kept here.
    Scratch(int inner_steps, bool all_slots, Index tasks, const TaskSet<XScalar>& all, Index k);
    /// Room for rows that are made: blocks of both sets, or whole inner sets where they are passed
    /// over again and fit.
    void make_room(Index tasks, Index d, Index most_in, bool again, bool in_blocks);

   private:
    friend class VectorDesign;
    std::unique_ptr<double[]> vectors_;  // (inner slots, tasks, d)
    std::unique_ptr<double[]> U_;        // (tasks, d)  B V + terms
    std::vector<double> features_;       // (slots, k, width)
    std::vector<double> parts_;          // (tasks, pieces, most(m, k)), or k where X is sparse
    std::vector<double> own_, scaled_;   // (tasks, m)
    std::unique_ptr<XScalar[]> made_;    // (tasks, made rows of both sets, d)
    std::vector<double> radii_;          // (tasks, most_in), of rows that stay
    Index made_in_ = 0, made_out_ = 0;   // rows for a task's inner and outer sets
  };

  VectorDesign(const Round& round, const Panel& panel, Scratch& scratch);

  Index tasks() const { return panel_.tasks; }
  Index m_in() const { return m_in_; }  // of the largest task: the others' rows end with zeros
  Index m_out() const { return m_out_; }
  Index tracked() const { return 0; }

  void residual_in(const double* V, Terms<width> terms, int slot, double* r) {
    chain(panel_.inner, m_in_, true, V, terms, slot, r);
  }
  void residual_out(const double* V, Terms<width> terms, int slot, double* r) {
    chain(panel_.outer, m_out_, true, V, terms, slot, r);
  }
  void product_in(const double* V, Terms<width> terms, int slot, double* r) {
    chain(panel_.inner, m_in_, false, V, terms, slot, r);
  }
  void features(int slot, double* out) const {
    const Index size = round_.k * width;
    std::copy_n(scratch_.features_.data() + slot * size, size, out);
  }
  void dot(int a, int b, double* dots);
  void add(int slot, const double* C);

 private:
  struct Pass;  // of one task over one of its sets
  struct Rows;  // some of its rows

  double* vector(int slot, Index task);
  void chain(const Samples<XScalar>* const* sets, Index most_m, bool with_y, const double* V,
             Terms<width> terms, int slot, double* r);
  bool is_start(const double* V, Terms<width> terms) const;
  void directions(const double* V, Terms<width> terms, bool less_truth);
  void pass(const Pass& task);
  void pass_entries(const Pass& task);
  void residuals(const Pass& task, Index begin, Index count, const double* radii);
  Rows rows_of(const Pass& task, Index begin, Index count);
  void make(const Pass& task, Index begin, Index count, XScalar* out, double* radii);
  void times(const Pass& task, const Rows& rows, double* out);
  void add_combination(const Pass& task, const Rows& rows, const double* r, bool first);
  void pull_features(int slot);
  template <class Body>
  void each_piece(int threads, Body&& body);
  void sum_parts(const double* parts, Index count, double* out) const;
  double* parts_of(Index task);

  const Round& round_;
  const Panel& panel_;
  Scratch& scratch_;
  Index m_in_ = 0, m_out_ = 0, pieces_;
  bool stay_[width] = {};  // the task's inner rows have been made
};

}  // namespace metaspan
