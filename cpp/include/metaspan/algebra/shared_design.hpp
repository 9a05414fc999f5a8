// The Design of panels of tasks that share all features.
#pragma once

#include <algorithm>

#include "cholesky.hpp"
#include "metaspan/algebra/design.hpp"
#include "metaspan/algebra/factors.hpp"
#include "metaspan/base/base.hpp"
#include "panel.hpp"

namespace metaspan {

/// Panels of tasks that share all features: population losses in coordinates, (13). In normalised
/// units X = X' = I, Z = Z' = [M; R] and y = y' = [w_star; 0]. A slot X^T r is therefore the panel
/// r itself.
///
/// With tracked rows, Z is followed by the k rows of an identity matrix. The targets have no
/// component off the span. The part off the span of every vector of the algebra is therefore R a
/// for some a, (14), and the tracked rows hold this a. The last k rows of the gradient are then H,
/// and grad_R = R H.
template <int Width>
class SharedDesign {
 public:
  using Columns = PanelColumns<Width>;
  static constexpr int width = Width;

  /// Memory for the output of a panel and for its temporaries.
  struct Sink {
    double* G;             // (D [+ k], padded) out, += the terms, summed over the tasks in order
    Index padded;          // round_up(k, kLane)
    double* scratch;       // (width, padded)
    const double** slots;  // (slots,)
  };

  /// The product Z V for a V that all panels of a round share. It is computed once.
  struct Known {
    const double* V;   // (k, width)  compared by address; null if no V is shared
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
    Columns::dot(Z_.rows(), sink_.slots[a], sink_.slots[b], dots);
  }
  void residual_in(const double* V, Terms<Columns> terms, int slot, double* r) const {
    product_in(V, terms, slot, r);
    for (Index i = 0; i < k_star_ * width; ++i) r[i] -= heads_[i];
  }
  void residual_out(const double* V, Terms<Columns> terms, int slot, double* r) const {
    residual_in(V, terms, slot, r);
    for (Index i = 0; tasks_ < width && i < m_out(); ++i) {
      std::fill(r + i * width + tasks_, r + (i + 1) * width, 0.0);
    }
  }
  void product_in(const double* V, Terms<Columns> terms, int slot, double* r) const {
    if (V == known_.V) {
      std::copy_n(known_.ZV, m_in() * width, r);
    } else {
      kernels::product<false>(Z_.rows(), Z_.cols(), width, Z_.data(), Z_.cols(), 1, V, r);
      std::copy_n(V, tracked_ * width, r + Z_.rows() * width);
    }
    for (int t = 0; t < terms.count; ++t) {
      Columns::add(m_in(), 1.0, terms.factor(t), sink_.slots[terms.slot(t)], r);
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

/// Panel widths for which SharedDesign is compiled: the narrow one for few tasks, the wide one for
/// many.
constexpr int kNarrow = kernels::kLane;
constexpr int kWide = 16;

}  // namespace metaspan
