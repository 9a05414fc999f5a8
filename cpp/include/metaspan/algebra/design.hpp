// The Design concept: the products with the data that the task algebra requests, resolved at
// compile time; and two models of it. All data are normalised, X / sqrt(m_in) and y / sqrt(m_in),
// with m_out for the outer set, so that the algebra needs no sample counts.
#pragma once

#include <algorithm>

#include "cholesky.hpp"
#include "metaspan/algebra/factors.hpp"
#include "metaspan/algebra/method.hpp"
#include "vector.hpp"

namespace metaspan {

// clang-format off
// A Design serves a panel of `width` tasks. A panel of vectors of length p is a row-major block
// (p, width), a column per task. The algebra never handles a vector of length d: it refers to X^T a
// and X'^T a by the number of a slot, in which the design keeps what its products need. It has
//
//   static constexpr int width;
//   Index tasks();                     columns that are tasks; the other columns must stay finite
//   Index m_in(), m_out();             rows of a panel in sample space
//   Index tracked();                   how many of these rows, the last ones, are no samples:
//                                      linear steps include them, inner products leave them out
//   void residual_in(V, terms, slot, r);   r = X (B V + sum of factor slot) - y  (m_in, width), and
//                                          slot <- X^T r unless slot is kNoSlot; the caller must
//                                          keep r while it uses the slot
//   void residual_out(V, terms, slot, r);  the same on the outer set; zero where there is no task
//   void product_in(V, terms, slot, r);    as residual_in, without y
//   void normal_equations(G, b);           Z^T Z (triangle(k), width), Z^T y (k, width) of (26)
//   void features(slot, out);              out = B^T slot  (k, width)
//   void dot(a, b, dots);                  dots = slot a . slot b  (width,); terms refer to a too
//   void add(slot, C);                     adds the term slot c^T of (10) to grad_B, for every task
// clang-format on

/// A slot with a factor for every task.
template <int Width>
struct Term {
  int slot;
  double factor[Width];
};

/// A sum of slots with factors.
template <int Width>
struct Terms {
  const Term<Width>* begin;
  int count;
};

constexpr int kNoSlot = -1;

/// A single task from Z and, for MAML, K and K' of (5). A slot X^T a keeps a, and its products with
/// K and K' once they have been computed, so that each is computed once.
class DenseDesign {
 public:
  static constexpr int width = 1;

  /// Normalised data of one task. What the method does not need may be null.
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
    Factors* C_in;  // out, += s c^T; null where no gradient is wanted
    Factors* C_out;
  };

  /// Memory for the slots of one task, reused for the next.
  class Scratch {
   public:
    Scratch(int inner_steps, bool adapts_B, Index k, Index max_m_in, Index max_m_out);

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
  const double* outer_product(int slot);  // X' slot  (m_out,), of an inner slot

  Index k_;
  int outer_slot_;
  Task task_;
  Scratch& scratch_;
};

/// Panels of tasks that share all features: population losses in coordinates, (13). In normalised
/// units X = X' = I, Z = Z' = [M; R] and y = y' = [w_star; 0]; a slot is the panel r itself.
///
/// With tracked rows, Z is followed by k rows of an identity. Off the span the targets vanish, so
/// that every vector of the algebra is R a there, (14), and the tracked rows carry a. The last k
/// rows of the gradient are then H, with grad_R = R H.
template <int Width>
class SharedDesign {
 public:
  static constexpr int width = Width;

  /// Output and scratch memory of a panel.
  struct Sink {
    double* G;             // (D [+ k], padded) out, += the terms, summed over the tasks in order
    Index padded;          // round_up(k, kLane)
    double* scratch;       // (width, padded)
    const double** slots;  // (slots_of(J),)
  };

  /// The product with a V that all panels of a round have in common, computed once.
  struct Known {
    const double* V;   // (k, width)  as it is passed to the products; null where there is none
    const double* ZV;  // (m_in(), width)
  };

  SharedDesign(const Mat& Z,         // (D, k)               [M; R]
               const double* heads,  // (k_star, width)      w_star of each task
               Index k_star, Index tasks, bool tracks, Known known, const Sink& sink)
      : Z_(Z),
        known_(known),
        heads_(heads),
        k_star_(k_star),
        tasks_(tasks),
        tracked_(tracks ? Z.cols() : 0),
        sink_(sink) {}

  Index tasks() const { return tasks_; }
  Index m_in() const { return Z_.rows() + tracked_; }
  Index m_out() const { return m_in(); }
  Index tracked() const { return tracked_; }

  void features(int slot, double* out) const {
    kernels::product<false>(Z_.cols(), Z_.rows(), width, Z_.data(), 1, Z_.cols(), sink_.slots[slot],
                            out);
  }
  void dot(int a, int b, double* dots) const {
    kernels::dot_columns<width>(Z_.rows(), sink_.slots[a], sink_.slots[b], dots);
  }
  void residual_in(const double* V, Terms<Width> terms, int slot, double* r) const {
    product_in(V, terms, slot, r);
    for (Index i = 0; i < k_star_ * width; ++i) r[i] -= heads_[i];
  }
  void residual_out(const double* V, Terms<Width> terms, int slot, double* r) const {
    residual_in(V, terms, slot, r);
    for (Index i = 0; tasks_ < width && i < m_out(); ++i) {
      std::fill(r + i * width + tasks_, r + (i + 1) * width, 0.0);
    }
  }
  void product_in(const double* V, Terms<Width> terms, int slot, double* r) const {
    if (V == known_.V) {
      std::copy_n(known_.ZV, m_in() * width, r);
    } else {
      kernels::product<false>(Z_.rows(), Z_.cols(), width, Z_.data(), Z_.cols(), 1, V, r);
      std::copy_n(V, tracked_ * width, r + Z_.rows() * width);
    }
    for (int t = 0; t < terms.count; ++t) {
      const Term<Width>& term = terms.begin[t];
      kernels::add_columns<width>(m_in(), 1.0, term.factor, sink_.slots[term.slot], r);
    }
    if (slot != kNoSlot) sink_.slots[slot] = r;
  }
  void normal_equations(double* G, double* b) const {
    kernels::spread_gram<width>(Z_.rows(), Z_.cols(), Z_.data(), G);
    kernels::product<false>(Z_.cols(), k_star_, width, Z_.data(), 1, Z_.cols(), heads_, b);
  }
  void add(int slot, const double* C) const {
    kernels::transpose<width>(Z_.cols(), C, sink_.padded, sink_.scratch);
    kernels::product<true>(m_in(), tasks_, sink_.padded, sink_.slots[slot], width, 1, sink_.scratch,
                           sink_.G);
  }

 private:
  const Mat& Z_;
  Known known_;
  const double* heads_;
  Index k_star_, tasks_, tracked_;
  Sink sink_;
};

/// Panel widths for which SharedDesign is compiled: for few tasks, and for many.
constexpr int kNarrow = kernels::kLane;
constexpr int kWide = 16;

}  // namespace metaspan
