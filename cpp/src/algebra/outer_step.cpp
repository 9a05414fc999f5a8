#include "metaspan/algebra/outer_step.hpp"

#include <cmath>

#include "metaspan/geometry/coordinates.hpp"

namespace metaspan {
namespace {

// The constants that the authors of Adam recommend.
constexpr double kVelocityDecay = .9, kSquareDecay = .999, kLeastRoot = 1e-8;

/// The update that changes nothing.
OuterUpdate identity_update(const OuterStep& step) {
  OuterUpdate update{step.blocks()};
  for (Index i = 0; i < update.c; ++i) update.L(i, i) = 1;
  return update;
}

}  // namespace

std::vector<const char*> memory_names(const OuterStep& step) {
  std::vector<const char*> names;
  if (step.has_velocity()) names.push_back("velocity");
  if (step.has_squares()) names.push_back("squares");
  if (step.average) names.push_back("average");
  if (step.lookahead > 0) names.push_back("slow");
  return names;
}

/// The first line of (28). The velocity is V_{t+1} = mu V_t + G, and B moves by beta f times
/// V_{t+1} or, by Nesterov's rule, G + mu V_{t+1}. The block of V holds beta V, so that L does not
/// depend on the step size, which differs between B and w. Column j of L and b has the coefficients
/// of block j.
OuterUpdate gradient_step(const OuterStep& step, double factor) {
  OuterUpdate update = identity_update(step);
  if (step.momentum == 0 || step.by_coordinate()) {
    update.b[0] = factor;
    return update;
  }
  const double mu = step.momentum;
  update.L(1, 1) = mu;
  update.b[1] = -1;
  update.L(1, 0) = -factor * (step.nesterov ? mu * mu : mu);
  update.b[0] = factor * (step.nesterov ? 1 + mu : 1);
  return update;
}

/// The other lines of (28): after every s-th round S <- S + a (B - S) and B <- S, and after every
/// round t the mean of the t + 1 iterates so far, A <- A + (B - A) / (t + 1). The mean is updated
/// after the lookahead, so it is the mean of those B from which the next rounds start.
OuterUpdate averaging_step(const OuterStep& step, Index round) {
  OuterUpdate update = identity_update(step);
  const Index slow = step.blocks() - 1, average = step.reported();
  if (step.lookahead > 0 && (round + 1) % step.lookahead == 0) {
    update.L(0, slow) = update.L(0, 0) = step.lookahead_size;
    update.L(slow, slow) = update.L(slow, 0) = 1 - step.lookahead_size;
  }
  if (step.average) {
    const double share = 1 / static_cast<double>(round + 1);
    for (Index i = 0; i < update.c; ++i) update.L(i, average) = share * update.L(i, 0);
    update.L(average, average) = 1 - share;
  }
  return update;
}

/// With L_1, b_1 of gradient_step() and L_2 of averaging_step(), L is L_1 L_2 and b is L_2^T b_1.
OuterUpdate whole_step(const OuterStep& step, Index round, double factor) {
  const OuterUpdate first = gradient_step(step, factor), second = averaging_step(step, round);
  OuterUpdate both{first.c};
  for (Index j = 0; j < both.c; ++j) {
    for (Index l = 0; l < both.c; ++l) {
      for (Index i = 0; i < both.c; ++i) both.L(i, j) += first.L(i, l) * second.L(l, j);
      both.b[static_cast<std::size_t>(j)] += first.of_gradient(l) * second.L(l, j);
    }
  }
  return both;
}

/// Adds the blocks in their order, and leaves out those with the coefficient 0.
Mat combine(const OuterUpdate& update, const Mat& S, double beta, const Mat& G) {
  const Index c = update.c, k = S.cols() / c;
  Mat next = Mat::Zero(S.rows(), S.cols());
  for (Index j = 0; j < c; ++j) {
    auto block = next.middleCols(j * k, k);
    for (Index i = 0; i < c; ++i) {
      if (update.L(i, j) != 0) block += update.L(i, j) * S.middleCols(i * k, k);
    }
    if (update.of_gradient(j) != 0) block -= (beta * update.of_gradient(j)) * G;
  }
  return next;
}

/// Solves for B S_B^{-1} by back substitution in every row of B, which keeps the relative accuracy
/// of small rows, (14). If a column of B is zero or in the span of the columns before it, the
/// diagonal entry of S_B in this column has no correct digits.
bool orthonormalise_first(Mat& S, Index k) {
  const Mat factor = small_r_factor(S.leftCols(k));
  if (factor.rows() < k || !factor.allFinite()) return false;
  const Vec diagonal = factor.diagonal();
  if (!(diagonal.minCoeff() > kLeastPivot * diagonal.maxCoeff())) return false;
  Mat B = S.leftCols(k);
  factor.triangularView<Eigen::Upper>().solveInPlace<Eigen::OnTheRight>(B);
  S.leftCols(k) = B;
  return true;
}

bool step_in_coordinates(const OuterStep& step, Index round, double factor, double beta,
                         const Mat& G, Mat& S) {
  if (!step.orthonormal) {
    S = combine(whole_step(step, round, factor), S, beta, G);
    return true;
  }
  S = combine(gradient_step(step, factor), S, beta, G);
  if (!orthonormalise_first(S, G.cols())) return false;
  if (step.blocks() > 1) S = combine(averaging_step(step, round), S, 0, G);
  return true;
}

void step_head(const OuterStep& step, Index round, double factor, const Vec& sizes,
               const Vec& grad_w, Vec& s) {
  const Mat direction = sizes.cwiseProduct(grad_w).transpose();
  const Mat next = combine(whole_step(step, round, factor), s.transpose(), 1, direction);
  s = next.row(0);
}

CoordinateRule CoordinateRule::of(const OuterStep& step, Index round) {
  const auto t = static_cast<double>(round + 1);
  return {step.rule,
          step.momentum,
          step.has_velocity(),
          step.has_squares(),
          1 / (1 - std::pow(kVelocityDecay, t)),
          1 / std::sqrt(1 - std::pow(kSquareDecay, t))};
}

/// Adam: V <- .9 V + .1 g and Q <- .999 Q + .001 g^2; the direction is V' / (sqrt(Q') + 1e-8),
/// where V' and Q' are V and Q divided by the sums of their weights so far. Sign: V <- mu V + g,
/// and the direction is the sign of V.
double CoordinateRule::direction(double g, double& velocity, double& square) const {
  if (rule == OuterStep::Rule::adam) {
    velocity += (1 - kVelocityDecay) * (g - velocity);
    square += (1 - kSquareDecay) * (g * g - square);
    return velocity_scale * velocity / (root_scale * std::sqrt(square) + kLeastRoot);
  }
  velocity = momentum * velocity + g;
  return static_cast<double>((velocity > 0) - (velocity < 0));
}

}  // namespace metaspan
