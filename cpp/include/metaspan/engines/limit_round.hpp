// One round of the limit of infinitely many tasks and dimensions: the mean gradient in the span of
// [B_star, B], and the second moment of a task's gradient off this span, (53) and (54) for ANIL
// with one inner step and (56)-(58) for other methods.
#pragma once

#include "metaspan/algebra/method.hpp"
#include "metaspan/in_law/residual_moments.hpp"

namespace metaspan {

/// The gradient in coordinates, and S = E g g^T for the gradient g (k,) of a task in a direction
/// off the span. In a round of n tasks, the d - D directions off the span add (d - D) / n S to the
/// Gram matrix of the gradient.
struct LimitRound {
  Mat grad_C;  // (D, k)
  Vec grad_w;  // (k,)
  Mat S;       // (k, k); empty if it was not asked for
};

/// Means over the tasks of a round that the records show. A mean without a closed form is NaN.
struct LimitRecords {
  double loss_in, loss_adapted, loss_out;  // (1), before and after the inner loop, and outer
  Vec adapted;                             // (k,)    mean of the adapted heads
  Mat adapted_covariance;                  // (k, k)
};

/// Returns whether S is 0 at every state: the gradient of a task is determined by its head.
bool stays_in_span(const Method& method, double inverse_m_in, double inverse_m_out);

/// Returns whether `limit_round` covers the method at the head w; FO-MAML and MAML are ANIL at w =
/// 0.
bool has_limit(const Method& method, double inverse_m_in, const Vec& w);

/// Computes a round. The numbers of samples enter by their inverses, 0 for infinitely many.
/// `variance` is sigma^2 + tau^2 of (33). Throws std::invalid_argument for a method without a
/// limit.
LimitRound limit_round(const Method& method, const HeadMoments& heads, double inverse_m_in,
                       double inverse_m_out, double variance,
                       const Mat& C,  // (D, k)
                       const Vec& w,  // (k,)
                       bool with_S = true);

/// Computes the means that the records show, with arguments as in limit_round().
LimitRecords limit_records(const Method& method, const HeadMoments& heads, double inverse_m_in,
                           double inverse_m_out, double variance, const Mat& C, const Vec& w);

}  // namespace metaspan
