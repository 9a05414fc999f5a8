// Rounds of the limit for methods other than ANIL with one inner step, (56)-(58).
#pragma once

#include "metaspan/engines/limit_round.hpp"

namespace metaspan {

/// Returns X + X^T.
inline Mat twice_symmetric(const Mat& X) { return X + X.transpose(); }

/// The state, the tasks and the samples of a round.
struct LimitInputs {
  const Method& method;
  const HeadMoments& heads;
  double i, o;      // 1 / m_in and 1 / m_out, 0 for infinitely many samples
  double variance;  // sigma^2 + tau^2
  const Mat& C;     // (D, k)
  const Vec& w;     // (k,)
  bool with_S;

  /// The variance of responses that no coordinate explains: the isotropic part of theta has D
  /// coordinates in the span.
  double variance_off_span() const {
    return variance - heads.isotropic * static_cast<double>(C.rows());
  }
};

/// A round of average risk, or of FedAvg with one local step, (56) with L = 0.
LimitRound average_risk_round(const LimitInputs& at);
/// A round of ANIL with any number of steps, or with solved heads, on infinitely many inner
/// samples, (56).
LimitRound infinite_inner_set_round(const LimitInputs& at);
LimitRecords infinite_inner_set_records(const LimitInputs& at);
/// A round of least-squares heads on finitely many inner samples, (57).
LimitRound least_squares_round(const LimitInputs& at);
LimitRecords least_squares_records(const LimitInputs& at);
/// A round of ANIL with any number of steps on finitely many inner samples, (58). The cost grows
/// with the number of nodes, (2 J + 1)^k (4 J + 1)^{k (k - 1) / 2}.
LimitRound several_steps_round(const LimitInputs& at);
LimitRecords several_steps_records(const LimitInputs& at);

}  // namespace metaspan
