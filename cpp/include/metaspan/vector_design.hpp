// A task by matrix-vector sweeps over its data: no Z, no K, one vector of length d a slot.
#pragma once

#include <memory>

#include "metaspan/cancel.hpp"
#include "metaspan/design.hpp"
#include "metaspan/samples.hpp"

namespace metaspan {

/// A Design, see design.hpp. Every product is a sweep over pieces of d, cut by shape, their parts
/// added in order; threads may share the pieces. A sweep goes back over d where the last one came
/// forth, so that what the cache still holds is met first.
template <class XScalar>
class VectorDesign {
 public:
  static constexpr int width = 1;
  static constexpr Index kPiece = 8192;  // columns: their part of B^T stays in the second cache

  /// What the tasks of a round have in common.
  struct Round {
    const double* B_t;  // (k, d)  B^T
    Index d, k;
    int outer_slot;
    bool single;  // sums over float data in single precision
    int threads;  // that share a sweep
    Cancel* cancel;
  };

  /// Where a task's terms of grad_B go: rows of length d and what they are multiplied with.
  struct Terms {
    double* rows;          // (slots or 1, d)            by slot, or the outer slot alone
    double* coefficients;  // (slots or 1, padded(k))
    bool all_slots;
  };

  class Scratch {
   public:
    /// `all_slots`: the slots' vectors are a task's terms, and nothing is kept here.
    Scratch(int inner_steps, bool all_slots, Index d, Index k, Index most_m, int threads);

   private:
    friend class VectorDesign;
    std::unique_ptr<double[]> vectors_;  // (inner slots, d)
    std::vector<double> features_;       // (slots, k)
    std::vector<double> parts_;          // (pieces, most(m, k))
    std::vector<double> pieces_;         // (threads, kPiece)
    std::vector<double> scaled_;         // (m,)
    bool backwards_ = false;
  };

  VectorDesign(const Round& round, const Samples<XScalar>& inner, const Samples<XScalar>& outer,
               const Terms& terms, Scratch& scratch)
      : round_(round), inner_(inner), outer_(outer), terms_(terms), scratch_(scratch) {}

  Index tasks() const { return 1; }
  Index m_in() const { return inner_.m; }
  Index m_out() const { return outer_.m; }
  Index tracked() const { return 0; }

  void pull_in(int slot, const double* a) { pull(inner_, slot, a); }
  void pull_out(int slot, const double* a) { pull(outer_, slot, a); }
  void features(int slot, double* out) const {
    std::copy_n(scratch_.features_.data() + slot * round_.k, round_.k, out);
  }
  void dot(int a, int b, double* dots);
  void apply_in(const double* V, metaspan::Terms<1> terms, double* out) {
    apply(inner_, V, terms, out);
  }
  void apply_out(const double* V, metaspan::Terms<1> terms, double* out) {
    apply(outer_, V, terms, out);
  }
  void subtract_y_in(double* out) const { subtract(inner_, out); }
  void subtract_y_out(double* out) const { subtract(outer_, out); }
  void add(int slot, const double* C) {
    const Index row = terms_.all_slots ? slot : 0;
    std::copy_n(C, round_.k, terms_.coefficients + row * padded(round_.k));
  }

 private:
  static void subtract(const Samples<XScalar>& set, double* out) {
    const double scale = normalisation(set.m);
    for (Index i = 0; i < set.m; ++i) out[i] -= scale * static_cast<double>(set.y[i]);
  }
  double* vector(int slot);
  void times(const Samples<XScalar>& set, Index first, Index columns, const double* u,
             double* out) const;
  void combine(const Samples<XScalar>& set, Index first, Index columns, double* out) const;
  void pull(const Samples<XScalar>& set, int slot, const double* a);
  void apply(const Samples<XScalar>& set, const double* V, metaspan::Terms<1> terms, double* out);
  template <class Body>
  void each_piece(Body&& body);
  void sum_parts(Index count, double scale, double* out) const;

  const Round& round_;
  const Samples<XScalar>&inner_, &outer_;
  Terms terms_;
  Scratch& scratch_;
};

}  // namespace metaspan
