// The Design of one task of several trials at once, for population losses in coordinates, (13).
#pragma once

#include "cholesky.hpp"
#include "metaspan/algebra/shared_design.hpp"
#include "metaspan/algebra/task_algebra.hpp"
#include "trials.hpp"

namespace metaspan {

/// A Design for one task in `Width` trials, one trial per column, each with its own Z = [M; R] and
/// target. As in SharedDesign, X = X' = I, Z = Z' and y = y' = [w_star; 0]. Sums have the same
/// order in both classes, so a trial has the same bits with either class. `Chains` must be the
/// value that SharedDesign uses, see dot_columns().
template <int Width, int Chains>
class TrialsDesign {
 public:
  static constexpr int width = Width;

  /// The states of the trials, and scratch memory.
  struct Trials {
    Index D, k;
    const double* Z;            // (D, k, width)  [M; R]
    const double** slots;       // (slots,)
    kernels::TrialTerm* terms;  // out, terms of the task, `step` elements apart
    Index step;
  };

  TrialsDesign(const Trials& trials,
               const double* heads,  // (k_star, width)  w_star
               Index k_star)
      : trials_(trials), heads_(heads), k_star_(k_star) {}

  Index tasks() const { return width; }
  Index m_in() const { return trials_.D; }
  Index m_out() const { return trials_.D; }
  Index tracked() const { return 0; }

  void features(int slot, double* out) const {
    kernels::trial_product<width>(trials_.k, trials_.D, trials_.Z, 1, trials_.k,
                                  trials_.slots[slot], out);
  }
  void dot(int a, int b, double* dots) const {
    kernels::dot_columns<width, Chains>(trials_.D, trials_.slots[a], trials_.slots[b], dots);
  }
  void residual_in(const double* V, Terms<Width> terms, int slot, double* r) const {
    product_in(V, terms, slot, r);
    for (Index i = 0; i < k_star_ * width; ++i) r[i] -= heads_[i];
  }
  void residual_out(const double* V, Terms<Width> terms, int slot, double* r) const {
    residual_in(V, terms, slot, r);
  }
  void product_in(const double* V, Terms<Width> terms, int slot, double* r) const {
    kernels::trial_product<width>(trials_.D, trials_.k, trials_.Z, trials_.k, 1, V, r);
    for (int t = 0; t < terms.count; ++t) {
      const Term<Width>& term = terms.begin[t];
      kernels::add_columns<width>(trials_.D, 1.0, term.factor, trials_.slots[term.slot], r);
    }
    if (slot != kNoSlot) trials_.slots[slot] = r;
  }
  /// Computes Z^T Z and Z^T y of every trial from the Z of the trial.
  void normal_equations(double* G, double* b) const {
    const Index k = trials_.k;
    std::fill_n(G, kernels::triangle(k) * width, 0.0);
    for (Index i = 0; i < trials_.D; ++i) {
      kernels::add_outer<width>(k, trials_.Z + i * k * width, G);
    }
    kernels::trial_product<width>(k, k_star_, trials_.Z, 1, k, heads_, b);
  }
  /// Notes the term without adding it to grad_B. The caller must add the noted terms in the order
  /// of SharedDesign: the first term of all tasks, then the second term of all tasks, and so on.
  /// Until they are added, the algebra that owns their memory must stay alive.
  void add(int slot, const double* C) {
    *trials_.terms = {trials_.slots[slot], C};
    trials_.terms += trials_.step;
  }

 private:
  Trials trials_;
  const double* heads_;
  Index k_star_;
};

template <int Width, int Chains>
constexpr int kChainsOf<TrialsDesign<Width, Chains>> = Chains;

}  // namespace metaspan
