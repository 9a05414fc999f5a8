// The Design concept: a compile-time interface for the products with X, X' and their transposes
// that the task algebra requests. Also DenseDesign, which implements this interface. All data are
// normalised: X and y are divided by sqrt(m_in), or by sqrt(m_out) in the outer set, so the algebra
// needs no sample counts.
#pragma once

#include <algorithm>

#include "metaspan/algebra/factors.hpp"
#include "metaspan/algebra/method.hpp"
#include "panel.hpp"
#include "vector.hpp"

namespace metaspan {

// clang-format off
// A Design serves a panel of `width` tasks. A panel of vectors of length p is a row-major block
// (p, width), a column per task. The algebra never handles a vector of length d: it refers to X^T a
// and X'^T a by the number of a slot, in which the design represents this vector. A Design has
//
//   static constexpr int width;
//   Index tasks();                     columns that are tasks; the other columns must stay finite
//   Index m_in(), m_out();             rows of a panel of residuals
//   Index tracked();                   how many of these rows, the last ones, are no samples:
//                                      linear operations include these rows, inner products do not
//   void residual_in(V, terms, slot, r);   r = X (B V + sum of factor slot) - y  (m_in, width), and
//                                          slot <- X^T r unless slot is kNoSlot; the caller must
//                                          keep r while it uses the slot. With fresh steps, only
//                                          block number `slot` of a finite inner set enters the
//                                          slot, see keep_block(); r may then be 0 in other blocks
//   void residual_out(V, terms, slot, r);  residual_in on the outer set; 0 where there is no task
//   void product_in(V, terms, slot, r);    r = X (B V + sum of factor slot), without y
//   void normal_equations(G, b);           Z^T Z (triangle(k), width), Z^T y (k, width) of (26)
//   void features(slot, out);              out = B^T slot  (k, width)
//   void dot(a, b, dots);                  dots = slot a . slot b  (width,); terms may refer to a
//   void add(slot, C);                     adds the term slot c^T of (10) to grad_B, for every task
// clang-format on

/// A slot and the factor by which it is multiplied for each task.
template <int Width>
struct Term {
  int slot;
  double factor[Width];
};

/// A sum of slots, each multiplied by its factors.
template <int Width>
struct Terms {
  const Term<Width>* begin;
  int count;
};

constexpr int kNoSlot = -1;

/// Multiplies the rows of block number `block` of an inner residual r, (m, Width), by `blocks`, and
/// sets all other rows to zero. The m rows form `blocks` equal blocks. X and r are normalised for m
/// samples, so X^T r becomes the product of the block alone, normalised for its m / blocks samples.
template <int Width>
void keep_block(Index m, int block, int blocks, double* r) {
  const Index first = block * m / blocks * Width, last = (block + 1) * m / blocks * Width;
  std::fill(r, r + first, 0.0);
  for (Index i = first; i < last; ++i) r[i] *= blocks;
  std::fill(r + last, r + m * Width, 0.0);
}

/// A Design of a single task, which uses Z and, for MAML and the norms (29), K and K' of (5). A
/// slot X^T a stores a and, after their first use, K a and K' a, so each product is computed once.
class DenseDesign {
 public:
  static constexpr int width = 1;

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

  void residual_in(const double* V, Terms<1> terms, int slot, double* r);
  void residual_out(const double* V, Terms<1> terms, int slot, double* r);
  void product_in(const double* V, Terms<1> terms, int slot, double* r);
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
