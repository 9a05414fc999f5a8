// The Design of the vector route, (11): a slot holds one vector of length d, and K is never formed.
// Z is formed only if the head is solved for, (26), or if that saves time; see takes_features().
#pragma once

#include <memory>

#include "metaspan/algebra/design.hpp"
#include "metaspan/base/cancel.hpp"
#include "metaspan/base/shard.hpp"
#include "metaspan/data/samples.hpp"
#include "metaspan/sweeps/vector_plan.hpp"

namespace metaspan {

/// A Design, see design.hpp. The residual r_i depends on row x_i of X and on no other row. A pass
/// therefore takes a few rows of X at a time, computes their residuals, and adds the products r_i
/// x_i to X^T r while a cache still holds these rows. Each row is read from memory only once in a
/// pass. B is read piece by piece, and each piece serves all tasks of the panel.
///
/// If `features` of the round is true, one pass over an inner set computes Z = X B, and all
/// products of the inner loop are computed from Z, (6). If the vectors X^T r of the inner slots are
/// terms of grad_B, one more pass then computes all of these vectors together.
///
/// Every sum over d is a Shard::sum() over pieces of at most kVectorPiece columns, or over whole
/// sparse rows. Threads may divide tasks, pieces or rows among them; they do not divide tasks if
/// other processes hold columns, since all processes must take the tasks in the same order.
template <class XScalar>
class VectorDesign {
 public:
  using Columns = PanelColumns<kPanelTasks>;
  static constexpr int width = Columns::width;

  /// The inputs that all panels of a round share.
  struct Round {
    const double* B_t;   // (k, d)  B^T
    const double* w;     // (k,)
    const double* B_w;   // (d,)    B w, the same for every task
    const Shard* shard;  // of the d columns that `d` counts
    Shard::Pieces pieces;
    Index d, k;
    int outer_slot;
    bool features;       // inner loops use Z = X B instead of X
    bool in_float32;     // sums over float32 data are in single precision
    const Truth* truth;  // for generated rows; otherwise null
    int threads;         // threads that share a panel
    Cancel* cancel;
    int blocks;        // Method::blocks()
    bool from_memory;  // no cache holds the data of all tasks until the next round
  };

  /// The tasks of a panel, and the memory of the terms v c^T of grad_B: the vectors v of length d
  /// are in `rows`, and the vectors c in `coefficients`.
  struct Panel {
    Index tasks;
    const Samples<XScalar>* inner[width];
    const Samples<XScalar>* outer[width];
    Index places[width];   // indices of the tasks in `truth`
    Index terms;           // rows of a task
    bool inner_terms;      // row i is slot i; otherwise the rows are the outer slots
    double* rows;          // (tasks, terms, d)
    double* coefficients;  // (tasks, terms, padded(k))
  };

  /// Memory that panels of one shape use one after the other.
  class Scratch {
   public:
    /// The scratch holds the vectors of the inner slots unless they are terms of grad_B, which are
    /// rows of the panel, or `features` is true, which needs none.
    Scratch(const Method& method, bool features, Index tasks, const TaskSet<XScalar>& all, Index k);
    /// Allocates memory for generated rows, see held_rows().
    void make_room(Index tasks, const Shard& shard, Index most_in, bool again, bool in_blocks);

   private:
    friend class VectorDesign;
    Index tasks_, slots_;                // tasks of the largest panel; slots of a task
    std::unique_ptr<double[]> vectors_;  // (inner slots, tasks, d)
    std::unique_ptr<double[]> U_;        // (tasks, d)  B V + terms
    std::vector<double> features_;       // (slots, k, width)
    // The last axis of parts_ has max(m, k) elements, or as many as a block of Z if that is more.
    std::vector<double> parts_;         // (tasks, pieces, elements)  sums of the pieces
    std::vector<double> residuals_;     // (tasks, m)  r
    std::vector<double> scaled_;        // ([slots + 1, with features,] tasks, m)  r for X^T r
    std::vector<double> Z_;             // (tasks, m_in, k)  X B of the inner sets
    std::vector<double> minus_truth_;   // (tasks, m_in)  -X theta of generated inner sets
    std::vector<double> inner_radii_;   // (tasks, m_in)  of generated inner sets
    std::unique_ptr<XScalar[]> made_;   // (tasks, generated rows of both sets, d)
    std::vector<double> radii_;         // (tasks, generated rows of both sets)
    Index made_in_ = 0, made_out_ = 0;  // generated rows held for a task, of each set
  };

  VectorDesign(const Round& round, const Panel& panel, Scratch& scratch);

  Index tasks() const { return panel_.tasks; }
  Index m_in() const { return m_in_; }  // of the largest task; others are padded with zeros
  Index m_out() const { return m_out_; }
  Index tracked() const { return 0; }

  void residual_in(const double* V, Terms<Columns> terms, int slot, double* r) {
    if (round_.features) return from_features(true, V, slot, r);
    chain(panel_.inner, m_in_, true, V, terms, slot, r);
  }
  void residual_out(const double* V, Terms<Columns> terms, int slot, double* r) {
    chain(panel_.outer, m_out_, true, V, terms, slot, r);
  }
  void product_in(const double* V, Terms<Columns> terms, int slot, double* r) {
    if (round_.features) return from_features(false, V, slot, r);
    chain(panel_.inner, m_in_, false, V, terms, slot, r);
  }
  /// Computes the normal equations from Z, so `features` of the round must be true.
  void normal_equations(double* G, double* b);
  void features(int slot, double* out) const {
    const Index size = round_.k * width;
    std::copy_n(scratch_.features_.data() + slot * size, size, out);
  }
  void dot(int a, int b, double* dots);
  void add(int slot, const double* C);
  /// Computes the vectors of the inner slots if the inner loop was computed from Z and the vectors
  /// are terms of grad_B. Call finish() when the algebra is done.
  void finish();

 private:
  struct Pass;  // the arguments of one task's pass over one of its sets
  struct Rows;  // a few rows of that set

  /// The vector of a slot, (d,).
  double* vector(int slot, Index task);
  /// The row of a term slot c^T among the terms of a task: the slot or, if inner slots have no
  /// rows, 0 for X'^T s' and 1 for the private head.
  Index row_of(int slot) const {
    return panel_.inner_terms ? slot : slot == round_.outer_slot ? 0 : 1;
  }
  /// The block of rows to which a slot is restricted, see keep_block(), or -1.
  int block_of(int slot) const { return round_.blocks > 1 && slot < round_.outer_slot ? slot : -1; }
  /// Computes a product of the Design concept for all tasks: u = B V + terms, r = X u [- y], slot
  /// <- X^T r, B^T slot.
  void chain(const Samples<XScalar>* const* sets, Index most_m, bool with_y, const double* V,
             Terms<Columns> terms, int slot, double* r);
  /// Computes from Z, for the inner sets, the residual r = Z V [- y], and Z^T r for features().
  void from_features(bool with_y, const double* V, int slot, double* r);
  /// Compute Z = X B: of all inner sets, of a block of rows of all sets, of generated sets.
  void project();
  void project_block(Index begin);
  void project_made();
  /// Stores -X theta and the radii of generated rows, whose responses are not stored.
  void keep_truth(const Pass& task, const Rows& rows, Index begin);
  /// Returns the arguments of a pass over a task's inner set, for a computation that uses Z instead
  /// of X.
  Pass pass_of_features(Index t, bool with_y, int slot);
  /// Adds multiples of some rows of a task's inner set to the vectors of the inner slots, for a
  /// chunk of columns.
  void combine_slots(const Pass& task, const Rows& rows, Index begin, Index first, Index columns);
  /// Whether B V + terms equals B w for every task, so that u is the stored B_w.
  bool is_start(const double* V, Terms<Columns> terms) const;
  /// Computes U_ <- B V + terms or, if `less_truth` is true, U_ <- B V + terms - theta.
  void directions(const double* V, Terms<Columns> terms, bool less_truth);
  /// Make one pass over a dense set, or over the entries of a sparse set.
  void pass(const Pass& task);
  void pass_entries(const Pass& task);
  void pass_leaves(const Pass& task);
  /// Turns X u into normalised residuals, and scales them for X^T r.
  void residuals(const Pass& task, Index begin, Index count, const double* radii);
  /// Returns rows of a set: of an array, held from an earlier pass, or from make().
  Rows rows_of(const Pass& task, Index begin, Index count);
  void make(const Pass& task, Index begin, Index count, XScalar* out, double* radii);
  /// Compute one piece of columns of X u, or of v += X^T r, for a few rows.
  void times_piece(const Pass& task, const Rows& rows, Index first, Index columns, Index piece);
  void combine_piece(const Pass& task, const Rows& rows, Index begin, Index first, Index columns);
  void combine_and_times_piece(const Pass& task, const Rows& rows, const Rows& next, Index begin,
                               Index first, Index columns, Index piece);
  /// Completes X u for a few rows, and computes their residuals.
  void end_times(const Pass& task, const Rows& rows, Index begin);
  /// Computes B^T slot for features().
  void pull_features(int slot);
  /// Calls body(task, number of threads that share the task) for every task of the panel.
  template <class Body>
  void each_task(Body&& body);
  /// Calls body(first column, columns, piece) for every piece of the columns, in reverse order if
  /// `backward` is true.
  template <class Body>
  void each_piece(int threads, Body&& body, bool backward = false);
  /// Adds the sums of the pieces, which parts_of() keeps for a task, and overwrites them.
  void sum_parts(double* parts, Index count, double* out) const {
    round_.shard->sum(round_.pieces, count, parts, out);
  }
  double* parts_of(Index task);
  double* Z_of(Index task) { return scratch_.Z_.data() + task * m_in_ * round_.k; }
  /// Returns the residuals of a task, scaled for X^T r; with `features`, those of the slot.
  double* scaled_of(int slot, Index task);
  /// Writes the residuals of all tasks into a panel, (m, width).
  void interleave(const Samples<XScalar>* const* sets, Index most_m, double* r) const;

  const Round& round_;
  const Panel& panel_;
  Scratch& scratch_;
  Index m_in_ = 0, m_out_ = 0;
  bool projected_ = false, finished_ = false;  // Z, and its vectors of the slots, are computed
  bool stay_[width] = {};                      // whether the task's inner rows have been generated
};

}  // namespace metaspan
