// The Design of a single task whose Z and Gram matrices are stored.
#pragma once

#include <algorithm>
#include <vector>

#include "metaspan/algebra/design.hpp"
#include "metaspan/algebra/factors.hpp"
#include "panel.hpp"
#include "vector.hpp"

namespace metaspan {

/// A Design of a single task, which uses Z and, for MAML and the norms (29), K and K' of (5). A
/// slot X^T a stores a and, after their first use, K a and K' a, so each product is computed once.
class DenseDesign {
 public:
  using Columns = PanelColumns<1>;
  static constexpr int width = Columns::width;

  /// Normalised data of one task. Pointers that the method does not need may be null.
  struct Task {
    Index m_in, m_out;
    const double* Z_in;   // (m_in, padded(k)), zeros beyond k
    const double* y_in;   // (m_in,)
    const double* Z_out;  // (m_out, padded(k))
    const double* y_out;  // (m_out,)
    const double* K;      // (m_in, m_in)   symmetric
    Index K_stride;
    const double* K_cross;  // (m_out, m_in)
    Index K_cross_stride;
    Factors* C_in;  // out, += s c^T; null if no gradient is wanted
    Factors* C_out;
    const double* K_outer = nullptr;  // (m_out, m_out)  X' X'^T, for the norm (29)
    Index K_outer_stride = 0;
    int blocks = 1;  // Method::blocks()
  };

  /// Memory for the slots of one task, reused for the next.
  class Scratch {
   public:
    Scratch(const Method& method, Index k, Index max_m_in, Index max_m_out);

   private:
    friend class DenseDesign;
    struct Slot {
      const double* a = nullptr;
      bool has_inner = false, has_outer = false;
    };
    double* inner_of(int slot) { return products_.data() + slot * stride_; }
    double* outer_of(int slot) { return inner_of(slot) + max_m_in_; }
    Index max_m_in_ = 0, stride_ = 0;
    std::vector<Slot> slots_;
    std::vector<double> products_;  // (slots, max_m_in + max_m_out)
    std::vector<double> row_;       // (padded(k),)
  };

  DenseDesign(Index k, int outer_slot, const Task& task, Scratch& scratch)
      : k_(k), outer_slot_(outer_slot), task_(task), scratch_(scratch) {}

  Index tasks() const { return 1; }
  Index m_in() const { return task_.m_in; }
  Index m_out() const { return task_.m_out; }
  Index tracked() const { return 0; }

  void residual_in(const double* V, Terms<Columns> terms, int slot, double* r);
  void residual_out(const double* V, Terms<Columns> terms, int slot, double* r);
  void product_in(const double* V, Terms<Columns> terms, int slot, double* r);
  void normal_equations(double* G, double* b) const;
  void features(int slot, double* out);
  void dot(int a, int b, double* dots);
  void add(int slot, const double* C);

 private:
  Scratch::Slot& at(int slot) { return scratch_.slots_[static_cast<std::size_t>(slot)]; }
  const double* inner_product(int slot);  // X slot   (m_in,)
  const double* outer_product(int slot);  // X' slot  (m_out,)

  Index k_;
  int outer_slot_;
  Task task_;
  Scratch& scratch_;
};

}  // namespace metaspan
