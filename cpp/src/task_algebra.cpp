#include "metaspan/task_algebra.hpp"

#include <algorithm>

namespace metaspan {
namespace {

/// dots[t] = sum_i a[i, t] b[i, t].
template <int W>
inline void dot(Index rows, const double* a, const double* b, double* dots) {
  double sum[W] = {};
  for (Index i = 0; i < rows; ++i) {
    for (int t = 0; t < W; ++t) sum[t] += a[i * W + t] * b[i * W + t];
  }
  for (int t = 0; t < W; ++t) dots[t] = sum[t];
}

/// out[i, t] += scale factor[t] a[i, t].
template <int W>
inline void add_scaled(Index rows, double scale, const double* factor, const double* a,
                       double* out) {
  double f[W];
  for (int t = 0; t < W; ++t) f[t] = scale * factor[t];
  for (Index i = 0; i < rows; ++i) {
    for (int t = 0; t < W; ++t) out[i * W + t] += f[t] * a[i * W + t];
  }
}

}  // namespace

template <class Design>
TaskAlgebra<Design>::TaskAlgebra(const Method& method, Index k, Index max_m_in, Index max_m_out)
    : method_(method), k_(k) {
  const auto panel = [](Index rows) { return Panel(static_cast<std::size_t>(rows * kWidth)); };
  const int steps = method.inner_steps;
  const bool needs_scratch = method.adapt_B && !Design::trivial_grams;
  for (int j = 0; j <= steps; ++j) heads_.push_back(panel(k));
  for (int j = 0; j < steps; ++j) {
    residuals_.push_back(panel(max_m_in));
    K_r_.push_back(panel(needs_scratch ? max_m_in : 0));
    Kc_r_.push_back(panel(needs_scratch ? max_m_out : 0));
    if (method.exact) {
      r_bars_.push_back(panel(max_m_in));
      a_bars_.push_back(panel(k));
      K_r_bars_.push_back(panel(needs_scratch ? max_m_in : 0));
    }
  }
  K_r_at_.resize(static_cast<std::size_t>(steps));
  Kc_r_at_.resize(static_cast<std::size_t>(steps));
  pairs_.reserve(2 * static_cast<std::size_t>(steps));
  outer_residual_ = panel(max_m_out);
  Kct_s_ = panel(max_m_in);
  in_scratch_ = panel(max_m_in);
  k_scratch_ = panel(k);
  omega_ = panel(k);
  for (Panel& loss : losses_) loss.resize(kWidth);
}

/// X B_moves V, (6): Z V - alpha sum_{l < moves} (w_l . V) K r_l.
template <class Design>
void TaskAlgebra<Design>::inner_residual(const Design& design, const double* V, int moves,
                                         double* out) {
  design.z_in(V, out);
  if (!moves_B()) return;
  double dots[kWidth];
  for (int l = 0; l < moves; ++l) {
    dot<kWidth>(k_, heads_[l].data(), V, dots);
    add_scaled<kWidth>(design.m_in(), -method_.alpha, dots, K_r_at_[l], out);
  }
}

template <class Design>
void TaskAlgebra<Design>::adapt(const Design& design, const double* w, bool gram_for_losses) {
  for (Index i = 0; i < k_; ++i) std::fill_n(heads_[0].data() + i * kWidth, kWidth, w[i]);
  const double minus_alpha = -method_.alpha;
  const Index m_inner = design.m_in() - design.tracked();  // rows of inner products
  double dots[kWidth];
  for (int j = 0; j < method_.inner_steps; ++j) {
    double* r = residuals_[j].data();
    double* next = heads_[j + 1].data();
    inner_residual(design, heads_[j].data(), j, r);
    design.subtract_y_in(r);
    // w_{j+1} = w_j - alpha B_j^T g_j,  B_j^T g_j = Z^T r_j - alpha sum_{l<j} w_l (r_l . K r_j)
    design.zt_in(r, k_scratch_.data());
    if (method_.needs_gram() || (moves_B() && gram_for_losses)) {
      K_r_at_[j] = design.gram(r, K_r_[j].data());
    }
    if (moves_B()) {
      for (int l = 0; l < j; ++l) {
        dot<kWidth>(m_inner, residuals_[l].data(), K_r_at_[j], dots);
        add_scaled<kWidth>(k_, minus_alpha, dots, heads_[l].data(), k_scratch_.data());
      }
    }
    for (Index i = 0; i < k_ * kWidth; ++i) {
      next[i] = heads_[j][i] + minus_alpha * k_scratch_[i];
    }
  }
}

template <class Design>
void TaskAlgebra<Design>::gradient(const Design& design, const double* w, bool losses) {
  adapt(design, w, losses);
  const int steps = method_.inner_steps;
  const Index m_out = design.m_out();
  const Index m_inner = design.m_in() - design.tracked(), m_outer = m_out - design.tracked();
  const double* w_J = adapted();
  double* s = outer_residual_.data();  // r', which is s' in normalised units
  double dots[kWidth];

  // (7): the outer residual and omega = B_J^T p.
  design.z_out(w_J, s);
  if (moves_B()) {
    for (int l = 0; l < steps; ++l) {
      Kc_r_at_[l] = design.cross_gram(residuals_[l].data(), Kc_r_[l].data());
      dot<kWidth>(k_, heads_[l].data(), w_J, dots);
      add_scaled<kWidth>(m_out, -method_.alpha, dots, Kc_r_at_[l], s);
    }
  }
  design.subtract_y_out(s);
  for (Index i = 0; design.tasks() < kWidth && i < m_out; ++i) {
    // A column without a task sends nothing back: everything below is linear in s'.
    std::fill(s + i * kWidth + design.tasks(), s + (i + 1) * kWidth, 0.0);
  }
  design.zt_out(s, omega_.data());
  if (moves_B()) {
    for (int l = 0; l < steps; ++l) {
      dot<kWidth>(m_outer, s, Kc_r_at_[l], dots);
      add_scaled<kWidth>(k_, -method_.alpha, dots, heads_[l].data(), omega_.data());
    }
  }
  design.add_out(s, w_J);  // (8)

  if (losses) {
    // At J = 0 nothing has been evaluated on the inner set yet; otherwise r_0 is the residual
    // before the loop.
    inner_residual(design, w_J, steps, in_scratch_.data());
    design.subtract_y_in(in_scratch_.data());
    const double* first = steps > 0 ? residuals_[0].data() : in_scratch_.data();
    dot<kWidth>(m_inner, first, first, losses_[before].data());
    dot<kWidth>(m_inner, in_scratch_.data(), in_scratch_.data(), losses_[after].data());
    dot<kWidth>(m_outer, s, s, losses_[outer].data());
    for (Panel& loss : losses_) {
      for (double& value : loss) value *= 0.5;
    }
  }

  if (!method_.has_inner_part()) return;
  pairs_.clear();
  if (moves_B()) Kct_s_at_ = design.cross_gram_t(s, Kct_s_.data());
  for (int j = steps - 1; j >= 0; --j) step_back(design, j);
}

/// One step of (9). Omega = X'^T s' w_J^T + sum over pairs X^T s c^T; the right-hand sides use the
/// old omega, Omega.
template <class Design>
void TaskAlgebra<Design>::step_back(const Design& design, int j) {
  const Index m_in = design.m_in(), m_inner = m_in - design.tracked();
  const double alpha = method_.alpha;
  const double *w_j = heads_[j].data(), *r_j = residuals_[j].data(), *w_J = adapted();
  double *r_bar = r_bars_[j].data(), *a_bar = a_bars_[j].data(), *omega = omega_.data();
  double dots[kWidth];

  for (Index i = 0; i < k_ * kWidth; ++i) a_bar[i] = -alpha * omega[i];
  // r_bar = X B_j a_bar [- alpha X Omega w_j]
  inner_residual(design, a_bar, j, r_bar);
  if (moves_B()) {
    dot<kWidth>(k_, w_J, w_j, dots);
    add_scaled<kWidth>(m_in, -alpha, dots, Kct_s_at_, r_bar);
    for (const Pair& pair : pairs_) {
      dot<kWidth>(k_, pair.c, w_j, dots);
      add_scaled<kWidth>(m_in, -alpha, dots, pair.K_s, r_bar);
    }
  }

  // omega += B_j^T X^T r_bar [- alpha Omega^T g_j]
  design.zt_in(r_bar, k_scratch_.data());
  for (Index i = 0; i < k_ * kWidth; ++i) omega[i] += k_scratch_[i];
  if (moves_B()) {
    for (int l = 0; l < j; ++l) {
      dot<kWidth>(m_inner, K_r_at_[l], r_bar, dots);
      add_scaled<kWidth>(k_, -alpha, dots, heads_[l].data(), omega);
    }
    dot<kWidth>(design.m_out() - design.tracked(), outer_residual_.data(), Kc_r_at_[j], dots);
    add_scaled<kWidth>(k_, -alpha, dots, w_J, omega);
    for (const Pair& pair : pairs_) {
      dot<kWidth>(m_inner, pair.K_s, r_j, dots);
      add_scaled<kWidth>(k_, -alpha, dots, pair.c, omega);
    }
  }

  // Omega += X^T r_bar w_j^T + g_j a_bar^T
  design.add_in(r_bar, w_j);
  design.add_in(r_j, a_bar);
  if (moves_B() && j > 0) {
    pairs_.push_back({r_bar, design.gram(r_bar, K_r_bars_[j].data()), w_j});
    pairs_.push_back({r_j, K_r_at_[j], a_bar});
  }
}

template class TaskAlgebra<DenseDesign>;
template class TaskAlgebra<SharedDesign<kNarrow>>;
template class TaskAlgebra<SharedDesign<kWide>>;

}  // namespace metaspan
