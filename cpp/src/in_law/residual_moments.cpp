#include "metaspan/in_law/residual_moments.hpp"

#include <array>
#include <utility>

#include "metaspan/base/error.hpp"

namespace metaspan {
namespace {

/// Returns tr A B for a symmetric B.
double trace_of_product(const Mat& A, const Mat& B) { return A.cwiseProduct(B).sum(); }

/// Returns X + X^T.
Mat twice_symmetric(const Mat& X) { return X + X.transpose(); }

/// The moments of degree 3 and 4 with N = P^j for j = 0, 1, 2, multiplied by C.
struct HighMoments {
  std::array<double, 3> qq{};  // E (e^T N e) |e|^2
  std::array<Vec, 3> q1;       // C^T E (e^T N e) e, (k,)
  std::array<Mat, 3> q2;       // C^T E (e^T N e) e e^T C, (k, k)
};

/// Computes the moments of an array of heads as weighted sums over its rows. e^T P^j e is |e|^2,
/// |F|^2 and F^T G F. The residuals in the coordinates R are the same for all rows, so they enter
/// only by their squared length and by F.
HighMoments of_rows(const HeadMoments& heads, const SpanMoments& at, const Mat& C) {
  const Index k_star = heads.k_star();
  const auto M = C.topRows(k_star);
  const Vec Cw = at.e_bar.head(k_star) + heads.mean;
  const double square_off = at.e_bar.tail(C.rows() - k_star).squaredNorm();
  const Vec F_off = at.Fb - M.transpose() * at.e_bar.head(k_star);
  const Mat e = (-heads.rows).rowwise() + Cw.transpose();  // (N, k_star)
  const Mat F = Mat(e * M).rowwise() + F_off.transpose();  // (N, k)
  const Vec forms[] = {e.rowwise().squaredNorm().array() + square_off, F.rowwise().squaredNorm(),
                       Mat(F * at.G).cwiseProduct(F).rowwise().sum()};
  HighMoments moments;
  for (std::size_t j = 0; j < 3; ++j) {
    const Vec weighted = heads.weights.cwiseProduct(forms[j]);
    moments.qq[j] = weighted.dot(forms[0]);
    moments.q1[j] = F.transpose() * weighted;
    moments.q2[j] = F.transpose() * Mat(weighted.asDiagonal() * F);
  }
  return moments;
}

/// Computes the moments of Gaussian heads by Isserlis' theorem, E (e^T N e) e e^T = tr(N A) A + 2
/// (A N A - (e_bar^T N e_bar) e_bar e_bar^T), and adds the fourth cumulants of the sphere, kappa
/// (tr(N_11) I + 2 N_11) in the coordinates M. `at` holds the moments without the isotropic part.
HighMoments of_gaussian(const HeadMoments& heads, const SpanMoments& at, const Mat& C) {
  const Index k_star = heads.k_star();
  const auto M = C.topRows(k_star);
  const Mat cov_M = heads.covariance * M;  // (k_star, k)
  const Vec cov_e = heads.covariance * at.e_bar.head(k_star);
  const Mat Q = M.transpose() * cov_M;       // C^T Sigma_e C
  const Mat AC = at.AC.transpose() * at.AC;  // C^T A^2 C
  const Vec GF = at.G * at.Fb;
  const double length = at.e_bar.squaredNorm();
  const double forms[] = {length, at.Fb.squaredNorm(), at.Fb.dot(GF)};  // e_bar^T P^j e_bar
  const double trace_A = heads.covariance.trace() + length;
  const double trace_A2 =
      heads.covariance.squaredNorm() + 2 * at.e_bar.head(k_star).dot(cov_e) + length * length;
  const double q[] = {trace_A, at.b, at.a};
  const double traces[] = {trace_A2, AC.trace(), trace_of_product(AC, at.G)};  // tr A P^j A
  HighMoments moments;
  moments.q1 = {Vec(M.transpose() * cov_e), Vec(Q * at.Fb), Vec(Q * GF)};
  moments.q2 = {AC, Mat(at.FF * at.FF), Mat(at.FF * Mat(at.G * at.FF))};
  for (std::size_t j = 0; j < 3; ++j) {
    moments.qq[j] = q[j] * trace_A + 2 * (traces[j] - forms[j] * length);
    moments.q1[j] = q[j] * at.Fb + 2 * moments.q1[j];
    moments.q2[j] = q[j] * at.FF + 2 * (moments.q2[j] - forms[j] * at.Fb * at.Fb.transpose());
  }
  if (heads.kappa == 0) return moments;
  const Mat MM = M.transpose() * M;
  const Mat MMG = MM * at.G;
  const double k = static_cast<double>(k_star);
  const double squares[] = {k, MM.trace(), MMG.trace()};  // tr N_11
  const Mat forms_11[] = {MM, MM * MM, MMG * MM};         // M^T N_11 M
  for (std::size_t j = 0; j < 3; ++j) {
    moments.qq[j] += heads.kappa * (k + 2) * squares[j];
    moments.q2[j] += heads.kappa * (squares[j] * MM + 2 * forms_11[j]);
  }
  return moments;
}

/// Adds the isotropic part of theta to the moments of degree 3 and 4: an independent Gaussian
/// vector of covariance t I, of which only the even powers have a mean.
void add_isotropic(double t, double D, const SpanMoments& at, double trace_A,
                   HighMoments& moments) {
  const double traces[] = {D, at.g1, at.g2}, q[] = {trace_A, at.b, at.a};
  const Mat powers[] = {Mat::Identity(at.G.rows(), at.G.cols()), at.G, at.G2};
  for (std::size_t j = 0; j < 3; ++j) {
    const Mat& power = powers[j];
    moments.qq[j] += t * (traces[j] * trace_A + q[j] * (D + 4)) + t * t * traces[j] * (D + 2);
    moments.q1[j] += t * (traces[j] * at.Fb + 2 * (power * at.Fb));
    moments.q2[j] += t * (traces[j] * at.FF + q[j] * at.G + 2 * twice_symmetric(at.FF * power)) +
                     t * t * (traces[j] * at.G + 2 * (power * at.G));
  }
}

/// Adds the variance s2 of y that no coordinate explains, v = |e|^2 + s2, and completes the moments
/// of degree 4. E e^T P^(j + 1) e is tr(E F F^T G^j).
void add_noise(double s2, double trace_A, HighMoments high, SpanMoments& at) {
  const Mat FFG2 = at.FF * at.G2;
  at.g4 = at.G2.squaredNorm();
  at.a2 = FFG2.trace();
  at.a3 = trace_of_product(FFG2, at.G);
  at.Ev2 = high.qq[0] + s2 * (2 * trace_A + s2);
  at.bv = high.qq[1] + s2 * at.b;
  at.av = high.qq[2] + s2 * at.a;
  at.EvF = high.q1[0] + s2 * at.Fb;
  at.bF = std::move(high.q1[1]);
  at.aF = std::move(high.q1[2]);
  at.EvFF = high.q2[0] + s2 * at.FF;
  at.bFF = std::move(high.q2[1]);
  at.aFF = std::move(high.q2[2]);
}

}  // namespace

HeadMoments gaussian_heads(Vec mean, Mat covariance) {
  require(covariance.rows() == mean.size() && covariance.cols() == mean.size(),
          "the covariance of heads must fit their mean");
  HeadMoments heads;
  heads.mean = std::move(mean);
  heads.covariance = std::move(covariance);
  return heads;
}

/// On a sphere, E (h^T N h) h h^T = rho^4 (tr(N) I + 2 N) / (k_star (k_star + 2)), where a Gaussian
/// vector of the same covariance has rho^4 (tr(N) I + 2 N) / k_star^2. kappa is the difference of
/// the two factors.
HeadMoments sphere_heads(Index k_star, double radius) {
  const double k = static_cast<double>(k_star), square = radius * radius;
  HeadMoments heads = gaussian_heads(Vec::Zero(k_star), square / k * Mat::Identity(k_star, k_star));
  heads.kappa = -2 * square * square / (k * k * (k + 2));
  return heads;
}

HeadMoments array_heads(Mat rows) {
  require(rows.rows() > 0, "an array of heads must have a row");
  const Vec weights = Vec::Constant(rows.rows(), 1 / static_cast<double>(rows.rows()));
  Vec mean = rows.transpose() * weights;
  const Mat centred = rows.rowwise() - mean.transpose();
  HeadMoments heads =
      gaussian_heads(std::move(mean), centred.transpose() * Mat(weights.asDiagonal() * centred));
  heads.rows = std::move(rows);
  heads.weights = weights;
  return heads;
}

ResidualMoments::ResidualMoments(const HeadMoments& heads, const Mat& C, const Vec& w)
    : heads_(heads), e_bar_(C * w) {
  const Index k_star = heads.k_star(), D = C.rows();
  e_bar_.head(k_star) -= heads.mean;
  A_0_ = e_bar_ * e_bar_.transpose();
  A_0_.topLeftCorner(k_star, k_star) += heads.covariance;
  A_ = A_0_;
  A_.diagonal().array() += heads.isotropic;
  if (!heads.is_array()) return;
  residuals_ = Mat::Zero(heads.rows.rows(), D).rowwise() + e_bar_.transpose();
  residuals_.leftCols(k_star) -= heads.rows.rowwise() - heads.mean.transpose();
}

/// Returns tr(N A).
double ResidualMoments::q(const Mat& N) const { return trace_of_product(N, A_); }

/// Returns the weighted sum over an array of heads, or q(N) e_bar + 2 Sigma_e N e_bar, and adds the
/// isotropic part.
Vec ResidualMoments::q1(const Mat& N) const {
  const double t = heads_.isotropic;
  const Vec N_e = N * e_bar_;
  Vec sum = 2 * t * N_e + t * N.trace() * e_bar_;
  if (heads_.is_array()) {
    const Vec forms = Mat(residuals_ * N).cwiseProduct(residuals_).rowwise().sum();
    return sum + residuals_.transpose() * heads_.weights.cwiseProduct(forms);
  }
  const Index k_star = heads_.k_star();
  sum += trace_of_product(N, A_0_) * e_bar_;
  sum.head(k_star) += 2 * (heads_.covariance * N_e.head(k_star));
  return sum;
}

/// Returns the weighted sum over an array of heads, or Isserlis' theorem with the fourth cumulants
/// of the sphere, and adds the isotropic part.
Mat ResidualMoments::q2(const Mat& N) const {
  const double t = heads_.isotropic;
  const double q_0 = trace_of_product(N, A_0_), trace = N.trace();
  const Mat AN = A_0_ * N;
  Mat sum = t * (trace * A_0_ + 2 * twice_symmetric(AN)) + 2 * t * t * N;
  sum.diagonal().array() += t * (t * trace + q_0);
  if (heads_.is_array()) {
    const Vec forms = Mat(residuals_ * N).cwiseProduct(residuals_).rowwise().sum();
    const Vec weights = heads_.weights.cwiseProduct(forms);
    return sum + residuals_.transpose() * Mat(weights.asDiagonal() * residuals_);
  }
  sum += q_0 * A_0_ + 2 * (AN * A_0_ - e_bar_.dot(N * e_bar_) * e_bar_ * e_bar_.transpose());
  const Index k_star = heads_.k_star();
  auto corner = sum.topLeftCorner(k_star, k_star);
  const auto N_11 = N.topLeftCorner(k_star, k_star);
  corner += 2 * heads_.kappa * N_11;
  corner.diagonal().array() += heads_.kappa * N_11.trace();
  return sum;
}

/// Returns tr(N' q2(N)).
double ResidualMoments::qq(const Mat& N, const Mat& other) const {
  return trace_of_product(other, q2(N));
}

/// Only C^T C and A C are products of (D, k) matrices; since C^T P^j = G^j C^T, everything else has
/// size k. The moments of degree 4 are those of the heads, to which the isotropic part and the
/// noise are added.
SpanMoments span_moments(const HeadMoments& heads, double variance, const Mat& C, const Vec& w,
                         bool fourth) {
  const Index k_star = heads.k_star();
  const double D = static_cast<double>(C.rows()), t = heads.isotropic;
  const auto M = C.topRows(k_star);
  SpanMoments at;
  at.G = C.transpose() * C;
  at.G2 = at.G * at.G;
  at.g1 = at.G.trace();
  at.g2 = at.G2.trace();
  at.e_bar = C * w;
  at.e_bar.head(k_star) -= heads.mean;
  at.Fb = C.transpose() * at.e_bar;
  at.AC = at.e_bar * at.Fb.transpose();
  at.AC.topRows(k_star) += heads.covariance * M;
  at.FF = C.transpose() * at.AC;
  const double trace_A = heads.covariance.trace() + at.e_bar.squaredNorm();
  at.vb = trace_A + variance;
  at.b = at.FF.trace();
  at.a = trace_of_product(at.FF, at.G);
  HighMoments high;
  if (fourth) {
    high = heads.is_array() ? of_rows(heads, at, C) : of_gaussian(heads, at, C);
    if (t != 0) add_isotropic(t, D, at, trace_A, high);
  }
  if (t != 0) {
    at.AC += t * C;
    at.FF += t * at.G;
    at.b += t * at.g1;
    at.a += t * at.g2;
  }
  if (fourth) add_noise(variance - t * D, trace_A + t * D, std::move(high), at);
  return at;
}

}  // namespace metaspan
