// Moments over the heads of the residual e = C w - theta in coordinates, from which the limit of
// infinitely many tasks is computed, (52). C = [M; R] is (D, k), and theta is [w_star; 0] plus,
// with a spread, (33), a Gaussian vector of covariance (tau^2 / d) I.
#pragma once

#include "metaspan/base/base.hpp"

namespace metaspan {

/// The moments of the heads up to the fourth, which determine the limit. Heads are Gaussian,
/// uniform on a sphere, or rows of an array that are drawn with given probabilities.
struct HeadMoments {
  Vec mean;              // (k_star,)
  Mat covariance;        // (k_star, k_star)
  double kappa = 0;      // the factor of the fourth cumulants of a sphere, (52)
  Mat rows;              // (N, k_star) the array; empty for other laws
  Vec weights;           // (N,) probabilities of the rows, with sum 1
  double isotropic = 0;  // tau^2 / d, the variance of theta that every coordinate has in addition

  Index k_star() const { return mean.size(); }
  bool is_array() const { return rows.rows() > 0; }
};

/// Gaussian heads.
HeadMoments gaussian_heads(Vec mean, Mat covariance);
/// Heads that are uniform on the sphere of radius `radius` in k_star dimensions.
HeadMoments sphere_heads(Index k_star, double radius);
/// Heads that are the rows of an array, drawn with equal probabilities.
HeadMoments array_heads(Mat rows);

/// The moments of e for one state, with symmetric matrices N and N' (D, D) of the caller.
class ResidualMoments {
 public:
  ResidualMoments(const HeadMoments& heads, const Mat& C, const Vec& w);

  const Vec& mean() const { return e_bar_; }  // (D,)    E e
  const Mat& second() const { return A_; }    // (D, D)  E e e^T
  /// Returns E e^T N e.
  double q(const Mat& N) const;
  /// Returns E (e^T N e) e, (D,).
  Vec q1(const Mat& N) const;
  /// Returns E (e^T N e) e e^T, (D, D).
  Mat q2(const Mat& N) const;
  /// Returns E (e^T N e)(e^T N' e).
  double qq(const Mat& N, const Mat& other) const;

 private:
  HeadMoments heads_;
  Vec e_bar_;
  Mat A_0_, A_;    // without and with the isotropic part
  Mat residuals_;  // (N, D) of an array of heads
};

/// The moments of e, of F = C^T e and of v = |e|^2 + sigma^2 that the limit of ANIL needs, with P =
/// C C^T, (52). All matrices are (D, k) or (k, k). The moments of degree 4 are computed on request.
struct SpanMoments {
  Mat G, G2;                       // G = C^T C and G^2
  double g1, g2;                   // tr G, tr G^2
  Vec e_bar;                       // (D,)    E e
  Mat AC;                          // (D, k)  E e F^T
  Vec Fb;                          // (k,)    E F
  Mat FF;                          // (k, k)  E F F^T
  double vb, b, a;                 // E v, E e^T P e, E e^T P^2 e
  double g4 = 0;                   // tr G^4
  double a2 = 0, a3 = 0;           // E e^T P^3 e, E e^T P^4 e
  double Ev2 = 0, bv = 0, av = 0;  // E v^2, E (e^T P e) v, E (e^T P^2 e) v
  Vec EvF, bF, aF;                 // E v F, E (e^T P e) F, E (e^T P^2 e) F
  Mat EvFF, bFF, aFF;              // E v F F^T, E (e^T P e) F F^T, E (e^T P^2 e) F F^T
};

/// Computes the moments by products of (D, k) and (k, k) matrices alone. `variance` is sigma^2 +
/// tau^2, including the part of tau^2 in the coordinates. Without `fourth`, the members after `a`
/// are not computed.
SpanMoments span_moments(const HeadMoments& heads, double variance, const Mat& C,  // (D, k)
                         const Vec& w,                                             // (k,)
                         bool fourth = true);

}  // namespace metaspan
