#include "metaspan/engines/population.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "copy_outputs.hpp"
#include "metaspan/algebra/outer_step.hpp"
#include "metaspan/algebra/shared_design.hpp"
#include "metaspan/algebra/task_algebra.hpp"
#include "metaspan/base/error.hpp"
#include "metaspan/base/parallel.hpp"
#include "metaspan/geometry/coordinates.hpp"
#include "metaspan/geometry/decompositions.hpp"

namespace metaspan {
namespace {

/// The largest number of pieces of a round, and the smallest number of panels in a piece. With
/// smaller pieces, adding their sums would take more time than threads save.
constexpr Index kMostPieces = 64;
constexpr Index kPanelsPerPiece = 4;

/// The largest factor by which one step may multiply the part of B off the span.
constexpr double kMostGrowth = 1e8;

/// Number of panels between two polls for cancellation; these panels take about a millisecond.
constexpr Index kPanelsPerPoll = 256;

/// Costs in kernel calls: kCallsOfRound for the sums and the step of a round, and kTurn for each
/// column of the frame that a step turns.
constexpr double kCallsOfRound = 7;
constexpr double kTurn = 10;

/// Returns the number of pieces of a round. A piece is a range of panels with a sum of its own, and
/// the sums are added in the order of the pieces. The number of pieces depends on the number of
/// panels only, so the bits do not depend on the number of threads. It is even, so that two threads
/// have equal shares.
Index pieces_of(Index panels) {
  const Index pieces = std::min(panels / kPanelsPerPiece, kMostPieces);
  return pieces < 2 ? 1 : round_up(pieces, 2);
}

/// Turns the heads among the parameters as the learner turns, B <- B U: w becomes U^T w, and a
/// private head v becomes U^T v. A single learned step size does not change.
void turn_heads(const Method& method, const Mat& U, Vec& w) {
  const Index k = U.rows();
  w.head(k) = U.transpose() * Vec(w.head(k));
  if (method.private_head) w.tail(k) = U.transpose() * Vec(w.tail(k));
}

/// Population losses in coordinates, (13), with tasks in panels of `Width`. The algebra (5)-(10)
/// runs on a SharedDesign, whose Z = [M; R] all tasks share. A round therefore consists of small
/// matrix products.
template <int Width>
class Population final : public PopulationEngine {
 public:
  /// For k > k_star the gradient has k rows more than the state. They are the rows of H, with
  /// grad_R = R H, and come from identity rows that the design then tracks.
  Population(const Method& method, State state, HeadSource heads, Index n, double noise)
      : method_(method),
        n_(n),
        half_variance_(noise * noise / 2),
        Z_(state.Z.leftCols(state.frame.cols())),
        w_(state.w.head(state.w.size() / method.step.blocks())),
        frame_(std::move(state.frame)),
        blocks_(method.step.is_plain() ? Mat() : std::move(state.Z)),
        w_blocks_(method.step.is_plain() ? Vec() : std::move(state.w)),
        heads_(std::move(heads)),
        steps_(outer_steps(method, k())),
        wide_(k() > heads_.k_star() && method.turns_frame()),
        grad_(Mat::Zero(rows(), k())),
        grad_w_(Vec::Zero(w_.size())),
        Zw_(static_cast<std::size_t>(rows() * Width)) {
    const Index pieces = pieces_of(panels());
    for (Index l = 0; l < pieces; ++l) workspaces_.emplace_back(*this);
    report_head();
  }

  /// Computes the gradient of a round, (10), by pieces of whole panels. A thread is not worth
  /// waking for a round of less than kSerialFlops. Cancellation is also polled between the panels
  /// of a piece, since one piece of a large round may take long.
  void gradient(Index round, const double* heads, TaskOutputs& tasks, int threads,
                Cancel* cancel) override {
    round_ = round;
    heads_.begin_round(round, heads);
    make_room(n_, k(), heads_.k_star(), tasks);
    const auto pieces = static_cast<Index>(workspaces_.size());
    if (flops_ < kSerialFlops) threads = 1;
    multiply_start();
    parallel_for(threads, pieces, cancel, [&](Index l, int) {
      Workspace& workspace = workspaces_[static_cast<std::size_t>(l)];
      workspace.begin(w_);
      const Index last = (l + 1) * panels() / pieces;
      for (Index p = l * panels() / pieces; p < last; ++p) {
        run_panel(workspace, p * Width, tasks);
        if (cancel == nullptr || p % kPanelsPerPoll != kPanelsPerPoll - 1) continue;
        cancel->poll();
        if (cancel->requested()) return;
      }
    });
    throw_if_requested(cancel);
    sum_workspaces();
  }

  /// Steps M, R and w together, (3), unless the result would not be finite. The check precedes the
  /// step, so that a trial that diverges keeps its last finite state.
  bool step(double factor) override {
    if (!method_.step.is_plain()) return step_with_memory(factor);
    const double beta = factor * method_.beta;
    double state = 0, gradient = 0;
    kernels::raise_to_magnitudes<1>(Z_.size(), Z_.data(), &state);
    kernels::raise_to_magnitudes<1>(w_.size(), w_.data(), &state);
    kernels::raise_to_magnitudes<1>(grad_.size(), grad_.data(), &gradient);
    kernels::raise_to_magnitudes<1>(w_.size(), grad_w_.data(), &gradient);
    const Index numbers = grad_.size() + w_.size();
    if (!stays_finite(state, gradient, factor * longest_step(method_), numbers)) return false;
    if (wide_) return step_in_turning_frame(beta, factor);
    w_ -= (factor * steps_).cwiseProduct(grad_w_);
    Z_ -= beta * grad_;
    is_measured_ = false;
    return true;
  }

  Shape shape() const override { return {heads_.k_star(), Z_.rows() - heads_.k_star(), Z_.cols()}; }

  /// Returns whether small distances have correct digits. If k > k_star, this needs a frame that
  /// turns. Linear MAML, (31), returns false: from B = 0 it stays exactly in the span of B_star, so
  /// a distance of 0 is no underflow. Nor do as many columns as dimensions, whose distance is 0.
  bool resolves_distance() const override {
    if (k() == 1 && method_.freezes_head()) return false;
    if (k() == Z_.rows() && k() > heads_.k_star()) return false;
    return method_.turns_frame() || k() <= heads_.k_star();
  }
  Shape measured_shape() const override {
    return {heads_.k_star(), Z_.rows() - heads_.k_star(), method_.columns_of_B(k())};
  }

  /// Returns the state itself if its frame is regular, as the meter needs it, and otherwise the
  /// reported B in the regular frame.
  const Mat& coordinates(int) override {
    const bool is_plain = method_.step.is_plain();
    if (is_plain && keeps_regular()) return Z_;
    if (!is_measured_) {
      const Index columns = method_.columns_of_B(k());
      const Mat& all = is_plain ? Z_ : blocks_;
      const Index last = is_plain ? k() : (method_.step.reported() + 1) * k();
      measured_ = in_regular_frame(all.middleCols(last - columns, columns), heads_.k_star());
    }
    is_measured_ = true;
    return measured_;
  }
  const Mat& coordinates() const override { return Z_; }
  const Vec& head() const override { return method_.step.is_plain() ? w_ : reported_w_; }
  const Mat& frame() const override { return frame_; }
  State state() const override {
    if (method_.step.is_plain()) return {Z_, w_, frame_};
    return {blocks_, w_blocks_, frame_};
  }
  HeadSource& heads() override { return heads_; }
  const Vec& current_head() const override { return w_; }
  void replace(Column Z, Column w) override {
    Z_.reshaped<Eigen::RowMajor>() = Z;
    w_ = w;
    is_measured_ = false;
  }
  void take_gradient(Index round, Column grad_B, Column grad_w) override {
    round_ = round;
    grad_.reshaped<Eigen::RowMajor>() = grad_B;
    grad_w_ = grad_w;
  }
  Mat grad_B() const override { return grad_.topRows(Z_.rows()); }
  const Vec& grad_w() const override { return grad_w_; }

  double flops() const override { return flops_; }

 private:
  using Design = SharedDesign<Width>;

  /// A piece of the round with its own sums and scratch. Pieces that run on one thread do not share
  /// this storage, since the sums of each must last until all pieces are done.
  struct Workspace {
    explicit Workspace(const Population& run)
        : algebra(run.method_, run.k(), run.rows(), run.rows()),
          heads(static_cast<std::size_t>(run.heads_.k_star() * Width)),
          G(static_cast<std::size_t>(run.rows() * padded(run.k()))),
          scratch(static_cast<std::size_t>(Width * padded(run.k()))),
          slots(static_cast<std::size_t>(run.method_.slots())),
          g_w(static_cast<std::size_t>(run.w_.size())) {}
    void begin(const Vec& w) {
      std::fill(G.begin(), G.end(), 0.0);
      std::fill(g_w.begin(), g_w.end(), 0.0);
      spread(w, algebra.start());
    }
    TaskAlgebra<Design> algebra;
    std::vector<double> heads;    // (k_star, Width)
    std::vector<double> G;        // (rows, padded)
    std::vector<double> scratch;  // (Width, padded)
    std::vector<const double*> slots;
    std::vector<double> g_w;  // (parameters,)
  };

  Index k() const { return Z_.cols(); }
  Index rows() const { return Z_.rows() + (wide_ ? k() : 0); }
  /// Whether the state has the columns of B alone, and M has a regular leading block, because k <=
  /// k_star or because the frame turns.
  bool keeps_regular() const {
    return wide_ || (k() <= heads_.k_star() && !method_.is_attention());
  }
  Index panels() const { return ceil_div(n_, Width); }

  /// Copies w into every column of a panel (k, Width).
  static void spread(const Vec& w, double* panel) {
    for (Index i = 0; i < w.size(); ++i) std::fill_n(panel + i * Width, Width, w[i]);
  }

  /// Computes Z w as a panel, once a round, because the first residual of every task contains Z w.
  /// The product of the design computes it, so Z w has the bits that each panel would compute.
  void multiply_start() {
    double* start = workspaces_.front().algebra.start();
    spread(w_, start);
    const Design design(Z_, nullptr, heads_.k_star(), Width, wide_, {}, {});
    design.product_in(start, {}, kNoSlot, Zw_.data());
  }

  /// Runs the algebra on the tasks [first, first + tasks) and adds to the sums of the piece: the
  /// design adds C to G panel by panel, and grad_w is added task by task, in order. Residuals of
  /// population losses do not contain the noise, so sigma^2 / 2 is added to the losses, (1).
  void run_panel(Workspace& workspace, Index first, TaskOutputs& outputs) const {
    const Index tasks = std::min<Index>(Width, n_ - first);
    heads_.panel(first, tasks, Width, workspace.heads.data());
    Design design(
        Z_, workspace.heads.data(), heads_.k_star(), tasks, wide_,
        {workspace.algebra.start(), Zw_.data()},
        {workspace.G.data(), padded(k()), workspace.scratch.data(), workspace.slots.data()});
    workspace.algebra.gradient(design, outputs.want_losses);
    const double* omega = workspace.algebra.grad_w();
    for (Index i = 0; i < w_.size(); ++i) {
      for (Index t = 0; t < tasks; ++t)
        workspace.g_w[static_cast<std::size_t>(i)] += omega[i * Width + t];
    }
    const double added[3] = {half_variance_, half_variance_, half_variance_};
    copy_panel_outputs(workspace.algebra, workspace.heads.data(), added, first, tasks, outputs);
  }

  /// Adds the sums of the pieces in order and divides them by n, which gives the means over the
  /// tasks, (3).
  void sum_workspaces() {
    const double share = 1.0 / static_cast<double>(n_);
    grad_.setZero();
    grad_w_.setZero();
    for (const Workspace& workspace : workspaces_) {
      grad_ += ConstMat(workspace.G.data(), rows(), padded(k())).leftCols(k());
      grad_w_ += ConstVec(workspace.g_w.data(), w_.size());
    }
    grad_ *= share;
    grad_w_ *= share;
  }

  /// Takes a step for k > k_star, (14). The part of B off the span is only ever multiplied from the
  /// right: R <- R P with P = I - beta H. If R P were computed directly, the k_star columns of R
  /// that carry the distance would take up rounding errors of the surplus columns, and these errors
  /// do not fade. An orthogonal U is therefore chosen for which the block (surplus rows, first
  /// columns) of P U is zero, and the learner is turned by U. The new first columns of R then
  /// depend on the old first columns only, R_1 <- R_1 (P U)_11, and keep their relative accuracy
  /// however small they get, as in the QR iteration for products of matrices.
  bool step_in_turning_frame(double beta, double factor) {
    const Index star = heads_.k_star(), surplus = k() - star, e = Z_.rows() - star;
    const Mat P = Mat::Identity(k(), k()) - beta * grad_.bottomRows(k());
    // A factor above kMostGrowth occurs only if the run diverges, and its rounding errors would
    // exceed the small columns. The run ends here, although its numbers would stay finite for a few
    // rounds.
    if (!(P.cwiseAbs().maxCoeff() < kMostGrowth)) return false;
    // The surplus rows of P span a space of dimension `surplus`. The last columns of U are a basis
    // of this space, and the first columns a basis of its complement, so the product of the surplus
    // rows and the first columns of U is zero.
    const auto qr = factor_qr(P.bottomRows(surplus).transpose());
    const Mat Q = orthonormal_columns(qr, k());
    Mat U(k(), k());
    U << Q.rightCols(star), Q.leftCols(surplus);
    const auto R = Z_.bottomRows(e);
    Mat next(Z_.rows(), k());
    next.topRows(star) = Mat((Z_.topRows(star) - beta * grad_.topRows(star)) * U);
    // The new first columns of R depend on its old first columns only: the zero block of P U is
    // left out.
    next.block(star, 0, e, star) = R.leftCols(star) * Mat(P.topRows(star) * U.leftCols(star));
    next.block(star, star, e, surplus) = R * Mat(P * U.rightCols(surplus));
    Vec next_w = w_ - (factor * steps_).cwiseProduct(grad_w_);
    turn_heads(method_, U, next_w);
    if (!next.allFinite() || !next_w.allFinite()) return false;
    Z_ = next;
    w_ = next_w;
    frame_ = Mat(frame_ * U);
    return true;
  }

  /// Takes the step (28) on all blocks, in coordinates and in the frame Q = I.
  bool step_with_memory(double factor) {
    Mat next = blocks_;
    Vec next_w = w_blocks_;
    if (!step_in_coordinates(method_.step, round_, factor, method_.beta, grad_, next)) return false;
    step_head(method_.step, round_, factor, steps_, grad_w_, next_w);
    if (!next.allFinite() || !next_w.allFinite()) return false;
    blocks_ = std::move(next);
    w_blocks_ = std::move(next_w);
    Z_ = blocks_.leftCols(k());
    w_ = w_blocks_.head(w_.size());
    report_head();
    is_measured_ = false;
    return true;
  }

  void report_head() {
    if (method_.step.is_plain()) return;
    reported_w_ = w_blocks_.segment(method_.step.reported() * w_.size(), w_.size());
  }

  Method method_;
  Index n_;
  double half_variance_;
  Mat Z_;  // (D, k)  [M; R]
  Vec w_;
  Mat frame_;       // (k, k)
  Mat blocks_;      // (D, c k)  all blocks of (28); empty if the step is plain
  Vec w_blocks_;    // (c parameters,)  likewise
  Mat measured_;    // (D, k)  the reported block in the regular frame
  Vec reported_w_;  // (parameters,)
  bool is_measured_ = false;
  Index round_ = 0;  // of the last gradient
  HeadSource heads_;
  Vec steps_;  // outer step sizes of w_
  bool wide_;  // k > k_star, and the frame turns
  Mat grad_;   // (rows, k)  grad_M, grad_R and, if wide, H
  Vec grad_w_;
  std::vector<double> Zw_;  // (rows, Width)  Z w in every column
  double flops_ = population_cost(method_, {n_, rows(), k()}).flops;
  std::vector<Workspace> workspaces_;
};

/// Returns the number of panels of n tasks.
Index panels_of(Index n) { return n <= kNarrow ? 1 : ceil_div(n, kWide); }

/// Counts the work of a round whose tasks are processed in panels.
Work work_of_tasks(const Method& method, const RoundSizes& sizes) {
  const double D = static_cast<double>(sizes.rows), K = static_cast<double>(sizes.k);
  const double padded_k = static_cast<double>(padded(sizes.k));
  const auto panels = static_cast<double>(panels_of(sizes.n));
  const double padded_tasks = panels * (sizes.n <= kNarrow ? kNarrow : kWide);
  const AlgebraCounts counts = algebra_counts(method, sizes.losses);
  Work work = work_of_heads(sizes, padded_tasks);
  work.operations = 2 * D * padded_tasks *
                    (K * (counts.forward + counts.back) + padded_k * counts.added + counts.moves);
  work.calls += panels * (counts.forward + counts.back + counts.added + counts.moves);
  const bool turns = sizes.k > sizes.k_star && method.turns_frame();
  work.calls += kCallsOfRound + (turns ? kTurn * K + K * K : 0);
  return work;
}

}  // namespace

/// Estimates the cost of a round. `flops` counts the arithmetic of (5)-(10); `work` also counts
/// padding (of tasks to panels and of columns of B to registers), kernel calls and random numbers.
/// The numbers of products come from algebra_counts().
RoundCost population_cost(const Method& method, const RoundSizes& sizes) {
  const double J = method.inner_steps, D = static_cast<double>(sizes.rows);
  const double K = static_cast<double>(sizes.k), padded_k = static_cast<double>(padded(sizes.k));
  const double products = 2 * J + 3 + (method.has_inner_part() ? 4 * J : 0);
  const double vectors = method.adapt_B ? (method.exact ? 4 : 1) * 2 * J * (J + 1) : 0;
  const double flops = static_cast<double>(sizes.n) * (2 * D * K * products + 2 * D * vectors);
  const double width = sizes.n <= kNarrow ? kNarrow : kWide;
  const Index pieces = pieces_of(panels_of(sizes.n));
  const double workspace = D * padded_k + width * (padded_k + 2 * K) +
                           width * (J + 1) * (D + K) * (method.exact ? 2 : 1);
  const Shape shape{sizes.k_star, sizes.rows - sizes.k_star, sizes.k};
  const bool in_panels = population_fills_panels(method, shape, sizes.n, sizes.trials);
  Work work = in_panels ? work_of_panels(method, sizes) : work_of_tasks(method, sizes);
  add_outer_step(method.step, D, K, work);
  const double held = static_cast<double>(method.step.blocks()) * 16 * (D * K + K);
  return {flops, 8 * workspace * static_cast<double>(pieces) + held, 0,
          flops < kSerialFlops ? 1 : pieces, work};
}

/// Brings a start into the frame of (14). For k > k_star the learner is turned by an orthogonal Q
/// for which M Q = [M_1 0], and the head becomes Q^T w. Q is kept to turn results back. Methods
/// that are not equivariant under rotations of the learner, B <- B Q and w <- Q^T w, keep Q = I.
PopulationEngine::State PopulationEngine::start(const Method& method, Mat Z, Vec w, Index k_star) {
  const Index k = Z.cols() / method.step.blocks();
  if (k <= k_star || !method.turns_frame()) {
    return {std::move(Z), std::move(w), Mat::Identity(k, k)};
  }
  Mat Q = start_rotation(Z.topRows(k_star));
  Z = Mat(Z * Q);
  // By the choice of Q, this block is zero except for rounding.
  Z.topRightCorner(k_star, k - k_star).setZero();
  turn_heads(method, Q, w);
  return {std::move(Z), std::move(w), std::move(Q)};
}

/// Takes panels of kNarrow columns for up to kNarrow tasks, and of kWide columns for more tasks,
/// since a handful of tasks would leave most of a wide panel empty.
std::unique_ptr<PopulationEngine> make_population(const Method& method,
                                                  PopulationEngine::State state, HeadSource heads,
                                                  Index n, double noise) {
  if (n <= kNarrow) {
    return std::make_unique<Population<kNarrow>>(method, std::move(state), std::move(heads), n,
                                                 noise);
  }
  return std::make_unique<Population<kWide>>(method, std::move(state), std::move(heads), n, noise);
}

}  // namespace metaspan
