#include "limit_models.hpp"

#include <vector>

#include "metaspan/geometry/decompositions.hpp"

namespace metaspan {
namespace {

/// Returns (G + penalty I)^{-1}, or NaNs where that matrix is not positive definite.
Mat invert_gram(const Mat& G, double penalty) {
  const Mat half = inverse_cholesky(G + penalty * Mat::Identity(G.rows(), G.rows()));
  return half * half.transpose();
}

/// The matrices of the inner loop on infinitely many samples: the adapted head is w_1 = w - L e,
/// and its residual is f = C w_1 - theta = Q e.
struct Adaptation {
  Mat L;  // (k, D)
  Mat Q;  // (D, D), symmetric
};

/// Returns S of (56), E (|f|^2 + sigma^2) w_1 w_1^T / m. The weight |f|^2 is e^T Q^2 e, so the
/// moments of degree 3 and 4 in e are q1(Q^2) and q2(Q^2).
Mat moment_of_adaptation(const LimitInputs& at, const ResidualMoments& e, const Adaptation& adapt,
                         double inverse_m) {
  const double variance = at.variance_off_span();
  const Mat Q2 = adapt.Q * adapt.Q;
  const double length = e.q(Q2) + variance;
  const Vec cross = adapt.L * (e.q1(Q2) + variance * e.mean());
  const Mat second = e.q2(Q2) + variance * e.second();
  const Mat with_w = (0.5 * length * at.w - cross) * at.w.transpose();
  return inverse_m * (twice_symmetric(with_w) + adapt.L * Mat(second * adapt.L.transpose()));
}

/// Computes the gradient of ANIL with J inner steps, whose residual is Q e with Q = T^J, T = I -
/// alpha P. The exact gradient adds the derivative of Q in C, one term for each factor of Q.
Adaptation adapt_by_steps(const LimitInputs& at, const ResidualMoments& e, LimitRound& round) {
  const Index D = at.C.rows();
  const double alpha = at.method.alpha;
  const auto J = static_cast<std::size_t>(at.method.inner_steps);
  const Mat T = Mat::Identity(D, D) - alpha * (at.C * at.C.transpose());
  std::vector<Mat> powers{Mat::Identity(D, D)};
  for (std::size_t j = 0; j < 2 * J; ++j) powers.emplace_back(powers.back() * T);
  Adaptation adapt{Mat::Zero(at.w.size(), D), powers[J]};
  for (std::size_t j = 0; j < J; ++j) adapt.L += alpha * (at.C.transpose() * powers[j]);
  const Mat& A = e.second();
  const Vec f = powers[at.method.exact ? 2 * J : J] * e.mean();
  round.grad_C = f * at.w.transpose();
  round.grad_w = at.C.transpose() * f;
  if (!at.method.exact) {
    round.grad_C -= adapt.Q * Mat(A * adapt.L.transpose());
    return adapt;
  }
  for (std::size_t j = 0; j < J; ++j) {
    const Mat term = powers[J + j] * Mat(A * powers[J - 1 - j]);
    round.grad_C -= alpha * (twice_symmetric(term) * at.C);
  }
  return adapt;
}

/// Computes the gradient of ridge heads, with H = (G + lambda I)^{-1}, L = H C^T and Q = I - C H
/// C^T = lambda (P + lambda I)^{-1}. The exact gradient uses Q C = lambda C H, so that nothing is
/// divided by lambda. With lambda = 0 the head is that of least squares, Q^2 = Q, and the exact and
/// the first-order gradient and the gradient (27) on one set agree.
Adaptation adapt_by_ridge(const LimitInputs& at, const ResidualMoments& e, LimitRound& round) {
  const Index D = at.C.rows();
  const double penalty = at.method.penalty;
  const Mat H = invert_gram(at.C.transpose() * at.C, penalty);
  const Mat CH = at.C * H;
  const Adaptation adapt{CH.transpose(), Mat::Identity(D, D) - CH * at.C.transpose()};
  const Vec f = adapt.Q * e.mean();
  const Mat QA = adapt.Q * e.second();
  round.grad_w = penalty * (CH.transpose() * f);
  if (at.method.exact) {
    round.grad_C =
        (adapt.Q * f) * at.w.transpose() - adapt.Q * Mat(QA * CH) - penalty * (QA * Mat(CH * H));
  } else {
    round.grad_C = f * at.w.transpose() - QA * CH;
  }
  return adapt;
}

/// Means over heads of s^2 = theta^T N theta + sigma^2 and b = G^{-1} C^T theta, where N projects
/// on the complement of the span of C.
struct LeastSquaresMoments {
  Mat drift;          // (D, k)  -N E theta b^T
  double s2;          // E s^2
  Mat known;          // (k, k)  E s^2 b b^T
  Mat spread;         // (k, k)  E s^4 G^{-1}
  Mat CG, G_inverse;  // (D, k) C G^{-1}, (k, k)
};

/// Computes these moments; theta is -e at w = 0, and all of them are even in theta.
LeastSquaresMoments least_squares_moments(const LimitInputs& at) {
  const Index D = at.C.rows();
  const double variance = at.variance_off_span();
  const ResidualMoments theta(at.heads, at.C, Vec::Zero(at.w.size()));
  LeastSquaresMoments moments;
  moments.G_inverse = invert_gram(at.C.transpose() * at.C, 0);
  moments.CG = at.C * moments.G_inverse;
  const Mat N = Mat::Identity(D, D) - moments.CG * at.C.transpose();
  const double length = theta.q(N);
  const Mat second = theta.q2(N) + variance * theta.second();
  moments.drift = -(N * Mat(theta.second() * moments.CG));
  moments.s2 = length + variance;
  moments.known = moments.CG.transpose() * Mat(second * moments.CG);
  const double s4 = theta.qq(N, N) + (2 * length + variance) * variance;
  moments.spread = s4 * moments.G_inverse;
  return moments;
}

/// Returns S_2 of (57), the part of S that the exact gradient of least-squares heads adds, with c =
/// m - k. The p are means of products of traces of powers of W^{-1}, W ~ Wishart_k(m, I), without a
/// factor 1 / k: p21 is E tr W^{-2} tr W^{-1}.
Mat exact_least_squares_moment(const LeastSquaresMoments& moments, double m, double k, double o) {
  const double c = m - k, co = 1 + o;
  const double p1 = k / (c - 1);
  const double p2 = (m - 1) * p1 / (c * (c - 3));
  const double p11 = (c - 2) * p2 - p1;
  const double p3 = (m + k - 1) * p2 / ((c - 5) * (c + 1));
  const double p21 = (k * p2 + 4 * p3) / (c - 1);
  const double p111 = (k * p11 + 4 * p21) / (c - 1);
  const double spread =
      c * (co * p3 + o * (p2 + p21)) + co * (p21 + 2 * p3) + o * (p11 + p111 + 2 * p21);
  return (spread / k) * moments.spread + (co * p2 + o * (p1 + p11)) * moments.known;
}

}  // namespace

LimitRound average_risk_round(const LimitInputs& at) {
  // FedAvg contributes alpha times the gradient on the inner set.
  const bool is_local = at.method.contribution == Contribution::inner_moves;
  const double scale = is_local ? at.method.alpha : 1, inverse_m = is_local ? at.i : at.o;
  const ResidualMoments e(at.heads, at.C, at.w);
  LimitRound round;
  round.grad_C = scale * e.mean() * at.w.transpose();
  round.grad_w = scale * (at.C.transpose() * e.mean());
  if (!at.with_S) return round;
  const double length = e.second().trace() + at.variance_off_span();
  round.S = (scale * scale * inverse_m * length) * at.w * at.w.transpose();
  return round;
}

LimitRound infinite_inner_set_round(const LimitInputs& at) {
  const ResidualMoments e(at.heads, at.C, at.w);
  LimitRound round;
  const Adaptation adapt =
      at.method.solves_head ? adapt_by_ridge(at, e, round) : adapt_by_steps(at, e, round);
  // The one set of (27) is infinite, so its gradient stays in the span.
  const double o = at.method.has_outer_part() ? at.o : 0;
  if (at.with_S) round.S = moment_of_adaptation(at, e, adapt, o);
  return round;
}

/// The adapted heads are w - L e. Both losses after the inner loop are (E |Q e|^2 + sigma^2) / 2.
LimitRecords infinite_inner_set_records(const LimitInputs& at) {
  const ResidualMoments e(at.heads, at.C, at.w);
  const double variance = at.variance_off_span();
  LimitRound unused;
  const Adaptation adapt =
      at.method.solves_head ? adapt_by_ridge(at, e, unused) : adapt_by_steps(at, e, unused);
  const Mat centred = e.second() - e.mean() * e.mean().transpose();
  LimitRecords records;
  records.loss_in = (e.second().trace() + variance) / 2;
  records.loss_adapted = records.loss_out = (e.q(adapt.Q * adapt.Q) + variance) / 2;
  records.adapted = at.w - adapt.L * e.mean();
  records.adapted_covariance = adapt.L * Mat(centred * adapt.L.transpose());
  return records;
}

/// The coefficients are means over W^{-1}, W ~ Wishart_k(m, I): k1 = 1 / (m - k - 1) and k2 = 1 /
/// (m - k - 3), computed from i = 1 / m.
LimitRound least_squares_round(const LimitInputs& at) {
  const LeastSquaresMoments moments = least_squares_moments(at);
  const double k = static_cast<double>(at.w.size()), i = at.i, o = at.o;
  const double k1 = i / (1 - (k + 1) * i), k2 = i / (1 - (k + 3) * i);
  LimitRound round;
  round.grad_w = Vec::Zero(at.w.size());
  if (!at.method.has_outer_part()) {
    round.grad_C = (1 - k * i) * moments.drift;
    if (at.with_S) round.S = i * (1 - k * i) * (moments.known + k1 * moments.spread);
    return round;
  }
  round.grad_C = at.method.exact ? Mat((1 / i - 1) * k1 * moments.drift)
                                 : Mat(moments.drift + (k1 * moments.s2) * moments.CG);
  if (!at.with_S) return round;
  round.S = o * ((1 + k * k1) * moments.known + (k1 + (k + 2) * k1 * k2) * moments.spread);
  if (at.method.exact) round.S += exact_least_squares_moment(moments, 1 / i, k, o);
  return round;
}

/// The adapted heads are b plus a random part of covariance E s^2 k1 G^{-1}. The residuals on the
/// inner set have m - k of m degrees of freedom.
LimitRecords least_squares_records(const LimitInputs& at) {
  const LeastSquaresMoments moments = least_squares_moments(at);
  const ResidualMoments e(at.heads, at.C, at.w);
  const ResidualMoments theta(at.heads, at.C, Vec::Zero(at.w.size()));
  const double k = static_cast<double>(at.w.size()), k1 = at.i / (1 - (k + 1) * at.i);
  const Mat centred = theta.second() - theta.mean() * theta.mean().transpose();
  LimitRecords records;
  records.loss_in = (e.second().trace() + at.variance_off_span()) / 2;
  records.loss_adapted = (1 - k * at.i) * moments.s2 / 2;
  records.loss_out = (1 + k * k1) * moments.s2 / 2;
  records.adapted = -(moments.CG.transpose() * theta.mean());
  records.adapted_covariance =
      moments.CG.transpose() * Mat(centred * moments.CG) + (k1 * moments.s2) * moments.G_inverse;
  return records;
}

}  // namespace metaspan
