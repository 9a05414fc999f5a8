#include "metaspan/engines/limit.hpp"

#include <cmath>
#include <utility>

#include "metaspan/algebra/outer_step.hpp"
#include "metaspan/base/error.hpp"
#include "metaspan/engines/limit_round.hpp"
#include "metaspan/geometry/coordinates.hpp"
#include "metaspan/geometry/decompositions.hpp"
#include "metaspan/in_law/wishart_nodes.hpp"

namespace metaspan {
namespace {

double inverse_of(Index m) { return m == 0 ? 0 : 1 / static_cast<double>(m); }

/// Returns r = diag(l)^{1/2} V^T, (p, p), for S = V diag(l) V^T, so that r^T r = S. S is positive
/// semi-definite and may be singular; eigenvalues that rounding made negative count as zero.
Mat root_of(const Mat& S) {
  Eigen::SelfAdjointEigenSolver<Mat> solver(S.rows());
  solve_symmetric(S, true, solver);
  return solver.eigenvalues().cwiseMax(0.0).cwiseSqrt().asDiagonal() *
         solver.eigenvectors().transpose();
}

/// Returns 2 p rows with a given mean and covariance (p, p): the mean plus and minus sqrt(p) times
/// the rows of a root of the covariance. The meter computes (21) from rows of heads, and these rows
/// represent infinitely many tasks.
Mat rows_of_moments(const Vec& mean, const Mat& covariance) {
  const Index p = covariance.rows();
  const Mat half = std::sqrt(static_cast<double>(p)) * root_of(covariance);
  Mat rows(2 * p, p);
  rows << half, -half;
  return rows.rowwise() + mean.transpose();
}

/// The recursion (55) on the state [M; R] (k_star + e, k) and w.
class Limit final : public LimitEngine {
 public:
  Limit(const Method& method, LimitTasks tasks, Mat S, Vec w)
      : method_(method),
        tasks_(std::move(tasks)),
        i_(inverse_of(tasks_.m_in)),
        o_(inverse_of(tasks_.m_out)),
        variance_(tasks_.noise * tasks_.noise + tasks_.spread * tasks_.spread),
        k_(S.cols() / method.step.blocks()),
        adds_rows_(tasks_.d_over_n > 0 && !stays_in_span(method, i_, o_)),
        S_(std::move(S)),
        s_(std::move(w)),
        steps_(outer_steps(method, k_)) {
    require(S_.rows() >= k_star() + (adds_rows_ ? S_.cols() : 0) && s_.size() == S_.cols(),
            "R must have a row for every column, and w an entry");
    copy_blocks();
  }

  /// Computes the mean gradient in the span of [B_star, B], (53), and the second moment of a task's
  /// gradient off this span, (54), unless no round adds rows off the span.
  void gradient(Index round, const double*, TaskOutputs& outputs, int, Cancel*) override {
    round_ = round;
    round_of_limit_ = limit_round(method_, tasks_.heads, i_, o_, variance_, Z(), w(), adds_rows_);
    if (outputs.want_losses || outputs.want_adapted) {
      const LimitRecords means = limit_records(method_, tasks_.heads, i_, o_, variance_, Z(), w());
      outputs.losses.resize(3, 1);
      outputs.losses << means.loss_in, means.loss_adapted, means.loss_out;
      if (outputs.want_adapted) {
        outputs.adapted = rows_of_moments(means.adapted, means.adapted_covariance);
      }
    }
    if (!outputs.want_heads) return;
    const HeadMoments& heads = tasks_.heads;
    outputs.heads = heads.is_array() ? heads.rows : rows_of_moments(heads.mean, heads.covariance);
  }

  /// Takes the step (28) in the span, as the other engines do. Off the span, a round of n tasks
  /// adds independent Gaussian vectors to the columns of B, with the Gram matrix beta^2 gamma S in
  /// the limit, (55), so the new R is the R-factor of [R; beta gamma^{1/2} S^{1/2}]. The rows enter
  /// every block of (28) with the coefficient of the gradient. A state that is not finite is
  /// refused.
  bool step(double factor) override {
    const OuterStep& step = method_.step;
    const double beta = factor * method_.beta;
    const LimitRound& round = round_of_limit_;
    const bool plain = step.is_plain();
    const OuterUpdate update = gradient_step(step, factor);
    Mat next =
        plain ? Mat(S_ - beta * round.grad_C) : combine(update, S_, method_.beta, round.grad_C);
    if (adds_rows_ && beta > 0) {
      if (!round.S.allFinite()) return false;
      const Mat fresh = std::sqrt(tasks_.d_over_n) * root_of(round.S);
      const Index e = S_.rows() - k_star();
      Mat off(e + k_, S_.cols());
      off.topRows(e) = next.bottomRows(e);
      off.bottomRows(k_) = plain ? Mat(beta * fresh)
                                 : combine(update, Mat::Zero(k_, S_.cols()), method_.beta, fresh);
      if (!off.allFinite()) return false;
      const Mat factor_off = small_r_factor(off);
      next.bottomRows(e).topRows(factor_off.rows()) = factor_off;
      next.bottomRows(e - factor_off.rows()).setZero();
    }
    if (step.orthonormal && !orthonormalise_first(next, k_)) return false;
    Vec next_w = s_;
    if (plain) {
      next_w -= (factor * steps_).cwiseProduct(round.grad_w);
    } else {
      if (step.blocks() > 1) next = combine(averaging_step(step, round_), next, 0, round.grad_C);
      step_head(step, round_, factor, steps_, round.grad_w, next_w);
    }
    if (!next.allFinite() || !next_w.allFinite()) return false;
    S_ = std::move(next);
    s_ = std::move(next_w);
    copy_blocks();
    is_measured_ = false;
    return true;
  }

  Shape shape() const override { return {k_star(), S_.rows() - k_star(), k_}; }

  /// Returns whether small distances have correct digits. If no round adds rows, R is only
  /// multiplied from the right, (14), which keeps its relative accuracy for k <= k_star. For k >
  /// k_star the surplus columns of R would add their rounding errors to the other columns.
  bool resolves_distance() const override { return !adds_rows_ && k_ <= k_star(); }

  const Mat& coordinates(int) override {
    if (!is_measured_) {
      measured_ = in_regular_frame(S_.middleCols(method_.step.reported() * k_, k_), k_star());
    }
    is_measured_ = true;
    return measured_;
  }
  const Vec& head() const override { return method_.step.is_plain() ? s_ : reported_w_; }
  const Mat& state() const override { return S_; }
  const Vec& state_head() const override { return s_; }
  double flops() const override {
    return limit_cost(method_, {1, S_.rows(), k_, k_star()}, tasks_.m_in, adds_rows_).flops;
  }

 private:
  Index k_star() const { return tasks_.heads.k_star(); }
  /// The first block of the state: (B, w) itself. A plain step has no other.
  const Mat& Z() const { return method_.step.is_plain() ? S_ : Z_; }
  const Vec& w() const { return method_.step.is_plain() ? s_ : w_; }

  /// Copies the first block of a state with several, and the w of the reported block.
  void copy_blocks() {
    if (method_.step.is_plain()) return;
    Z_ = S_.leftCols(k_);
    w_ = s_.head(k_);
    reported_w_ = s_.segment(method_.step.reported() * k_, k_);
  }

  Method method_;
  LimitTasks tasks_;
  double i_, o_;     // 1 / m_in and 1 / m_out, 0 for infinite sets
  double variance_;  // sigma^2 + tau^2, the part of E y^2 that B_star does not explain
  Index k_;
  bool adds_rows_;      // off the span
  Mat S_;               // (k_star + e, c k)  [M; R] of all blocks of (28)
  Vec s_;               // (c k,)             w of all blocks
  Mat Z_;               // (k_star + e, k)    the first block; not used by plain steps
  Vec w_, reported_w_;  // (k,)               likewise
  Vec steps_;           // outer step sizes of w
  LimitRound round_of_limit_;
  Mat measured_;
  bool is_measured_ = false;
  Index round_ = 0;  // of the last gradient
};

}  // namespace

/// Estimates the cost of a round on one thread. Products of matrices this small take longer than
/// their operations, by an overhead that was measured in kernel calls. If the round adds rows off
/// the span, it also needs moments of degree 4, an eigenvalue decomposition and an R-factor, which
/// work column by column. Several inner steps on a finite set take products for every node of the
/// quadrature (58) and, for exact methods, every pair of steps.
RoundCost limit_cost(const Method& method, const RoundSizes& sizes, Index m_in, bool adds_rows) {
  constexpr double kCalls = 20, kCallsOfColumn = 4;           // of the gradient
  constexpr double kCallsOfRow = 30, kCallsOfRotation = 1.6;  // of the rows, per k and per k^2
  const double rows = static_cast<double>(sizes.rows), k = static_cast<double>(sizes.k);
  const double width = k * static_cast<double>(method.step.blocks());
  double flops = 14 * rows * k * k + 4 * k * k * k, calls = kCalls + kCallsOfColumn * k;
  if (adds_rows) {
    flops += 39 * k * k * k + 2 * width * width * (rows + k);
    calls += kCallsOfRow * k + kCallsOfRotation * width * width;
  }
  if (method.inner_steps > 1 && m_in > 0) {
    constexpr double kCallsOfNode = 28, kCallsOfPair = 25;
    const double nodes = count_wishart_nodes(sizes.k, m_in, 4 * method.inner_steps);
    const double pairs = method.exact && adds_rows ? method.inner_steps * method.inner_steps : 0;
    flops += nodes * 60 * (1 + pairs) * k * k * k;
    calls += nodes * (kCallsOfNode + kCallsOfPair * pairs);
  }
  Work work{flops, calls, 0};
  add_outer_step(method.step, rows, k, work);
  return {flops, 64 * rows * width, 0, 1, work};
}

std::unique_ptr<LimitEngine> make_limit(const Method& method, LimitTasks tasks, Mat S, Vec w) {
  return std::make_unique<Limit>(method, std::move(tasks), std::move(S), std::move(w));
}

}  // namespace metaspan
