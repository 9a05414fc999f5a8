#include "metaspan/engines/infinite_tasks.hpp"

#include <cmath>
#include <limits>
#include <utility>

#include "metaspan/geometry/coordinates.hpp"
#include "metaspan/geometry/decompositions.hpp"

namespace metaspan {
namespace {

/// Returns 2 p rows v for which the mean of v v^T is S (p, p) and the mean of v is 0, where S = V
/// diag(l) V^T is positive semi-definite. They are the rows of sqrt(p) diag(l)^{1/2} V^T and their
/// negatives. The meter computes (21) from rows of heads, and these rows represent infinitely many
/// tasks. Eigenvalues that rounding made negative count as zero.
Mat rows_of_moment(const Mat& S) {
  Eigen::SelfAdjointEigenSolver<Mat> solver(S.rows());
  solve_symmetric(S, true, solver);
  const Vec roots = solver.eigenvalues().cwiseMax(0.0).cwiseSqrt();
  const double share = std::sqrt(static_cast<double>(S.rows()));
  const Mat half = share * (roots.asDiagonal() * solver.eigenvectors().transpose());
  Mat rows(2 * S.rows(), S.cols());
  rows << half, -half;
  return rows;
}

/// The recursion (23) on the state [M; R] (k_star + e, k), with the terms of (33). The head stays
/// at zero, as the heads of the tasks are centred.
class InfiniteTasks final : public InfiniteTasksEngine {
 public:
  InfiniteTasks(const Method& method, Index m_in, double noise, double spread, double d,
                Mat covariance, Mat S)
      : step_(method.step),
        alpha_(method.alpha),
        beta_(method.beta),
        m_in_(m_in),
        variance_(noise * noise + spread * spread),
        xi_variance_(spread * spread / d),
        covariance_(std::move(covariance)),
        S_(std::move(S)),
        Z_(S_.leftCols(S_.cols() / step_.blocks())),
        w_(Vec::Zero(Z_.cols())) {}

  /// Computes the gradient of (23), alpha^2 [M; R] H - alpha [Sigma_star M; 0]. H (k, k) is the
  /// second moment of B^T X^T y / m_in over tasks and samples, so alpha^2 H is the second moment of
  /// the adapted heads. If m_in is infinite, both 1 / m_in and c are 0. With xi, (33), theta has
  /// the covariance Sigma_star in the span of B_star plus tau^2 / d in all directions.
  void gradient(Index round, const double*, TaskOutputs& tasks, int, Cancel*) override {
    round_ = round;
    const Index k_star = covariance_.rows();
    const auto M = Z_.topRows(k_star);
    const double inverse_m = m_in_ == 0 ? 0 : 1 / static_cast<double>(m_in_);
    const double c = (covariance_.trace() + variance_) * inverse_m;
    // Sigma_star M, (k_star, k), is used in H, in the gradient and in the losses.
    const Mat sigma_M = covariance_ * M;
    // c M^T M + c R^T R of (23) is c Z^T Z, and the terms of xi are multiples of Z^T Z too.
    const double isotropic = c + (1 + inverse_m) * xi_variance_;
    const Mat H = (1 + inverse_m) * M.transpose() * sigma_M + isotropic * Z_.transpose() * Z_;
    grad_ = alpha_ * alpha_ * Z_ * H;
    grad_.topRows(k_star) -= alpha_ * sigma_M;
    if (xi_variance_ != 0) grad_ -= alpha_ * xi_variance_ * Z_;
    if (tasks.want_losses) set_losses(H, sigma_M, tasks);
    if (tasks.want_adapted) tasks.adapted = rows_of_moment(alpha_ * alpha_ * H);
    if (tasks.want_heads) tasks.heads = rows_of_moment(covariance_);
  }

  /// Subtracts beta times the gradient from [M; R], or takes the step (28) on all blocks, unless
  /// the result would not be finite.
  bool step(double factor) override {
    if (step_.is_plain()) {
      Mat next = Z_ - (factor * beta_) * grad_;
      if (!next.allFinite()) return false;
      Z_ = std::move(next);
    } else {
      Mat next = S_;
      if (!step_in_coordinates(step_, round_, factor, beta_, grad_, next)) return false;
      if (!next.allFinite()) return false;
      S_ = std::move(next);
      Z_ = S_.leftCols(Z_.cols());
    }
    is_measured_ = false;
    return true;
  }

  Shape shape() const override {
    return {covariance_.rows(), Z_.rows() - covariance_.rows(), Z_.cols()};
  }

  /// Returns whether small distances have correct digits. R is only multiplied from the right,
  /// (14), which keeps its relative accuracy for k <= k_star. For k > k_star the surplus columns of
  /// R would add their rounding errors to the other columns.
  bool resolves_distance() const override { return Z_.cols() <= covariance_.rows(); }
  const Mat& coordinates(int) override {
    if (!is_measured_) {
      const Index k = Z_.cols();
      measured_ = in_regular_frame(state().middleCols(step_.reported() * k, k), covariance_.rows());
    }
    is_measured_ = true;
    return measured_;
  }
  const Vec& head() const override { return w_; }
  const Mat& state() const override { return step_.is_plain() ? Z_ : S_; }
  double flops() const override {
    const double rows = static_cast<double>(Z_.rows()), k = static_cast<double>(Z_.cols());
    return 6 * rows * k * k;
  }

 private:
  /// Computes the three losses (1) in closed form. With w = 0 the loss before adaptation is (tr
  /// Sigma_star + sigma^2 + tau^2) / 2. The outer loss is the loss before adaptation plus half the
  /// mean of |B w_i|^2 minus the mean of B w_i . theta_i. For finite inner sets, the loss on the
  /// inner set after adaptation would need fourth moments and is NaN. For infinitely many inner
  /// samples, it equals the outer loss.
  void set_losses(const Mat& H, const Mat& sigma_M, TaskOutputs& tasks) const {
    const auto M = Z_.topRows(covariance_.rows());
    const double before = (covariance_.trace() + variance_) / 2;
    double adapted = alpha_ * alpha_ * (Z_.transpose() * Z_).cwiseProduct(H).sum() / 2 -
                     alpha_ * M.cwiseProduct(sigma_M).sum() + before;
    if (xi_variance_ != 0) adapted -= alpha_ * xi_variance_ * Z_.squaredNorm();
    tasks.losses.resize(3, 1);
    tasks.losses << before, m_in_ == 0 ? adapted : std::numeric_limits<double>::quiet_NaN(),
        adapted;
  }

  OuterStep step_;
  double alpha_, beta_;
  Index m_in_;
  double variance_;     // sigma^2 + tau^2, the part of E y^2 that B_star does not explain
  double xi_variance_;  // tau^2 / d
  Mat covariance_;      // (k_star, k_star)
  Mat S_;               // (k_star + e, c k)  [M; R] of all blocks of (28); the start if c = 1
  Mat Z_;               // (k_star + e, k)  the first block
  Vec w_;
  Mat grad_, measured_;
  bool is_measured_ = false;
  Index round_ = 0;  // of the last gradient
};

}  // namespace

/// Estimates the cost of a round on one thread: a few products of small matrices. The overhead of
/// these products, in kernel calls, does not depend on the sizes of the matrices.
RoundCost infinite_tasks_cost(const RoundSizes& sizes) {
  // Overhead of the products of small matrices, in kernel calls.
  constexpr double kCalls = 30;
  const double rows = static_cast<double>(sizes.rows), k = static_cast<double>(sizes.k);
  const double flops = 6 * rows * k * k;
  return {flops, 64 * rows * k, 0, 1, {flops, kCalls, 0}};
}

std::unique_ptr<InfiniteTasksEngine> make_infinite_tasks(const Method& method, Index m_in,
                                                         double noise, double spread, double d,
                                                         Mat covariance, Mat S) {
  return std::make_unique<InfiniteTasks>(method, m_in, noise, spread, d, std::move(covariance),
                                         std::move(S));
}

}  // namespace metaspan
