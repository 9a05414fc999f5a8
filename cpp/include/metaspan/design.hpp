// What the task algebra sees of the data: a few products, resolved at compile time. Everything is
// normalised, that is X / sqrt(m_in), y / sqrt(m_in), and the same with m_out outside, so that the
// algebra never sees a sample count.
#pragma once

#include <algorithm>

#include "metaspan/base.hpp"
#include "panel.hpp"
#include "vector.hpp"

namespace metaspan {

// clang-format off
// A Design serves a panel of `width` tasks. A panel of vectors of length p is a (p, width) block,
// row by row. It has
//
//   static constexpr int width;
//   static constexpr bool trivial_grams;     K R, K' R and K'^T R' are R itself: no scratch needed
//   Index tasks();                           how many columns are real; the others must do no harm
//   Index k(), m_in(), m_out();              rows of a panel in sample space
//   Index tracked();                         how many of them, the last, are no samples but follow
//                                            every linear step and enter no inner product
//   void z_in(V, out), zt_in(A, out);        Z V  (m_in, width);   Z^T A  (k, width)
//   void z_out(V, out), zt_out(A, out);      the same with Z'
//   void subtract_y_in(out), subtract_y_out(out);
//   const double* gram(R, scratch);          K R     (m_in, width), in `scratch` or where it is
//   const double* cross_gram(R, scratch);    K' R    (m_out, width)
//   const double* cross_gram_t(R, scratch);  K'^T R' (m_in, width)
//   void add_in(S, C), add_out(S, C);        take the terms s c^T of C and C', (10), of every task
// clang-format on

/// A task on its own, with Z and, for MAML, the Grams at hand (finite samples).
class DenseDesign {
 public:
  static constexpr int width = 1;
  static constexpr bool trivial_grams = false;

  /// Normalised data of one task; what a method does not need may be null.
  struct Task {
    Index m_in, m_out;
    const double* Z_in;     // (m_in, k)
    const double* y_in;     // (m_in,)
    const double* Z_out;    // (m_out, k)
    const double* y_out;    // (m_out,)
    const double* K;        // (m_in, m_in)   symmetric
    const double* K_cross;  // (m_out, m_in)
    double* C_in;           // (m_in, k)      out, += s c^T
    double* C_out;          // (m_out, k)     out, += s c^T
  };

  DenseDesign(Index k, const Task& task) : k_(k), task_(task) {}

  Index tasks() const { return 1; }
  Index k() const { return k_; }
  Index m_in() const { return task_.m_in; }
  Index m_out() const { return task_.m_out; }
  Index tracked() const { return 0; }

  void z_in(const double* V, double* out) const {
    kernels::times(task_.m_in, k_, task_.Z_in, V, out);
  }
  void z_out(const double* V, double* out) const {
    kernels::times(task_.m_out, k_, task_.Z_out, V, out);
  }
  void zt_in(const double* A, double* out) const {
    kernels::transposed_times(task_.m_in, k_, task_.Z_in, A, out);
  }
  void zt_out(const double* A, double* out) const {
    kernels::transposed_times(task_.m_out, k_, task_.Z_out, A, out);
  }
  void subtract_y_in(double* out) const { subtract(task_.y_in, task_.m_in, out); }
  void subtract_y_out(double* out) const { subtract(task_.y_out, task_.m_out, out); }

  const double* gram(const double* R, double* scratch) const {
    kernels::times(task_.m_in, task_.m_in, task_.K, R, scratch);
    return scratch;
  }
  const double* cross_gram(const double* R, double* scratch) const {
    kernels::times(task_.m_out, task_.m_in, task_.K_cross, R, scratch);
    return scratch;
  }
  const double* cross_gram_t(const double* R, double* scratch) const {
    kernels::transposed_times(task_.m_out, task_.m_in, task_.K_cross, R, scratch);
    return scratch;
  }

  void add_in(const double* S, const double* C) const {
    kernels::add_outer(task_.m_in, k_, S, C, task_.C_in);
  }
  void add_out(const double* S, const double* C) const {
    kernels::add_outer(task_.m_out, k_, S, C, task_.C_out);
  }

 private:
  static void subtract(const double* y, Index m, double* out) {
    for (Index i = 0; i < m; ++i) out[i] -= y[i];
  }

  Index k_;
  Task task_;
};

/// Panels of tasks that share the features, with K = K' = I: population losses in coordinates,
/// (13), where Z / sqrt(D) = [M; R] for every task, inside and outside, and y / sqrt(D) = [w_star;
/// 0].
///
/// With tracked rows Z has k more, an identity: as the targets have nothing off the span, every
/// vector of the algebra is R a there, and the identity rows carry a. The gradient's last k rows
/// are then H with grad_R = R H.
template <int Width>
class SharedDesign {
 public:
  static constexpr int width = Width;
  static constexpr bool trivial_grams = true;

  /// Where the panel's terms of the gradient go.
  struct Sink {
    double* G;     // (D [+ k], padded) out, += S C^T, summed over the panel's tasks in their order
    Index padded;  // round_up(k, kLane)
    double* scratch;  // (width, padded)
  };

  SharedDesign(const Mat& Z,         // (D, k)               [M; R]
               const double* heads,  // (k_star, width)      w_star of each task
               Index k_star, Index tasks, bool tracks, const Sink& sink)
      : Z_(Z),
        heads_(heads),
        k_star_(k_star),
        tasks_(tasks),
        tracked_(tracks ? Z.cols() : 0),
        sink_(sink) {}

  Index tasks() const { return tasks_; }
  Index k() const { return Z_.cols(); }
  Index m_in() const { return Z_.rows() + tracked_; }
  Index m_out() const { return m_in(); }
  Index tracked() const { return tracked_; }

  void z_in(const double* V, double* out) const {
    kernels::product<false>(Z_.rows(), Z_.cols(), width, Z_.data(), Z_.cols(), 1, V, out);
    std::copy_n(V, tracked_ * width, out + Z_.rows() * width);
  }
  void zt_in(const double* A, double* out) const {
    kernels::product<false>(Z_.cols(), Z_.rows(), width, Z_.data(), 1, Z_.cols(), A, out);
  }
  void z_out(const double* V, double* out) const { z_in(V, out); }
  void zt_out(const double* A, double* out) const { zt_in(A, out); }
  void subtract_y_in(double* out) const {
    for (Index i = 0; i < k_star_ * width; ++i) out[i] -= heads_[i];
  }
  void subtract_y_out(double* out) const { subtract_y_in(out); }

  const double* gram(const double* R, double*) const { return R; }
  const double* cross_gram(const double* R, double*) const { return R; }
  const double* cross_gram_t(const double* R, double*) const { return R; }

  void add_in(const double* S, const double* C) const {
    kernels::transpose<width>(k(), C, sink_.padded, sink_.scratch);
    kernels::product<true>(m_in(), width, sink_.padded, S, width, 1, sink_.scratch, sink_.G);
  }
  void add_out(const double* S, const double* C) const { add_in(S, C); }

 private:
  const Mat& Z_;
  const double* heads_;
  Index k_star_, tasks_, tracked_;
  Sink sink_;
};

/// Panel widths of SharedDesign that are compiled: for a handful of tasks, and for many.
constexpr int kNarrow = kernels::kLane;
constexpr int kWide = 16;

}  // namespace metaspan
