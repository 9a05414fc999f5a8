#include "metaspan/engines/spectral.hpp"

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <utility>

#include "copy_outputs.hpp"
#include "full_size_blocks.hpp"
#include "metaspan/algebra/task_algebra.hpp"
#include "metaspan/base/parallel.hpp"
#include "metaspan/geometry/coordinates.hpp"
#include "metaspan/in_law/spectral_design.hpp"

namespace metaspan {
namespace {

using Design = SpectralDesign;
constexpr int kWidth = Design::width;
constexpr Index kRows = 1024;      // rows of U in a piece of work
constexpr Index kMostPieces = 32;  // largest number of pieces of a round's tasks

/// Returns the number of pieces of a round's tasks. It depends on the number of panels only, and
/// the sums of the pieces are added in order, so the bits do not depend on the number of threads.
Index pieces_of(Index panels) { return std::clamp<Index>(panels / 2, 1, kMostPieces); }

/// Population losses with a diagonal covariance Sigma, by moments, (15). The state is U = [B_star,
/// B], (d, p) with p = k_star + k. A round consists of a sweep over d that computes the moments,
/// the algebra of the tasks, whose cost does not depend on d, and a sweep over d that steps B. B is
/// kept in double whatever the type of the user's array.
template <class BScalar>
class Spectral final : public ArraysEngine<BScalar> {
 public:
  /// Stores B beside B_star in one matrix, so that each moment is a single product.
  Spectral(const Method& method, const double* roots, const Mat& B_star, Index k,
           const ArraysStart<BScalar>& start, HeadSource heads, double noise)
      : method_(method),
        roots_(roots),
        k_star_(B_star.cols()),
        k_(k),
        n_(start.n),
        half_variance_(noise * noise / 2),
        seed_(start.seed),
        trial_(start.trial),
        U_(B_star.rows(), B_star.cols() + k),
        B_star_(B_star),
        w_(start.w),
        steps_(outer_steps(method, k)),
        blocks_(method, B_star.rows(), k, start),
        heads_(std::move(heads)),
        moments_(static_cast<std::size_t>(Design::moments_of(method) + 1)) {
    const Eigen::Map<const MatrixOf<BScalar>> B(start.B, B_star.rows(), k);
    U_ << B_star, B.template cast<double>();
    const Index pieces = pieces_of(panels());
    for (Index i = 0; i < pieces; ++i) pieces_.emplace_back(*this);
  }

  /// Computes H (blocks p, k), which represents the gradient as sum_b Sigma^b U H_b, piece by
  /// piece. The moments are kept until the next step, so measuring a row does not cost a second
  /// sweep.
  void gradient(Index round, const double* heads, TaskOutputs& tasks, int threads,
                Cancel* cancel) override {
    threads_ = threads;
    privacy_key_ = derive_key(seed_, trial_, static_cast<std::uint64_t>(round), Stream::privacy);
    round_ = round;
    if (!has_moments_) make_moments(threads, cancel);
    has_moments_ = true;
    heads_.begin_round(round, heads);
    make_room(n_, k_, k_star_, tasks);
    const auto pieces = static_cast<Index>(pieces_.size());
    parallel_for(threads, pieces, cancel, [&](Index i, int) {
      Piece& piece = pieces_[static_cast<std::size_t>(i)];
      std::fill(piece.scratch.H.begin(), piece.scratch.H.end(), 0.0);
      piece.g_w.setZero();
      const Index last = (i + 1) * panels() / pieces;
      for (Index p = i * panels() / pieces; p < last; ++p) run_panel(piece, p * kWidth, tasks);
    });
    throw_if_requested(cancel);
    // The means over the tasks are the pieces added in order, times 1 / n.
    const double share = 1.0 / static_cast<double>(n_);
    const Index rows = Design::blocks_of(method_) * p();
    H_ = Mat::Zero(rows, k_);
    grad_w_ = Vec::Zero(w_.size());
    for (const Piece& piece : pieces_) {
      H_ += share * ConstMat(piece.scratch.H.data(), rows, padded(k_)).leftCols(k_);
      grad_w_ += share * piece.g_w;
    }
    if (spread() > 0) add_head_noise(privacy_key_, spread(), grad_w_);
  }

  /// Steps B <- B - beta sum_b Sigma^b U H_b, (15), by blocks of rows. Sigma is diagonal, so a row
  /// of B depends on the same row of U only. Horner's rule multiplies by Sigma once for each b and
  /// stores no powers of it. The noise of (30) is added here, to each block of rows of the gradient
  /// as it is formed. The new B is checked before it replaces the old B, since a failed step must
  /// leave the state unchanged.
  bool step(double factor) override {
    const double beta = factor * method_.beta;
    const bool is_plain = method_.step.is_plain();
    const Vec next_w = w_ - (factor * steps_).cwiseProduct(grad_w_);
    if (!next_w.allFinite() || !H_.allFinite()) return false;
    const Index d = U_.rows(), blocks = Design::blocks_of(method_);
    std::vector<char> finite(static_cast<std::size_t>(ceil_div(d, kRows)));
    Mat next(d, k_);
    parallel_for(threads_, ceil_div(d, kRows), [&](Index piece, int) {
      const Index first = piece * kRows, rows = std::min(kRows, d - first);
      const auto U = U_.middleRows(first, rows);
      Mat moved = U * H_.middleRows((blocks - 1) * p(), p());
      // Block 0 of H is zero, as every gradient is a multiple of Sigma.
      for (Index b = blocks - 2; b >= 0; --b) {  // Horner's rule, in Sigma
        for (Index i = 0; i < rows; ++i) moved.row(i) *= roots_[first + i] * roots_[first + i];
        if (b > 0) moved.noalias() += U * H_.middleRows(b * p(), p());
      }
      if (spread() > 0) add_normals(privacy_key_, spread(), first * k_, rows * k_, moved.data());
      if (is_plain) {
        next.middleRows(first, rows) = U.rightCols(k_) - beta * moved;
      } else {
        next.middleRows(first, rows) = moved;  // the gradient
      }
      finite[static_cast<std::size_t>(piece)] = next.middleRows(first, rows).allFinite();
    });
    if (!std::all_of(finite.begin(), finite.end(), [](char yes) { return yes != 0; })) return false;
    if (!is_plain) {
      MatrixOf<BScalar> B = U_.rightCols(k_).template cast<BScalar>();
      MatrixOf<BScalar> gradient;
      if constexpr (std::is_same_v<BScalar, double>) {
        gradient.swap(next);
      } else {
        gradient = next.template cast<BScalar>();
      }
      if (!blocks_.step(round_, factor, B.data(), gradient.data(), grad_w_, threads_)) return false;
      next = B.template cast<double>();
    } else if constexpr (std::is_same_v<BScalar, float>) {
      // B has values of its type, so that a run resumed from a checkpoint has the bits of a whole
      // run.
      next = Mat(next.template cast<float>().template cast<double>());
      if (!next.allFinite()) return false;
    }
    U_.rightCols(k_) = next;
    w_ = is_plain ? next_w : blocks_.head();
    has_moments_ = is_measured_ = false;
    return true;
  }

  Shape shape() const override { return {k_star_, k_, k_}; }
  Shape measured_shape() const override {
    const Index columns = method_.columns_of_B(k_);
    return {k_star_, columns, columns};
  }

  /// Returns the coordinates of B for the meter, kept until the next step. Computing the
  /// coordinates takes a pass over B at full size.
  const Mat& coordinates(int threads) override {
    if (!is_measured_) {
      const Index columns = method_.columns_of_B(k_);
      if (method_.step.reported() == 0) {
        coordinates_ = measured(U_.rightCols(columns), B_star_, threads);
      } else {
        const Eigen::Map<const MatrixOf<BScalar>> reported(blocks_.reported(nullptr), U_.rows(),
                                                           k_);
        coordinates_ =
            measured(reported.rightCols(columns).template cast<double>(), B_star_, threads);
      }
    }
    is_measured_ = true;
    return coordinates_;
  }
  const Vec& head() const override {
    return method_.step.is_plain() ? w_ : blocks_.reported_head();
  }
  Vec export_heads() const override { return method_.step.is_plain() ? w_ : blocks_.heads(); }
  void export_memory(BScalar* out) const override { blocks_.export_memory(out); }

  /// Returns the operations of a round: the moments, and one inner product for each task.
  double flops() const override {
    const double P = static_cast<double>(p()), moments = Design::moments_of(method_);
    return 2 * P * P * (static_cast<double>(U_.rows()) * moments + static_cast<double>(n_));
  }
  void export_B(BScalar* out, int) const override {
    Eigen::Map<MatrixOf<BScalar>>(out, U_.rows(), k_) = U_.rightCols(k_).template cast<BScalar>();
  }

 private:
  /// The tasks of a piece, with their algebra, scratch and sums. Pieces do not share this storage,
  /// since the sums of each must last until all pieces are done.
  struct Piece {
    explicit Piece(const Spectral& run)
        : algebra(run.method_, run.k_, 1, 1),
          scratch(run.method_, run.k_star_, run.k_),
          heads(static_cast<std::size_t>(run.k_star_ * kWidth)),
          g_w(Vec::Zero(run.w_.size())) {}
    TaskAlgebra<Design> algebra;
    Design::Scratch scratch;
    std::vector<double> heads;  // (k_star, width)
    Vec g_w;
  };

  Index p() const { return k_star_ + k_; }
  double spread() const { return method_.noise_of_mean(n_); }
  Index panels() const { return ceil_div(n_, kWidth); }

  /// Computes the moments U^T Sigma^q U, (p, p) each, for q = 1 .. most, in one sweep over U. A
  /// block of kRows rows is scaled by Sigma once for each q, while it is in the cache. The blocks
  /// of a group are summed in order, and then the groups are summed in order. The blocks and groups
  /// depend on d only, so the bits do not depend on the number of threads.
  void make_moments(int threads, Cancel* cancel) {
    const Index d = U_.rows(), pieces = ceil_div(d, kRows);
    const auto most = static_cast<Index>(moments_.size()) - 1;
    // At most 64 groups, which bounds the memory of the sums that wait to be added.
    const Index groups = std::min<Index>(pieces, 64);
    std::vector<Mat> parts(static_cast<std::size_t>(groups), Mat::Zero(most * p(), p()));
    parallel_for(threads, groups, cancel, [&](Index group, int) {
      Mat& sum = parts[static_cast<std::size_t>(group)];
      for (Index piece = group * pieces / groups; piece < (group + 1) * pieces / groups; ++piece) {
        const Index first = piece * kRows, rows = std::min(kRows, d - first);
        const Mat U = U_.middleRows(first, rows);
        Mat scaled = U;
        // Each q scales the rows by Sigma once more: U^T (Sigma^q U).
        for (Index q = 0; q < most; ++q) {
          for (Index i = 0; i < rows; ++i) scaled.row(i) *= roots_[first + i] * roots_[first + i];
          sum.middleRows(q * p(), p()).noalias() += U.transpose() * scaled;
        }
      }
    });
    throw_if_requested(cancel);
    for (Index q = 1; q <= most; ++q) {
      Mat& moment = moments_[static_cast<std::size_t>(q)];
      moment = Mat::Zero(p(), p());
      for (const Mat& part : parts) moment += part.middleRows((q - 1) * p(), p());
    }
  }

  /// Runs the algebra on the tasks [first, first + tasks) and adds their gradients to the piece:
  /// the design adds H panel by panel, and grad_w is added task by task. The residuals do not
  /// contain the noise, so sigma^2 / 2 is added to the losses, (1).
  void run_panel(Piece& piece, Index first, TaskOutputs& outputs) const {
    const Index tasks = std::min<Index>(kWidth, n_ - first);
    heads_.panel(first, tasks, kWidth, piece.heads.data());
    Design design({moments_, piece.heads.data(), k_star_, k_, tasks, Design::blocks_of(method_),
                   outputs.want_losses},
                  piece.scratch);
    piece.algebra.gradient(design, w_.data(), outputs.want_losses);
    const double* omega = piece.algebra.grad_w();
    for (Index i = 0; i < piece.g_w.size(); ++i) {
      for (Index t = 0; t < tasks; ++t) piece.g_w[i] += omega[i * kWidth + t];
    }
    const double added[3] = {half_variance_, half_variance_, half_variance_};
    copy_panel_outputs(piece.algebra, piece.heads.data(), added, first, tasks, outputs);
  }

  Method method_;
  const double* roots_;  // (d,)
  Index k_star_, k_, n_;
  double half_variance_;
  std::uint64_t seed_, trial_;
  Key privacy_key_{};
  Mat U_;  // (d, p)  [B_star, B]
  const Mat& B_star_;
  Vec w_;
  Vec steps_;  // outer step sizes of w_
  FullSizeBlocks<BScalar> blocks_;
  Index round_ = 0;  // of the last gradient
  HeadSource heads_;
  std::vector<Mat> moments_;  // (p, p) each, from the first on
  bool has_moments_ = false;
  std::vector<Piece> pieces_;
  Mat H_;  // (blocks p, k)
  Vec grad_w_;
  Mat coordinates_;
  bool is_measured_ = false;
  int threads_ = 1;
};

}  // namespace

/// Estimates the cost of a round: a sweep over d for the moments, a sweep over d for the step, and
/// the algebra on coefficients for each task. About a quarter of the pairs of blocks in an inner
/// product are not zero.
RoundCost spectral_cost(const Method& method, const RoundSizes& sizes) {
  // Measured: kVector is the number of operations for each number of a vector, kCallsOfForm the
  // cost of searching for zero blocks in kernel calls, and kCached the number of bytes of B and
  // B_star that a cache holds.
  constexpr double kVector = 4;
  constexpr double kCallsOfForm = 2;
  constexpr double kCached = 1 << 22;
  const double d = static_cast<double>(sizes.rows), K = static_cast<double>(sizes.k);
  const double n = static_cast<double>(sizes.n);
  const double p = K + static_cast<double>(sizes.k_star), moments = Design::moments_of(method);
  const double blocks = Design::blocks_of(method), forms = blocks * blocks / 4;
  const AlgebraCounts counts = algebra_counts(method, sizes.losses);
  const double half = counts.moves / 2, chains = 3 * counts.forward + counts.moves;
  const Index panels = ceil_div(sizes.n, kWidth);
  const double tasks = static_cast<double>(panels) * kWidth;
  Work work = work_of_heads(sizes, tasks);
  work.operations = tasks * (2 * p * K * counts.back * (blocks - 1) +
                             2 * blocks * p * static_cast<double>(padded(sizes.k)) * counts.added +
                             2 * p * p * half * forms + kVector * blocks * p * chains) +
                    d * (2 * p * p * moments + K * p * blocks + kVector * p * moments);
  work.calls += static_cast<double>(panels) * (counts.back * (blocks - 1) + counts.added + chains +
                                               kCallsOfForm * half * forms) +
                d * blocks;
  if (method.multiplier > 0) work.numbers += d * K;
  // A new B that is large takes fresh memory in every round.
  if (8 * d * p > kCached) work.memory = kFreshMemory * 8 * d * K;
  // Blocks beside B are read and written once, and checked once.
  add_outer_step(method.step, d, K, work);
  const auto beside = static_cast<double>(method.step.blocks() - 1);
  return {2 * p * p * (d * moments + n), 8 * d * (p + beside * K), 0,
          std::max(pieces_of(panels), ceil_div(sizes.rows, kRows)), work};
}

template <class BScalar>
std::unique_ptr<ArraysEngine<BScalar>> make_spectral(const Method& method, const double* roots,
                                                     const Mat& B_star, Index k,
                                                     const ArraysStart<BScalar>& start,
                                                     HeadSource heads, double noise) {
  return std::make_unique<Spectral<BScalar>>(method, roots, B_star, k, start, std::move(heads),
                                             noise);
}

template std::unique_ptr<ArraysEngine<double>> make_spectral(const Method&, const double*,
                                                             const Mat&, Index,
                                                             const ArraysStart<double>&, HeadSource,
                                                             double);
template std::unique_ptr<ArraysEngine<float>> make_spectral(const Method&, const double*,
                                                            const Mat&, Index,
                                                            const ArraysStart<float>&, HeadSource,
                                                            double);

}  // namespace metaspan
