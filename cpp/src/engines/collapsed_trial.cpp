#include "collapsed_trial.hpp"

#include <algorithm>
#include <utility>

#include "copy_outputs.hpp"
#include "metaspan/algebra/outer_step.hpp"
#include "metaspan/base/sizes.hpp"

namespace metaspan {
namespace {

/// The largest number of pieces of a round, and the smallest number of panels in a piece. With
/// smaller pieces, adding their sums would take more time than threads save.
constexpr Index kMostPieces = 32;
constexpr Index kPanelsPerPiece = 2;

/// The purposes of draws off the span: a task's frame, the sum of two pieces, the Gaussian matrix
/// of the round, and the Gaussian matrix of a task whose part off the span is drawn by itself, (29)
/// and (33). The purpose is a word of the counter of a draw, so no two purposes share a random
/// number.
enum Part : std::uint32_t { kOfTask = 0, kOfPieces = 1, kOfRound = 2, kOfPart = 3 };

/// The purpose of those draws of the noise (30) that are off the span. The same word is 0 in the
/// counters of the noise of grad_M and grad_R, and 1 in those of the noise of grad_w.
constexpr std::uint32_t kOfNoise = 2;

}  // namespace

Index pieces_of_collapsed(Index panels) {
  return std::clamp<Index>(panels / kPanelsPerPiece, 1, kMostPieces);
}

/// Lists the groups of terms off the span: the frame of (17), the Gaussian terms of (18), and with
/// xi, (33), the row along xi. A set shared by both loops gives one Gaussian term, with C + C';
/// separate sets give two independent terms. An infinite set gives no term.
int groups_off_span(const Method& method, const SampleLaw& law, const SampleShape& shape,
                    TermGroup (&groups)[3]) {
  int count = 0;
  if (shape.off_span == OffSpan::none) return count;
  if (shape.off_span == OffSpan::frames) {
    groups[count++] = TermGroup::frame;
    return count;
  }
  const bool inner = !shape.inner.infinite, outer = !shape.outer.infinite;
  if (law.shared) {
    if (inner) groups[count++] = TermGroup::both;
  } else {
    if (inner && method.has_inner_part()) groups[count++] = TermGroup::inner;
    if (outer && method.has_outer_part()) groups[count++] = TermGroup::outer;
  }
  if (shape.off_span == OffSpan::along_xi) groups[count++] = TermGroup::along_xi;
  return count;
}

CollapsedTrial::CollapsedTrial(const Method& method, const SampleLaw& law, State state,
                               HeadSource heads, Index n, std::uint64_t seed, std::uint64_t trial)
    : method_(method),
      law_(law),
      n_(n),
      seed_(seed),
      trial_(trial),
      k_(state.Z.cols() / method.step.blocks()),
      state_(std::move(state)),
      heads_(std::move(heads)),
      steps_(outer_steps(method, k_)),
      shape_(sample_shape(method, law, state_.Z.rows())),
      flops_(collapsed_cost(method, law, {n, state_.Z.rows(), k_}).flops) {
  copy_blocks();
  const Index pieces = pieces_of_collapsed(panels());
  for (Index i = 0; i < pieces; ++i) pieces_.emplace_back(*this);
}

/// Samples and off-span draws have separate keys, so recording losses, which draws more samples,
/// changes no other number.
void CollapsedTrial::begin_round(Index round, const double* heads, TaskOutputs& tasks) {
  const auto r = static_cast<std::uint64_t>(round);
  round_ = round;
  samples_key_ = derive_key(seed_, trial_, r, Stream::samples);
  off_span_key_ = derive_key(seed_, trial_, r, Stream::off_span);
  privacy_key_ = derive_key(seed_, trial_, r, Stream::privacy);
  heads_.begin_round(round, heads);
  make_room(n_, k(), heads_.k_star(), tasks);
}

void CollapsedTrial::noise_of_losses(double (&added)[3]) const {
  const double half_variance = law_.noise * law_.noise / 2;
  added[0] = added[1] = shape_.inner.infinite ? half_variance : 0;
  added[2] = law_.m_out == 0 ? half_variance : 0;
}

/// Calls take(A, t) with the factor A of every task t of a panel.
template <class Take>
void CollapsedTrial::each_factor(PanelFactors& factors, TermGroup group, Index tasks,
                                 Take&& take) const {
  Mat A(factors.select(group), k());
  for (Index t = 0; t < tasks; ++t) {
    factors.copy(t, A.data());
    take(A, t);
  }
}

/// Calls take(A, t) with the factors of the Gaussian terms of (18), group by group.
template <class Take>
void CollapsedTrial::each_gaussian_factor(PanelFactors& factors, Index tasks, Take&& take) const {
  TermGroup groups[3];
  const int count = groups_off_span(method_, law_, shape_, groups);
  for (int i = 0; i < count; ++i) {
    if (groups[i] != TermGroup::along_xi) each_factor(factors, groups[i], tasks, take);
  }
}

/// Draws, task by task, the parts of a panel's tasks off the span. Given the draws in the span,
/// the part of a task of (18) is Gaussian with row covariance F^T F, where F is the R-factor of
/// the stacked [C; C'], and A = bartlett(rows of F, rest)^T F is the R-factor of this part up to
/// a Haar frame. With xi, (33), the part orthogonal to xi is drawn in this way, and A begins with
/// the row along xi. Every task has draws of its own, so the parts do not depend on panels or
/// threads.
void CollapsedTrial::draw_parts(PanelFactors& factors, Index first, Index tasks, Mat* drawn) const {
  for (Index t = 0; t < tasks; ++t) drawn[t].resize(0, k());
  each_gaussian_factor(factors, tasks, [&](const Mat& A, Index t) {
    drawn[t].conservativeResize(drawn[t].rows() + A.rows(), Eigen::NoChange);
    drawn[t].bottomRows(A.rows()) = A;
  });
  for (Index t = 0; t < tasks; ++t) {
    Sequence draws(off_span_key_, first + t, kOfPart);
    const Mat& F = drawn[t];
    drawn[t] = gaussian_matrix(F.rows() > k() ? small_r_factor(F) : F, shape_.outside(), draws);
  }
  if (shape_.off_span != OffSpan::along_xi) return;
  each_factor(factors, TermGroup::along_xi, tasks, [&](const Mat& row, Index t) {
    Mat A(1 + drawn[t].rows(), k());
    A << row, drawn[t];
    drawn[t] = A;
  });
}

/// Draws the parts of a panel's tasks off the span where they are drawn task by task, and computes
/// the clipping factors, (29). The basis of the design contains the parts in the span, along xi and
/// in a frame; the squares of the parts that are drawn off this basis are added to the squared
/// norm.
void CollapsedTrial::find_parts(PanelFactors& factors, Index first, Index tasks,
                                const double* squares, PanelParts& parts) const {
  if (draws_parts()) draw_parts(factors, first, tasks, parts.drawn);
  std::fill_n(parts.factors, kWidth, 1.0);
  if (!clips()) return;
  const Index held = shape_.off_span == OffSpan::along_xi ? 1 : 0;  // rows that the basis holds
  for (Index t = 0; t < kWidth; ++t) {
    double square = t < tasks ? squares[t] : 0;
    if (draws_parts() && t < tasks) {
      square += parts.drawn[t].bottomRows(parts.drawn[t].rows() - held).squaredNorm();
    }
    parts.factors[t] = t < tasks ? clipping_factor(square, method_.clip) : 0;
  }
}

/// Adds the contributions of a panel's tasks off the span, task by task in order. In (17), the
/// factor A of each task is reduced to at most k rows and added to the R-factor of the piece,
/// with draws that belong to the task. A part that draw_parts() has drawn is added in the same
/// way. Otherwise, in (18), A is appended to the rows of the piece, and nothing is drawn yet.
void CollapsedTrial::add_off_span(PanelFactors& factors, const PanelParts& parts, Index first,
                                  Index tasks, Piece& piece) const {
  if (shape_.off_span == OffSpan::none) return;
  if (!adds_frames()) {
    each_gaussian_factor(factors, tasks, [&](const Mat& A, Index) { piece.rows.add(A); });
    return;
  }
  const auto add = [&](const Mat& A, Index t) {
    Sequence draws(off_span_key_, first + t, kOfTask);
    const double factor = parts.factors[t];
    piece.frames = add_frame(piece.frames, factor * (A.rows() > k() ? small_r_factor(A) : A),
                             shape_.rest, draws);
  };
  if (shape_.off_span == OffSpan::frames) {
    return each_factor(factors, TermGroup::frame, tasks, add);
  }
  for (Index t = 0; t < tasks; ++t) add(parts.drawn[t], t);
}

void CollapsedTrial::end_round() {
  sum_pieces();
  if (method_.multiplier > 0) add_noise();
}

/// Computes the means over the tasks, (3). In the span, the pieces are added in order. Off the
/// span, (17) adds the frames of the pieces pairwise in a fixed tree, and each addition has draws
/// of its own. In (18), the rows of all pieces are stacked, and one Gaussian matrix for the round
/// is drawn from the R-factor of the stack. No draw depends on the number of threads.
void CollapsedTrial::sum_pieces() {
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
        sum =
            add_frame(sum, pieces_[static_cast<std::size_t>(i + step)].frames, shape_.rest, draws);
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
void CollapsedTrial::add_noise() {
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

/// Steps to the next state of (19). A gradient step on [M; R] gives M and R_in, and the R-factor
/// of [R_in; beta T] becomes R, where T holds the new rows off the span. The kept rows, which are
/// the rows of M and of a tracked start, are not part of the factorisation. A state that is not
/// finite is refused.
bool CollapsedTrial::step(double factor) {
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

/// Takes the step (28) on the joint matrix S of all blocks, (D, c k). The tasks' new rows T off
/// the span enter every block with its coefficient b, so the new rows of S off the span are the
/// R-factor of [S_off (L x I); beta (b^T x T)]. Every later operation multiplies S from the
/// right, which needs no further factor.
bool CollapsedTrial::step_with_memory(double factor) {
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
bool CollapsedTrial::take(Mat next, const Vec& next_w) {
  state_.Z = std::move(next);
  state_.w = next_w;
  copy_blocks();
  is_measured_ = false;
  return true;
}

/// Copies the first block of a state with several, and the parameters of the reported block, into
/// arrays of their own, as the design and the callers of head() need them.
void CollapsedTrial::copy_blocks() {
  if (method_.step.is_plain()) return;
  const Index parameters = state_.w.size() / method_.step.blocks();
  Z_ = state_.Z.leftCols(k());
  w_ = state_.w.head(parameters);
  reported_w_ = state_.w.segment(method_.step.reported() * parameters, parameters);
}

/// Returns whether small distances have correct digits. If a round adds no rows off the span, R
/// is only multiplied from the right, and its columns keep their relative accuracy, (14).
bool CollapsedTrial::resolves_distance() const {
  return shape_.off_span == OffSpan::none && k() <= heads_.k_star() && method_.multiplier == 0 &&
         law_.spread == 0 && method_.turns_frame();
}
/// Returns the first block of the state if it is the reported B alone and k <= k_star; otherwise,
/// the reported B in the regular frame that the meter needs, which is kept until the next step.
const Mat& CollapsedTrial::coordinates(int /*threads*/) {
  const Index columns = method_.columns_of_B(k());
  const Index last = (method_.step.reported() + 1) * k();  // of the reported block
  if (last == k() && columns == k() && k() <= heads_.k_star()) return Z();
  if (!is_measured_) {
    measured_ = in_regular_frame(state_.Z.middleCols(last - columns, columns), heads_.k_star());
  }
  is_measured_ = true;
  return measured_;
}

}  // namespace metaspan
