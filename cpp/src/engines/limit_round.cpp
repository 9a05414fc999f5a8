#include "metaspan/engines/limit_round.hpp"

#include <limits>

#include "limit_models.hpp"
#include "metaspan/base/error.hpp"

namespace metaspan {
namespace {

/// The moments over samples and heads that enter S, E (F^T u) u, E (F^T u) u u^T, E (u^T G u) u and
/// E (u^T G u) u u^T. Here u is the gradient of the inner loss in the head at (B, w).
struct GradientMoments {
  Vec x1, x2;
  Mat X1, X2;
};

/// Integrates the samples out of the moments of u by (51). Given t ~ chi^2_m, u is Gaussian with
/// mean F t / m and covariance (t / m^2)(v G - F F^T); `i` is 1 / m_in.
GradientMoments moments_of_u(const SpanMoments& at, double i) {
  const double c1 = 1 + i, c2 = 1 + 2 * i, c3 = 1 + 3 * i;
  const Mat GEvFF = at.G * at.EvFF, G2EvFF = at.G * GEvFF;
  GradientMoments u;
  u.x1 = c1 * at.bF + i * (at.G * at.EvF);
  u.x2 = c2 * (c1 * at.aF + i * (at.g2 * at.EvF + 2 * (at.G2 * at.EvF)));
  u.X1 = c2 * (c1 * at.bFF + i * (at.bv * at.G + twice_symmetric(GEvFF)));
  u.X2 = c2 *
         (c3 * (c1 * at.aFF + i * (at.av * at.G + at.g2 * at.EvFF + 2 * twice_symmetric(G2EvFF))) +
          (i * i * at.Ev2) * (at.g2 * at.G + 2 * (at.G2 * at.G)));
  return u;
}

/// Returns the part of S that comes from the outer samples, (54): E (|f|^2 + sigma^2) w_1 w_1^T /
/// m_out with w_1 = w - alpha u and the residual f = e - alpha C u after the inner step.
Mat outer_moment(const SpanMoments& at, const GradientMoments& u, double alpha, double i, double o,
                 const Vec& w) {
  const double c1 = 1 + i, square = alpha * alpha;
  const double U2 = c1 * at.a + i * at.vb * at.g2;  // E u^T G u
  const double mean = at.vb - 2 * alpha * at.b + square * U2;
  const Vec cross = at.EvF - 2 * alpha * u.x1 + square * u.x2;
  const Mat second = c1 * at.EvFF + (i * at.Ev2) * at.G - 2 * alpha * u.X1 + square * u.X2;
  // The cross terms with w and the square of w are one symmetric sum, sym(w x^T).
  const Mat with_w = (0.5 * mean * w - alpha * cross) * w.transpose();
  return o * (twice_symmetric(with_w) + square * second);
}

/// Returns T of (54), the part of S / alpha^2 that comes from the inner samples through the inner
/// step of the exact gradient.
Mat inner_moment(const SpanMoments& at, const GradientMoments& u, double alpha, double i, double o,
                 const Vec& w) {
  const double c1 = 1 + i, c2 = 1 + 2 * i, c3 = 1 + 3 * i, co = 1 + o, square = alpha * alpha;
  const Mat G_EvFF = at.G * at.EvFF;
  const Mat middle = c3 * at.EvFF + (i * at.Ev2) * at.G;
  const Mat known = at.EvFF - (alpha * c2) * twice_symmetric(G_EvFF) +
                    (square * c2) * (at.G * Mat(middle * at.G));
  const double length =
      at.Ev2 - 2 * alpha * c2 * at.bv + square * c2 * (c3 * at.av + i * at.g2 * at.Ev2);
  const Vec xg = c1 * at.aF + (i * at.g2) * at.EvF;  // E (u^T G u) F
  const Vec pu = at.bF - alpha * xg - alpha * (at.G * u.x1) + square * (at.G * u.x2);
  const Vec vu = at.EvF - 2 * alpha * u.x1 + square * u.x2;
  const double g2 = at.g2, ii = i * i;
  const double y1 =
      i * at.a - 2 * alpha * (i * at.a2 + ii * (at.a2 + at.b * g2)) +
      square * (i * c1 * at.a3 + ii * at.vb * at.g4 + 2 * ii * c1 * (g2 * at.a + at.a3) +
                ii * i * (at.vb * (g2 * g2 + at.g4) + 2 * at.a3));
  const double y2 = i * at.vb * g2 - 2 * alpha * (i * g2 * at.b + 2 * ii * at.a2) +
                    square * (i * c1 * g2 * at.a + ii * at.vb * g2 * g2 + 4 * ii * c1 * at.a3 +
                              ii * i * (2 * at.vb * at.g4 + 2 * at.a * g2));
  const Vec cross = i * (co * pu + o * (at.G * vu));
  const Mat with_w = (cross + 0.5 * (co * y1 + o * y2) * w) * w.transpose();
  return i * (co * known + (o * length) * at.G) + twice_symmetric(with_w);
}

/// Computes the mean gradient of ANIL with one inner step, (53), by products of (D, k) and (k, k)
/// matrices, C^T C = G and P A C = C E F F^T.
void set_gradient(const SpanMoments& at, bool exact, double alpha, double i, const Mat& C,
                  const Vec& w, LimitRound& round) {
  const double c1 = 1 + i, square = alpha * alpha;
  if (!exact) {
    const Vec left = at.e_bar - alpha * (C * at.Fb);
    const Mat adapted = square * (c1 * at.FF + (i * at.vb) * at.G) - alpha * at.Fb * w.transpose();
    round.grad_C = C * adapted - alpha * at.AC + at.e_bar * w.transpose();
    round.grad_w = C.transpose() * left;
    return;
  }
  // K e_bar with K = (1 + alpha^2 i g2) I - 2 alpha P + alpha^2 c1 P^2.
  const Vec in_span = -2 * alpha * at.Fb + (square * c1) * (at.G * at.Fb);
  const Vec Ke = (1 + square * i * at.g2) * at.e_bar + C * in_span;
  round.grad_C = Ke * w.transpose() - 2 * alpha * at.AC +
                 C * Mat((square * c1) * at.FF + (2 * square * i * at.vb) * at.G) +
                 at.AC * Mat((square * c1) * at.G);
  round.grad_w = C.transpose() * Ke;
}

/// A round of ANIL with one inner step.
LimitRound anil_round(const LimitInputs& inputs) {
  const double alpha = inputs.method.alpha, i = inputs.i, o = inputs.o;
  const bool exact = inputs.method.exact;
  const Mat& C = inputs.C;
  const Vec& w = inputs.w;
  const SpanMoments at = span_moments(inputs.heads, inputs.variance, C, w, inputs.with_S);
  LimitRound round;
  set_gradient(at, exact, alpha, i, C, w, round);
  if (!inputs.with_S) return round;
  const GradientMoments u = moments_of_u(at, i);
  round.S = outer_moment(at, u, alpha, i, o, w);
  if (exact) round.S += (alpha * alpha) * inner_moment(at, u, alpha, i, o, w);
  return round;
}

/// Computes the records of ANIL with one inner step. Before the step, the mean loss is E v / 2.
/// After it, the outer loss is (E |f|^2 + sigma^2) / 2, and with the residuals r (m,) and Z = X B
/// the loss on the inner set is E (|r|^2 / m - 2 alpha |u|^2 + alpha^2 u^T (Z^T Z / m) u) / 2. Its
/// last term is a third moment of a Wishart matrix. The adapted heads are w - alpha u.
LimitRecords anil_records(const LimitInputs& inputs) {
  const double alpha = inputs.method.alpha, i = inputs.i, c1 = 1 + i, square = alpha * alpha;
  const SpanMoments at = span_moments(inputs.heads, inputs.variance, inputs.C, inputs.w, false);
  const Mat uu = c1 * at.FF + (i * at.vb) * at.G;      // E u u^T
  const double outer = c1 * at.a + i * at.vb * at.g2;  // E u^T G u
  const double inner = (1 + 3 * i + 4 * i * i) * at.a + 2 * i * c1 * at.g1 * at.b +
                       i * (c1 * at.g2 + i * at.g1 * at.g1) * at.vb;
  LimitRecords records;
  records.loss_in = at.vb / 2;
  records.loss_adapted = (at.vb - 2 * alpha * uu.trace() + square * inner) / 2;
  records.loss_out = (at.vb - 2 * alpha * at.b + square * outer) / 2;
  records.adapted = inputs.w - alpha * at.Fb;
  records.adapted_covariance = square * (uu - at.Fb * at.Fb.transpose());
  return records;
}

}  // namespace

bool stays_in_span(const Method& method, double inverse_m_in, double inverse_m_out) {
  const bool uses_inner = method.has_inner_part();
  return (inverse_m_in == 0 || !uses_inner) && (inverse_m_out == 0 || !method.has_outer_part());
}

bool has_limit(const Method& method, double inverse_m_in, const Vec& w) {
  if (method.is_attention() || method.learns_more() || method.clips()) return false;
  if (method.solves_head) return method.penalty == 0 || inverse_m_in == 0;
  if (method.contribution == Contribution::inner_moves) {
    return method.inner_steps == 1 && method.adapt_head;
  }
  if (method.inner_steps == 0) return true;
  return method.adapt_head && (!method.adapt_B || (method.inner_steps == 1 && w.isZero(0)));
}

/// Dispatches by method: one function for each model.
LimitRound limit_round(const Method& method, const HeadMoments& heads, double inverse_m_in,
                       double inverse_m_out, double variance, const Mat& C, const Vec& w,
                       bool with_S) {
  require(C.rows() >= heads.k_star() && C.cols() == w.size(), "C, w and heads must fit");
  require(has_limit(method, inverse_m_in, w), "the method has no limit");
  const LimitInputs at{method, heads, inverse_m_in, inverse_m_out, variance, C, w, with_S};
  if (method.inner_steps == 0 || method.contribution == Contribution::inner_moves) {
    return average_risk_round(at);
  }
  const bool is_known = inverse_m_in == 0;
  if (method.solves_head) return is_known ? infinite_inner_set_round(at) : least_squares_round(at);
  if (method.inner_steps > 1) {
    return is_known ? infinite_inner_set_round(at) : several_steps_round(at);
  }
  LimitRound round = anil_round(at);
  // With w = 0 the inner step of MAML does not change B, and its gradient in B is that of ANIL. The
  // head of MAML is frozen, or has the mean gradient 0.
  if (method.adapt_B) round.grad_w.setZero();
  return round;
}

/// Dispatches by method, as limit_round() does.
LimitRecords limit_records(const Method& method, const HeadMoments& heads, double inverse_m_in,
                           double inverse_m_out, double variance, const Mat& C, const Vec& w) {
  require(has_limit(method, inverse_m_in, w), "the method has no limit");
  const LimitInputs at{method, heads, inverse_m_in, inverse_m_out, variance, C, w, false};
  const bool is_known = inverse_m_in == 0;
  if (method.inner_steps == 0) return infinite_inner_set_records(at);
  if (method.contribution == Contribution::inner_moves) {
    // The local step moves B by a vector whose length grows with d, so the losses after it have no
    // limit.
    LimitRecords records = anil_records(at);
    records.loss_adapted = records.loss_out = std::numeric_limits<double>::quiet_NaN();
    return records;
  }
  if (method.solves_head) {
    return is_known ? infinite_inner_set_records(at) : least_squares_records(at);
  }
  if (method.inner_steps > 1) {
    return is_known ? infinite_inner_set_records(at) : several_steps_records(at);
  }
  return anil_records(at);
}

}  // namespace metaspan
