#include "metaspan/engines/collapsed.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "copy_outputs.hpp"
#include "metaspan/algebra/outer_step.hpp"
#include "metaspan/algebra/task_algebra.hpp"
#include "metaspan/base/parallel.hpp"
#include "metaspan/geometry/off_span.hpp"
#include "metaspan/in_law/collapsed_design.hpp"

namespace metaspan {
namespace {

using Design = CollapsedDesign;
using Group = Design::Group;
constexpr int kWidth = Design::width;

/// The largest number of pieces of a round, and the smallest number of panels in a piece. With
/// smaller pieces, adding their sums would take more time than threads save.
constexpr Index kMostPieces = 32;
constexpr Index kPanelsPerPiece = 2;

/// Cost of drawing one random number, in flops.
constexpr double kFlopsOfNumber = 25;

/// The purposes of draws off the span: a task's frame, the sum of two pieces, the Gaussian matrix
/// of the round, and the Gaussian matrix of a task whose part off the span is drawn by itself, (29)
/// and (33). The purpose is a word of the counter of a draw, so no two purposes share a random
/// number.
enum Part : std::uint32_t { kOfTask = 0, kOfPieces = 1, kOfRound = 2, kOfPart = 3 };

/// The purpose of those draws of the noise (30) that are off the span. The same word is 0 in the
/// counters of the noise of grad_M and grad_R, and 1 in those of the noise of grad_w.
constexpr std::uint32_t kOfNoise = 2;

/// Returns the number of pieces of a round, which depends on the number of panels only.
Index pieces_of(Index panels) {
  return std::clamp<Index>(panels / kPanelsPerPiece, 1, kMostPieces);
}

/// Fresh samples in every round, (16)-(19). In the span of the state, the algebra runs on a
/// CollapsedDesign for each panel of tasks. Off the span, the contributions of the tasks are summed
/// in law, by frames (17) or as one Gaussian matrix (18). No array has size d.
class Collapsed final : public CollapsedEngine {
 public:
  /// Computes the shape of the samples once, since it depends on sizes only.
  Collapsed(const Method& method, const SampleLaw& law, State state, HeadSource heads, Index n,
            std::uint64_t seed, std::uint64_t trial)
      : method_(method),
        law_(law),
        n_(n),
        seed_(seed),
        trial_(trial),
        k_(state.Z.cols() / method.step.blocks()),
        state_(std::move(state)),
        heads_(std::move(heads)),
        steps_(outer_steps(method, k())),
        shape_(sample_shape(method, law, state_.Z.rows())),
        flops_(collapsed_cost(method, law, {n, state_.Z.rows(), k()}).flops) {
    copy_blocks();
    const Index pieces = pieces_of(panels());
    for (Index i = 0; i < pieces; ++i) pieces_.emplace_back(*this);
  }

  /// Computes the round's gradient in the span, (10), and the new rows of R off the span. Each
  /// piece has sums of its own, and the number of panels alone decides the pieces. The memory for a
  /// panel's samples is larger than the sums of a piece, so each thread has one such memory and
  /// reuses it for every panel. Samples and off-span draws have separate keys, so recording losses,
  /// which draws more samples, changes no other number.
  void gradient(Index round, const double* heads, TaskOutputs& tasks, int threads,
                Cancel* cancel) override {
    const auto r = static_cast<std::uint64_t>(round);
    round_ = round;
    samples_key_ = derive_key(seed_, trial_, r, Stream::samples);
    off_span_key_ = derive_key(seed_, trial_, r, Stream::off_span);
    privacy_key_ = derive_key(seed_, trial_, r, Stream::privacy);
    heads_.begin_round(round, heads);
    make_room(n_, k(), heads_.k_star(), tasks);
    const auto pieces = static_cast<Index>(pieces_.size());
    if (flops_ < kSerialFlops) threads = 1;
    while (static_cast<Index>(workspaces_.size()) < std::min<Index>(threads, pieces)) {
      workspaces_.push_back(std::make_unique<Workspace>(*this));
    }
    parallel_for(threads, pieces, cancel, [&](Index i, int thread) {
      Piece& piece = pieces_[static_cast<std::size_t>(i)];
      Workspace& workspace = *workspaces_[static_cast<std::size_t>(thread)];
      piece.clear(k());
      std::fill(workspace.scratch.G.begin(), workspace.scratch.G.end(), 0.0);
      // A piece is a range of consecutive panels, so its frames are added in the order of the
      // tasks.
      const Index last = (i + 1) * panels() / pieces;
      for (Index p = i * panels() / pieces; p < last; ++p) {
        run_panel(workspace, piece, p * kWidth, tasks);
        if (cancel == nullptr) continue;
        cancel->poll();
        if (cancel->requested()) return;
      }
      piece.G = ConstMat(workspace.scratch.G.data(), shape_.D, padded(k())).leftCols(k());
    });
    throw_if_requested(cancel);
    sum_pieces();
    if (method_.multiplier > 0) add_noise();
  }

  /// Steps to the next state of (19). A gradient step on [M; R] gives M and R_in, and the R-factor
  /// of [R_in; beta T] becomes R, where T holds the new rows off the span. The kept rows, which are
  /// the rows of M and of a tracked start, are not part of the factorisation. A state that is not
  /// finite is refused.
  bool step(double factor) override {
    if (!method_.step.is_plain()) return step_with_memory(factor);
    const double beta = factor * method_.beta;
    const Index kept = state_.kept, e = state_.Z.rows() - kept;
    Mat next = state_.Z - beta * grad_;
    const Vec next_w = state_.w - (factor * steps_).cwiseProduct(grad_w_);
    // The rows of beta T refer to basis vectors orthogonal to those of R_in. The R-factor of [R_in;
    // beta T] is therefore the new R up to an orthogonal factor from the left. The new R has as
    // many rows as R had.
    if (fresh_.rows() > 0) {
      Mat off(e + fresh_.rows(), k());
      off << next.bottomRows(e), beta * fresh_;
      if (!off.allFinite()) return false;
      next.bottomRows(e) = small_r_factor(off).topRows(e);
    }
    if (!next.allFinite() || !next_w.allFinite()) return false;
    return take(std::move(next), next_w);
  }

  Shape shape() const override { return {heads_.k_star(), state_.Z.rows() - heads_.k_star(), k()}; }

  /// Returns whether small distances have correct digits. If a round adds no rows off the span, R
  /// is only multiplied from the right, and its columns keep their relative accuracy, (14).
  bool resolves_distance() const override {
    return shape_.off_span == OffSpan::none && k() <= heads_.k_star() && method_.multiplier == 0 &&
           law_.spread == 0 && method_.turns_frame();
  }
  Shape measured_shape() const override {
    return {heads_.k_star(), state_.Z.rows() - heads_.k_star(), method_.columns_of_B(k())};
  }

  /// Returns the first block of the state if it is the reported B alone and k <= k_star; otherwise,
  /// the reported B in the regular frame that the meter needs, which is kept until the next step.
  const Mat& coordinates(int) override {
    const Index columns = method_.columns_of_B(k());
    const Index last = (method_.step.reported() + 1) * k();  // of the reported block
    if (last == k() && columns == k() && k() <= heads_.k_star()) return Z();
    if (!is_measured_) {
      measured_ = in_regular_frame(state_.Z.middleCols(last - columns, columns), heads_.k_star());
    }
    is_measured_ = true;
    return measured_;
  }
  const Vec& head() const override { return method_.step.is_plain() ? state_.w : reported_w_; }
  const State& state() const override { return state_; }
  double flops() const override { return flops_; }

 private:
  /// A thread's memory: the samples of a panel, and the algebra on them.
  struct Workspace {
    explicit Workspace(const Collapsed& run)
        : algebra(run.method_.without_privacy(), run.k(), run.shape_.rows_of(run.shape_.inner),
                  run.most_out()),
          scratch(run.method_, run.shape_, run.law_.shared, run.k()),
          heads(static_cast<std::size_t>(run.heads_.k_star() * kWidth)) {}
    TaskAlgebra<Design> algebra;
    Design::Scratch scratch;
    PanelSet inner, outer, xi;
    std::vector<double> heads;  // (k_star, width)
    std::vector<double> theta;  // (inside(), width)  with xi, (33)
    double factors[kWidth];     // of (29), for the tasks of a panel
    Mat drawn[kWidth];          // parts of the tasks off the span, see draw_parts()
  };

  /// The sums of the tasks of a piece, in the order of the tasks.
  struct Piece {
    explicit Piece(const Collapsed& run) : g_w(Vec::Zero(run.w().size())), rows(run.k()) {}
    void clear(Index k) {
      g_w.setZero();
      frames.resize(0, k);
      rows.clear();
    }
    Mat G;          // (D, k)
    Vec g_w;        // (parameters,)
    Mat frames;     // (t, k)  the R-factor of (17)
    RowStack rows;  // the stacked [C_i; C'_i] of (18)
  };

  Index k() const { return k_; }
  /// The first block of the state and its parameters: (B, w) itself. A plain step has no other.
  const Mat& Z() const { return method_.step.is_plain() ? state_.Z : Z_; }
  const Vec& w() const { return method_.step.is_plain() ? state_.w : w_; }
  Index panels() const { return ceil_div(n_, kWidth); }
  /// Whether every task adds a factor off the span in a frame of its own, (17).
  bool adds_frames() const { return shape_.off_span == OffSpan::frames || draws_parts(); }
  /// Whether the parts of the tasks off the span are drawn task by task: with xi, (33), and for
  /// clipped tasks of (18), whose norms depend on the drawn parts.
  bool draws_parts() const {
    return shape_.off_span == OffSpan::along_xi ||
           (shape_.off_span == OffSpan::gaussian && clips());
  }
  bool clips() const { return method_.clips(); }
  Index most_out() const { return shape_.rows_of(law_.shared ? shape_.inner : shape_.outer); }

  /// Processes one panel: heads, samples, the algebra (5)-(10), and the sums. Inner samples are
  /// drawn only if inner steps, losses or a shared outer set read them. Outer samples are drawn
  /// only if the gradient or the losses read them. grad_w is added task by task, in order.
  void run_panel(Workspace& workspace, Piece& piece, Index first, TaskOutputs& outputs) const {
    const Index tasks = std::min<Index>(kWidth, n_ - first);
    heads_.panel(first, tasks, kWidth, workspace.heads.data());
    const bool with_inner = method_.inner_steps > 0 || law_.shared || outputs.want_losses;
    const bool with_outer = method_.has_outer_part() || outputs.want_losses;
    draw_samples(samples_key_, law_, shape_, first, tasks, with_inner, with_outer, workspace.inner,
                 workspace.outer);
    const double* theta = workspace.heads.data();
    Index known = heads_.k_star();
    if (law_.spread > 0) {
      draw_theta(samples_key_, law_, shape_, first, tasks, theta, known, workspace.xi,
                 workspace.theta);
      theta = workspace.theta.data();
      known = shape_.inside();
    }
    Design design({Z(), theta, known, tasks, law_.noise, shape_, workspace.inner, workspace.outer,
                   method_.inner_steps, law_.shared, clips(), method_.blocks()},
                  workspace.scratch);
    workspace.algebra.gradient(design, w().data(), outputs.want_losses);
    if (draws_parts()) draw_parts(design, first, tasks, workspace.drawn);
    std::fill_n(workspace.factors, kWidth, 1.0);
    if (clips()) clip(design, workspace, tasks);
    const double* omega = workspace.algebra.grad_w();
    for (Index i = 0; i < piece.g_w.size(); ++i) {
      for (Index t = 0; t < tasks; ++t) {
        piece.g_w[i] += workspace.factors[t] * omega[i * kWidth + t];
      }
    }
    add_off_span(design, workspace, piece, first, tasks);
    // The residuals of infinitely many samples do not contain the noise, so sigma^2 / 2 is added to
    // their losses, (1).
    const double half_variance = law_.noise * law_.noise / 2;
    const double inner = shape_.inner.infinite ? half_variance : 0;
    const double outer = law_.m_out == 0 ? half_variance : 0;
    const double added[3] = {inner, inner, outer};
    copy_panel_outputs(workspace.algebra, workspace.heads.data(), added, first, tasks, outputs);
  }

  /// Draws, task by task, the parts of a panel's tasks off the span. Given the draws in the span,
  /// the part of a task of (18) is Gaussian with row covariance F^T F, where F is the R-factor of
  /// the stacked [C; C'], and A = bartlett(rows of F, rest)^T F is the R-factor of this part up to
  /// a Haar frame. With xi, (33), the part orthogonal to xi is drawn in this way, and A begins with
  /// the row along xi. Every task has draws of its own, so the parts do not depend on panels or
  /// threads.
  void draw_parts(Design& design, Index first, Index tasks, Mat* drawn) const {
    for (Index t = 0; t < tasks; ++t) drawn[t].resize(0, k());
    each_gaussian_factor(design, tasks, [&](const Mat& A, Index t) {
      drawn[t].conservativeResize(drawn[t].rows() + A.rows(), Eigen::NoChange);
      drawn[t].bottomRows(A.rows()) = A;
    });
    for (Index t = 0; t < tasks; ++t) {
      Sequence draws(off_span_key_, first + t, kOfPart);
      const Mat& F = drawn[t];
      drawn[t] = gaussian_matrix(F.rows() > k() ? small_r_factor(F) : F, shape_.outside(), draws);
    }
    if (shape_.off_span != OffSpan::along_xi) return;
    each_factor(design.along_xi(), tasks, [&](const Mat& row, Index t) {
      Mat A(1 + drawn[t].rows(), k());
      A << row, drawn[t];
      drawn[t] = A;
    });
  }

  /// Clips the contributions of a panel's tasks, (29): computes the factors, and adds the scaled
  /// contributions in the span. The basis of the design contains the parts in the span, along xi
  /// and in a frame; the squares of the parts that draw_parts() has drawn off this basis are added
  /// to the squared norm. add_off_span() then scales the parts off the span and adds them by (17).
  void clip(Design& design, Workspace& workspace, Index tasks) const {
    double squares[kWidth];
    design.squares(squares);
    const double* omega = workspace.algebra.grad_w();
    for (Index i = 0; i < w().size() * kWidth; ++i) {
      squares[i % kWidth] += omega[i] * omega[i];
    }
    const Index held = shape_.off_span == OffSpan::along_xi ? 1 : 0;  // rows that the basis holds
    for (Index t = 0; draws_parts() && t < tasks; ++t) {
      squares[t] += workspace.drawn[t].bottomRows(workspace.drawn[t].rows() - held).squaredNorm();
    }
    for (Index t = 0; t < kWidth; ++t) {
      workspace.factors[t] = t < tasks ? clipping_factor(squares[t], method_.clip) : 0;
    }
    design.add_scaled(workspace.factors);
  }

  /// Calls take(A, t) with the factor A of every task t of a panel, copied from the panel in which
  /// the design factors all tasks side by side.
  template <class Take>
  void each_factor(const Design::Factor& factor, Index tasks, Take&& take) const {
    Mat A(factor.rows, k());
    for (Index t = 0; t < tasks; ++t) {
      for (Index i = 0; i < A.size(); ++i) A.data()[i] = factor.values[i * kWidth + t];
      take(A, t);
    }
  }

  /// Calls take(A, t) with the factors of the Gaussian terms of (18). A set shared by both loops
  /// gives one Gaussian term, with C + C'; separate sets give two independent terms. An infinite
  /// set gives no term.
  template <class Take>
  void each_gaussian_factor(Design& design, Index tasks, Take&& take) const {
    const bool inner = !shape_.inner.infinite, outer = !shape_.outer.infinite;
    if (law_.shared) {
      if (inner) each_factor(design.off_span(Group::both), tasks, take);
      return;
    }
    if (inner && method_.has_inner_part()) {
      each_factor(design.off_span(Group::inner), tasks, take);
    }
    if (outer && method_.has_outer_part()) {
      each_factor(design.off_span(Group::outer), tasks, take);
    }
  }

  /// Adds the contributions of a panel's tasks off the span, task by task in order. In (17), the
  /// factor A of each task is reduced to at most k rows and added to the R-factor of the piece,
  /// with draws that belong to the task. A part that draw_parts() has drawn is added in the same
  /// way. Otherwise, in (18), A is appended to the rows of the piece, and nothing is drawn yet.
  void add_off_span(Design& design, const Workspace& workspace, Piece& piece, Index first,
                    Index tasks) const {
    if (shape_.off_span == OffSpan::none) return;
    if (!adds_frames()) {
      each_gaussian_factor(design, tasks, [&](const Mat& A, Index) { piece.rows.add(A); });
      return;
    }
    const auto add = [&](const Mat& A, Index t) {
      Sequence draws(off_span_key_, first + t, kOfTask);
      const double factor = workspace.factors[t];
      piece.frames = add_frame(piece.frames, factor * (A.rows() > k() ? small_r_factor(A) : A),
                               shape_.rest, draws);
    };
    if (shape_.off_span == OffSpan::frames) {
      return each_factor(design.off_span(Group::frame), tasks, add);
    }
    for (Index t = 0; t < tasks; ++t) add(workspace.drawn[t], t);
  }

  /// Computes the means over the tasks, (3). In the span, the pieces are added in order. Off the
  /// span, (17) adds the frames of the pieces pairwise in a fixed tree, and each addition has draws
  /// of its own. In (18), the rows of all pieces are stacked, and one Gaussian matrix for the round
  /// is drawn from the R-factor of the stack. No draw depends on the number of threads.
  void sum_pieces() {
    const double share = 1.0 / static_cast<double>(n_);
    grad_ = Mat::Zero(shape_.D, k());
    grad_w_ = Vec::Zero(w().size());
    for (const Piece& piece : pieces_) {
      grad_ += piece.G;
      grad_w_ += piece.g_w;
    }
    grad_ *= share;
    grad_w_ *= share;
    fresh_.resize(0, k());
    if (adds_frames()) {
      const auto count = static_cast<Index>(pieces_.size());
      Index pair = 0;
      for (Index step = 1; step < count; step *= 2) {
        for (Index i = 0; i + step < count; i += 2 * step) {
          Sequence draws(off_span_key_, pair++, kOfPieces);
          Mat& sum = pieces_[static_cast<std::size_t>(i)].frames;
          sum = add_frame(sum, pieces_[static_cast<std::size_t>(i + step)].frames, shape_.rest,
                          draws);
        }
      }
      fresh_ = share * pieces_[0].frames;
    } else if (shape_.off_span == OffSpan::gaussian) {
      RowStack all(k());
      for (Piece& piece : pieces_) all.add(piece.rows.factor());
      Sequence draws(off_span_key_, 0, kOfRound);
      fresh_ = share * gaussian_matrix(all.factor(), shape_.rest, draws);
    }
  }

  /// Adds the noise of (30). In the span the noise is added entry by entry. Off the span, the
  /// gradient is T in a Haar frame. In a basis that begins with this frame, the noise is s G in the
  /// rows of T and, in the other directions, an independent Gaussian matrix, whose R-factor is
  /// drawn. The sum T + s G keeps the cross terms of T and the noise, which a sum of their squares
  /// would lose.
  void add_noise() {
    const double s = method_.noise_of_mean(n_);
    add_normals(privacy_key_, s, 0, grad_.size(), grad_.data());
    add_head_noise(privacy_key_, s, grad_w_);
    Sequence draws(privacy_key_, 0, kOfNoise);
    const Index t = fresh_.rows();
    for (Index i = 0; i < fresh_.size(); ++i) fresh_.data()[i] += s * draws.normal();
    const Mat L = bartlett(draws, k(), shape_.rest - static_cast<double>(t));
    fresh_.conservativeResize(t + L.cols(), Eigen::NoChange);
    fresh_.bottomRows(L.cols()) = s * L.transpose();
  }

  /// Takes the step (28) on the joint matrix S of all blocks, (D, c k). The tasks' new rows T off
  /// the span enter every block with its coefficient b, so the new rows of S off the span are the
  /// R-factor of [S_off (L x I); beta (b^T x T)]. Every later operation multiplies S from the
  /// right, which needs no further factor.
  bool step_with_memory(double factor) {
    const OuterStep& step = method_.step;
    const Index kept = state_.kept, e = state_.Z.rows() - kept, width = state_.Z.cols();
    const OuterUpdate update = gradient_step(step, factor);
    Mat next = combine(update, state_.Z, method_.beta, grad_);
    if (fresh_.rows() > 0) {
      Mat off(e + fresh_.rows(), width);
      off << next.bottomRows(e),
          combine(update, Mat::Zero(fresh_.rows(), width), method_.beta, fresh_);
      if (!off.allFinite()) return false;
      next.bottomRows(e) = small_r_factor(off).topRows(e);
    }
    if (step.orthonormal && !orthonormalise_first(next, k())) return false;
    if (step.blocks() > 1) next = combine(averaging_step(step, round_), next, 0, grad_);
    Vec next_w = state_.w;
    step_head(step, round_, factor, steps_, grad_w_, next_w);
    if (!next.allFinite() || !next_w.allFinite()) return false;
    return take(std::move(next), next_w);
  }

  /// Replaces the state by the arguments, which the caller has found to be finite.
  bool take(Mat next, const Vec& next_w) {
    state_.Z = std::move(next);
    state_.w = next_w;
    copy_blocks();
    is_measured_ = false;
    return true;
  }

  /// Copies the first block of a state with several, and the parameters of the reported block, into
  /// arrays of their own, as the design and the callers of head() need them.
  void copy_blocks() {
    if (method_.step.is_plain()) return;
    const Index parameters = state_.w.size() / method_.step.blocks();
    Z_ = state_.Z.leftCols(k());
    w_ = state_.w.head(parameters);
    reported_w_ = state_.w.segment(method_.step.reported() * parameters, parameters);
  }

  Method method_;
  SampleLaw law_;
  Index n_;
  std::uint64_t seed_, trial_;
  Index k_;
  State state_;
  // The first block of the state and its parameters, and the parameters of the reported block; not
  // used by plain steps.
  Mat Z_;               // (D, k)
  Vec w_, reported_w_;  // (parameters,)
  Index round_ = 0;     // of the last gradient
  HeadSource heads_;
  Vec steps_;  // outer step sizes of w
  SampleShape shape_;
  double flops_;
  Key samples_key_{}, off_span_key_{}, privacy_key_{};
  std::vector<Piece> pieces_;
  std::vector<std::unique_ptr<Workspace>> workspaces_;  // one a thread
  Mat grad_;                                            // (D, k)
  Vec grad_w_;
  Mat fresh_;  // (t, k)  of the gradient, off the span
  Mat measured_;
  bool is_measured_ = false;
};

// Measured costs that a round has in addition to the products of a population round. The first
// four are in kernel calls: setting up the design of a panel and adding its outputs, with samples
// and without, drawing a single number, and adding a task's frame. kNumbersOfRoot is in random
// numbers: the cost of a chi-square root beyond that of the normal it replaces. The last four are
// in operations for each flop: of products, of passes over rows, of inner products and of
// factorisations.
constexpr double kCallsOfPanel = 100;
constexpr double kCallsOfBarePanel = 10;  // if no samples are drawn
constexpr double kCallsOfDraw = 2;
constexpr double kCallsOfFrame = 25;
constexpr double kNumbersOfRoot = .2;
constexpr double kProduct = 1.5, kPass = 2, kDot = 5, kFactor = 1.7;

/// Returns how many passes a round makes over the outer set of a task.
double outer_passes_of(const Method& method, const RoundSizes& sizes) {
  return method.has_outer_part() ? method.outer_terms() : sizes.losses;
}

/// Counts the work of drawing the samples and of the task algebra on them. Incomplete panels count
/// as full, except for their normals. A product with inner rows reads each row for its residual and
/// again for X^T r, which takes 4 operations for each entry.
Work work_of_panels(const Method& method, const SampleLaw& law, const SampleShape& shape,
                    const RoundSizes& sizes) {
  const auto count = [](const auto& items) { return static_cast<double>(items.size()); };
  const auto entries = [](const SetShape& set) {
    double sum = 0;
    for (const RowShape& row : set.rows) sum += static_cast<double>(row.end - row.begin);
    return sum;
  };
  const SetShape& outer = law.shared ? shape.inner : shape.outer;
  const AlgebraCounts counts = algebra_counts(method, sizes.losses);
  const double J = method.inner_steps, outer_passes = outer_passes_of(method, sizes);
  // A method that solves for heads and has a gradient on the inner set reads Z again for X^T C.
  const double again = method.solves_head && method.has_inner_part() ? 1 : 0;
  const double inner_passes = counts.forward - outer_passes + again;
  const double D = static_cast<double>(sizes.rows), K = static_cast<double>(sizes.k);
  const double panels = static_cast<double>(ceil_div(sizes.n, kWidth)), tasks = panels * kWidth;
  Work work = work_of_heads(sizes, tasks);
  for (const SetShape* set : {&shape.inner, &shape.outer}) {
    const bool inner = set == &shape.inner;
    if (inner ? J == 0 && !law.shared && sizes.losses == 0 : law.shared) continue;
    const double share = inner || method.has_outer_part() ? 1 : sizes.losses;
    work.numbers += share * (static_cast<double>(sizes.n) * static_cast<double>(set->numbers) +
                             tasks * kNumbersOfRoot * count(set->roots));
  }
  work.numbers += static_cast<double>(sizes.n) * static_cast<double>(shape.spread.numbers) +
                  tasks * kNumbersOfRoot * count(shape.spread.roots);
  const double rows = inner_passes * count(shape.inner.rows) + outer_passes * count(outer.rows);
  const double met = inner_passes * entries(shape.inner) + outer_passes * entries(outer);
  const double products =
      K * (counts.forward + counts.back) + static_cast<double>(padded(sizes.k)) * counts.added;
  work.operations = tasks * (kProduct * 2 * D * products + kPass * 4 * met +
                             kPass * 2 * static_cast<double>(shape.columns()) * counts.moves);
  const bool bare = shape.inner.infinite && shape.outer.infinite;
  work.calls += panels * ((bare ? kCallsOfBarePanel : kCallsOfPanel) + counts.forward +
                          counts.back + counts.added + counts.moves + 2 * rows);
  return work;
}

/// Adds the cost of the sums off the span: small QR factorisations, counted in flops, and numbers
/// drawn one by one, counted in kernel calls. There is a factorisation for each task in (17), and
/// one for each full RowStack in (18). The part of a clipped task of (18), or of a task with xi,
/// (33), is drawn for this task alone and added as in (17).
void add_off_span(const Method& method, const SampleLaw& law, const SampleShape& shape,
                  const RoundSizes& sizes, Work& work) {
  if (shape.off_span == OffSpan::none) return;
  const double n = static_cast<double>(sizes.n), K = static_cast<double>(sizes.k);
  const double terms = method.terms();
  const double pieces = static_cast<double>(pieces_of(ceil_div(sizes.n, kWidth)));
  const auto in = static_cast<double>(law.m_in), out = static_cast<double>(law.m_out);
  const bool drawn = shape.off_span == OffSpan::gaussian && method.clips();
  const bool along_xi = shape.off_span == OffSpan::along_xi;
  const bool frames = shape.off_span == OffSpan::frames || drawn || along_xi;
  double length = std::max(std::min(in, out), 1.0);
  if (drawn) length = in + out;
  if (shape.off_span == OffSpan::frames) length = static_cast<double>(shape.columns() - shape.D);
  work.operations += kDot * n * 2 * terms * terms * length;
  // The factorisation of the step has the columns of all blocks that the outer step remembers.
  const double width = static_cast<double>(method.step.blocks()) * K;
  double flops = 4 * K * K * K * pieces + 4 * width * width * (width + K) / 2, draws = K * K / 2,
         columns = K * (1 + pieces);
  if (frames) {
    const double r = along_xi ? std::min(terms + 1, K) : std::min({terms, length, K});
    if (std::min(terms, length) > K) columns += n * K;
    flops += (n + pieces) * (K + r) * (2 * r * r + 4 * r * K + 2 * K * K);
    draws += n * (K * r + r * r / 2 + r) + pieces * 2 * K * K;
    work.calls += n * kCallsOfFrame * (drawn ? 2 : 1);
    if (drawn) {
      draws += n * (r * r / 2 + r);
      flops += n * 2 * r * K * (terms + r);
    }
    if (along_xi) {
      flops += n * 2 * K * K * terms;
      draws += n * terms * terms / 2;
    }
  } else {
    flops += n * terms / 64 * 2 * K * K * (64 + K);
  }
  work.operations += kFactor * flops;
  work.calls += kCallsOfDraw * draws + columns;
}

}  // namespace

/// Estimates the cost of a round from the shape of the samples: the flops of the tasks, with
/// kFlopsOfNumber flops for each random number, the bytes of the pieces and of a thread, and the
/// work. d enters only through `law`.
RoundCost collapsed_cost(const Method& method, const SampleLaw& law, const RoundSizes& sizes) {
  const SampleShape shape = sample_shape(method, law, sizes.rows);
  const double columns = static_cast<double>(shape.columns());
  const double D = static_cast<double>(sizes.rows), K = static_cast<double>(sizes.k);
  const auto numbers_of = [](const SetShape& set) { return static_cast<double>(set.numbers); };
  const double inner = numbers_of(shape.inner);
  const double outer = law.shared ? inner : numbers_of(shape.outer);
  const double drawn = inner + (law.shared ? 0 : outer) + numbers_of(shape.spread);
  const double passes = method.inner_passes();
  const double terms = method.slots(), passes_out = method.outer_terms();
  // Draws, passes over rows and products with [M; R], and the terms off the span.
  double flops = kFlopsOfNumber * drawn;
  flops += 4 * (passes * inner + std::max(passes_out, 1.0) * outer);
  flops += (passes + terms + 2) * 2 * D * K;
  flops += 2 * terms * terms * columns;
  if (shape.off_span == OffSpan::frames || shape.off_span == OffSpan::along_xi) {
    flops += 8 * (K + terms) * K * (K + terms);
  }
  flops *= static_cast<double>(sizes.n);
  const auto rows = [](const SetShape& set) { return static_cast<double>(set.rows.size()); };
  const double most = std::max({columns, rows(shape.inner), rows(shape.outer)});
  const double panel = drawn + (terms + 1) * (columns + most + 2 * K) + terms * rows(shape.inner);
  const Index pieces = pieces_of(ceil_div(sizes.n, kWidth));
  const auto blocks = static_cast<double>(method.step.blocks());
  const double bytes =
      8 * (static_cast<double>(pieces) * (D + 70 + K) * K + (4 + 2 * blocks) * D * K);
  Work work = work_of_panels(method, law, shape, sizes);
  add_off_span(method, law, shape, sizes, work);
  if (method.multiplier > 0) {  // (30): entries in the span, and one R-factor off the span
    work.numbers += D * K + static_cast<double>(method.parameters(sizes.k));
    work.calls += kCallsOfDraw * 1.5 * K * K;
  }
  add_outer_step(method.step, D, K, work);
  return {flops, bytes, 8 * kWidth * panel, flops < kSerialFlops ? 1 : pieces, work};
}

std::unique_ptr<CollapsedEngine> make_collapsed(const Method& method, const SampleLaw& law,
                                                CollapsedEngine::State state, HeadSource heads,
                                                Index n, std::uint64_t seed, std::uint64_t trial) {
  return std::make_unique<Collapsed>(method, law, std::move(state), std::move(heads), n, seed,
                                     trial);
}

}  // namespace metaspan
