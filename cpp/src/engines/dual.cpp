// The dual route, (24): rounds on fixed data at a cost that does not depend on d. The Gram matrix G
// of all samples is computed once, by make_dual_gram(). The representation is B = B_0 + X^T A with
// A (N, k), and a round changes only rows of A.
#include <algorithm>
#include <cmath>
#include <limits>

#include "copy_outputs.hpp"
#include "metaspan/algebra/outer_step.hpp"
#include "metaspan/base/error.hpp"
#include "metaspan/base/parallel.hpp"
#include "metaspan/engines/arrays.hpp"
#include "metaspan/geometry/coordinates.hpp"
#include "metaspan/sweeps/round_means.hpp"

// After Eigen's settings in base.hpp.
#include <Eigen/Cholesky>

namespace metaspan {
namespace {

/// Rows of A that a product takes at a time, few enough to stay in the L1 cache.
constexpr Index kChunk = 256;

/// The least acceptable square of a pivot of L, relative to the largest diagonal entry of L L^T. If
/// the square of a pivot is smaller, the subtraction that yields L L^T has cancelled too many
/// digits of G.
constexpr double kLeastPivot = 1e-6;

/// Training by (24). The samples of all tasks form one matrix, (N, d): first the inner sets, then
/// the outer sets that differ from their inner ones. Every set is multiplied by its 1 / sqrt(m).
template <class XScalar, class BScalar>
class DualEngine final : public ArraysEngine<BScalar> {
 public:
  /// Computes Z_0 = X B_0, (N, k), in one sweep, and starts at A = 0 or at the A of a checkpoint.
  /// Unless a task shares its samples between both loops, the gradients of first-order methods
  /// combine no inner samples, (8), and the rows of A that belong to inner samples stay zero.
  /// `active_` is the first row that may be nonzero, and products skip the rows before it.
  DualEngine(const Method& method, const ArraysData<XScalar>& data, const DualGram& gram, Index k,
             const ArraysStart<BScalar>& start, int threads, Cancel* cancel)
      : method_(method),
        data_(data),
        gram_(gram),
        shard_(data.tasks.shard()),
        k_(k),
        B_0_(start.B, start.B + data.tasks.d * k),
        w_(start.w),
        steps_(outer_steps(method, k)),
        w_blocks_(start.w.size() + start.w_memory.size()),
        A_(Mat::Zero(gram.G.rows(), padded(k))),
        A_memory_(static_cast<std::size_t>(method.step.blocks() - 1), A_),
        choice_(data.tasks.size(), start.n, start.seed, start.trial),
        taken_(choice_.take(0)),
        C_in_(static_cast<std::size_t>(start.n)),
        C_out_(static_cast<std::size_t>(start.n)) {
    // The columns of A are padded to whole registers with zeros, which no step changes.
    if (start.A != nullptr) A_.leftCols(k) = ConstMat(start.A, A_.rows(), k);
    for (std::size_t i = 0; start.A_memory != nullptr && i < A_memory_.size(); ++i) {
      A_memory_[i].leftCols(k) =
          ConstMat(start.A_memory + static_cast<Index>(i) * A_.rows() * k, A_.rows(), k);
    }
    w_blocks_ << start.w, start.w_memory;
    report_head();
    const auto sets = tasks().size();
    bool shared = false;
    for (Index i = 0; i < sets; ++i) shared = shared || tasks().shares(i);
    // The gradients of first-order methods are combinations of outer samples only.
    active_ = method.has_inner_part() || shared ? 0 : gram.inner_rows;
    Z_0_ = products(B_0_.data(), k, threads, cancel);
    longest_ = std::sqrt(gram.G.diagonal().tail(gram.G.rows() - active_).maxCoeff());
    for (const BScalar b : B_0_) most_B_0_ = std::max(most_B_0_, std::abs(static_cast<double>(b)));
    most_B_0_ = shard_.largest(most_B_0_);
    for (Index i = 0; i < sets; ++i) {
      normalise_y(tasks().in(i), y_in_.emplace_back());
      normalise_y(tasks().out(i), y_out_.emplace_back());
    }
  }

  /// Runs the tasks of the round, each on one thread with its own workspace. Results are stored by
  /// task and averaged in the order of the tasks. The factors C are kept for step(), multiplied by
  /// beta and the task's share of the mean.
  void gradient(Index round, const double*, TaskOutputs& outputs, int threads,
                Cancel* cancel) override {
    round_ = round;
    taken_ = choice_.take(round);
    if (flops() < kSerialFlops) threads = 1;
    const Index n = taken_.n;
    while (static_cast<int>(workspaces_.size()) < threads) {
      workspaces_.emplace_back(method_, k_, tasks().most_in(), tasks().most_out());
    }
    const bool losses = outputs.want_losses;
    RoundMeans means(round_outputs_, n, k_, w_.size(), losses, weights_of(tasks(), taken_));
    parallel_for(threads, n, cancel, [&](Index i, int thread) {
      Workspace& workspace = workspaces_[static_cast<std::size_t>(thread)];
      run_task(i, workspace, losses);
      means.take(workspace.algebra, i, 1, losses);
    });
    throw_if_requested(cancel);
    means.finish();
    copy_outputs(data_.heads, taken_, round_outputs_, outputs);
  }

  /// Steps A <- A - beta / n C on the rows of the round's tasks: (10) adds multiples of samples to
  /// B, and A holds the multiples. max |B_0| + max |x_i| sum |A| is a bound on the entries of B. If
  /// this bound exceeds the range of B's type, the step is refused, which detects divergence
  /// without forming B. Processes that share a run compute the same step from numbers that all of
  /// them have.
  bool step(double factor) override {
    if (!method_.step.is_plain()) return step_with_memory(factor);
    const Vec next_w = w_ - (factor * steps_).cwiseProduct(round_outputs_.w);
    // |X^T A| is at most the sum of |x_i| |A_i|.
    const double size = A_.cwiseAbs().sum() + factor * size_of_step();
    const double most_B = most_B_0_ + longest_ * size;
    if (!(most_B < static_cast<double>(std::numeric_limits<BScalar>::max()))) return false;
    if (!next_w.allFinite()) return false;
    for (Index i = 0; i < taken_.n; ++i) {
      const auto task = static_cast<std::size_t>(taken_[i]);
      subtract(C_in_[static_cast<std::size_t>(i)], gram_.inner[task], factor, A_);
      subtract(C_out_[static_cast<std::size_t>(i)], gram_.outer[task], factor, A_);
    }
    w_ = next_w;
    is_measured_ = false;
    return true;
  }

  Shape shape() const override { return {data_.B_star.cols(), k_, k_}; }
  Shape measured_shape() const override {
    const Index columns = method_.columns_of_B(k_);
    return {data_.B_star.cols(), columns, columns};
  }
  const Vec& head() const override { return method_.step.is_plain() ? w_ : reported_w_; }
  Vec export_heads() const override { return method_.step.is_plain() ? w_ : w_blocks_; }

  /// Returns the operations of Z_0 + G A for the tasks of a round, which dominate the cost of the
  /// round.
  double flops() const override {
    const double rows =
        static_cast<double>(tasks().most_in() + tasks().most_out()) * static_cast<double>(taken_.n);
    return 2 * rows * static_cast<double>((A_.rows() - active_) * k_);
  }

  /// Returns the coordinates of B_t for the meter, kept until the next step. They refer to the
  /// basis of (24), which is computed on first use. If G is too close to singular for that basis,
  /// they are computed from B at full size.
  const Mat& coordinates(int threads) override {
    if (!is_measured_) {
      if (basis_ == Basis::unknown) make_basis(threads);
      coordinates_ = basis_ == Basis::known ? in_basis(threads) : at_full_size(threads);
    }
    is_measured_ = true;
    return coordinates_;
  }

  Mat export_A() const override { return A_.leftCols(k_); }
  Mat export_A_memory() const override {
    Mat all(static_cast<Index>(A_memory_.size()) * A_.rows(), k_);
    for (std::size_t i = 0; i < A_memory_.size(); ++i) {
      all.middleRows(static_cast<Index>(i) * A_.rows(), A_.rows()) = A_memory_[i].leftCols(k_);
    }
    return all;
  }

  /// Computes B = B_0 + X^T A at full size, (d, k), by the second sweep, one block of a store after
  /// another. Each block adds to the result of the blocks before it. The sweep uses X unscaled, so
  /// A is multiplied by 1 / sqrt(m).
  void export_B(BScalar* out, int threads) const override {
    const TaskSelection every{tasks().size()};
    const auto blocks = blocks_of<BScalar>(tasks(), every, k_, every.n);
    each_block(tasks(), every, blocks,
               [&](const auto& held, const TaskSelection& now, const Block& block) {
                 std::vector<Factors> factors;
                 std::vector<Mat> scaled;
                 std::vector<Part<XScalar>> parts;
                 factors.reserve(2 * static_cast<std::size_t>(block.count));
                 scaled.reserve(2 * static_cast<std::size_t>(block.count));
                 // The rows of A that belong to a set serve as its factor C, which the sweep reads
                 // in place.
                 const auto append = [&](const Samples<XScalar>& set, Index first) {
                   scaled.push_back(normalisation(set.m) * reported_A().middleRows(first, set.m));
                   factors.emplace_back().borrow(scaled.back().data(), set.m, k_);
                   parts.push_back({&set, &factors.back()});
                 };
                 for (Index i = 0; i < block.count; ++i) {
                   const auto at = static_cast<std::size_t>(block.first + i);
                   if (active_ == 0) append(held.in(now[i]), gram_.inner[at]);
                   if (!held.shares(now[i])) append(held.out(now[i]), gram_.outer[at]);
                 }
                 second_sweep<XScalar, BScalar>(parts, tasks().d, k_,
                                                block.first > 0 ? out : B_0_.data(), out, threads,
                                                nullptr);
               });
  }

 private:
  /// A thread's memory: the algebra of one task and its Z and Z'.
  struct Workspace : DenseWorkspace {
    using DenseWorkspace::DenseWorkspace;
    Mat Z_in, Z_out;
  };
  enum class Basis { unknown, known, none };

  const TaskSet<XScalar>& tasks() const { return data_.tasks; }

  /// X B, normalised, for the samples of all sets, (N, padded(columns)), in the order of the rows
  /// of G. If both loops of a task share a set, the second assignment repeats the first.
  template <class Scalar>
  Mat products(const Scalar* B, Index columns, int threads, Cancel* cancel) const {
    const Index count = tasks().size();
    const auto blocks = features_of_all<XScalar, Scalar>(B, columns, tasks(), threads, cancel);
    Mat Z(gram_.G.rows(), padded(columns));
    for (Index i = 0; i < count; ++i) {
      const auto at = static_cast<std::size_t>(i);
      Z.middleRows(gram_.inner[at], tasks().in(i).m) =
          normalisation(tasks().in(i).m) * blocks[at].Z_in;
      Z.middleRows(gram_.outer[at], tasks().out(i).m) =
          normalisation(tasks().out(i).m) * blocks[at].Z_out;
    }
    return Z;
  }

  /// Computes Z_0 + G A on the rows [first, first + rows), which is Z of (5) at B_t. The sum over
  /// the samples starts at sample `active_` and adds one chunk of samples after another.
  void features(Index first, Index rows, Mat& Z) const {
    const Index N = gram_.G.rows(), width = padded(k_);
    Z = Z_0_.middleRows(first, rows);
    for (Index c = active_; c < N; c += kChunk) {
      kernels::product<true>(rows, std::min(kChunk, N - c), width, gram_.G.data() + first * N + c,
                             N, 1, A_.data() + c * width, Z.data());
    }
  }

  /// Runs the algebra (5)-(10) on one task: Z is computed from A, while K and K' are read in place
  /// as blocks of G. C and C' are collected as matrices, (m, k), and multiplied by beta and
  /// the task's share of the mean, (47), because step() subtracts them from rows of A.
  void run_task(Index i, Workspace& workspace, bool losses) {
    const Index task = taken_[i], N = gram_.G.rows();
    const auto at = static_cast<std::size_t>(task);
    const Index m_in = tasks().in(task).m, m_out = tasks().out(task).m;
    const Index in = gram_.inner[at], out = gram_.outer[at];
    features(in, m_in, workspace.Z_in);
    if (in != out && (method_.has_outer_part() || losses)) features(out, m_out, workspace.Z_out);
    Factors &C_in = C_in_[static_cast<std::size_t>(i)],
            &C_out = C_out_[static_cast<std::size_t>(i)];
    // C as a whole matrix, not as terms.
    C_in.reset(m_in, k_, method_.has_inner_part() ? k_ : 0);
    C_out.reset(m_out, k_, method_.has_outer_part() ? k_ : 0);
    const double* G = gram_.G.data();
    DenseDesign design(k_, method_.inner_steps,
                       {m_in, m_out, workspace.Z_in.data(), y_in_[at].data(),
                        in == out ? workspace.Z_in.data() : workspace.Z_out.data(),
                        y_out_[at].data(), G + in * N + in, N, G + out * N + in, N, &C_in, &C_out,
                        G + out * N + out, N, method_.blocks()},
                       workspace.scratch);
    workspace.algebra.gradient(design, w_.data(), losses);
    const double share = method_.beta * tasks().weight(task) / static_cast<double>(taken_.n);
    C_in.scale(share);
    C_out.scale(share);
  }

  /// The sum of |C| over the factors of the round, which bounds the change of sum |A| in step().
  double size_of_step() const {
    double size = 0;
    for (const auto* side : {&C_in_, &C_out_}) {
      for (const Factors& C : *side) {
        if (C.whole()) size += ConstMat(C.matrix(), C.m(), padded(k_)).cwiseAbs().sum();
      }
    }
    return size;
  }

  /// Subtracts factor * C from the rows of A that belong to a task. If C has no terms it has no
  /// matrix, and A stays as it is.
  void subtract(const Factors& C, Index first, double factor, Mat& A) const {
    if (C.whole()) A.middleRows(first, C.m()) -= factor * ConstMat(C.matrix(), C.m(), padded(k_));
  }

  /// Takes the step (28) on A and the blocks beside it. Block j is s_j B_0 + X^T A_j, with s_j = 0
  /// for the velocity and 1 for all others, which combine iterates with weights of sum 1. Every
  /// block must keep within the bound on the entries of B that step() checks.
  bool step_with_memory(double factor) {
    const OuterUpdate update = whole_step(method_.step, round_, factor);
    std::vector<Mat> next(A_memory_.size() + 1, Mat::Zero(A_.rows(), A_.cols()));
    for (std::size_t j = 0; j < next.size(); ++j) {
      const auto column = static_cast<Index>(j);
      for (std::size_t i = 0; i < next.size(); ++i) {
        const double share = update.L(static_cast<Index>(i), column);
        if (share != 0) next[j] += share * (i == 0 ? A_ : A_memory_[i - 1]);
      }
      for (Index i = 0; i < taken_.n && update.of_gradient(column) != 0; ++i) {
        const auto at = static_cast<std::size_t>(i), task = static_cast<std::size_t>(taken_[i]);
        subtract(C_in_[at], gram_.inner[task], update.of_gradient(column), next[j]);
        subtract(C_out_[at], gram_.outer[task], update.of_gradient(column), next[j]);
      }
      const double most_B = most_B_0_ + longest_ * next[j].cwiseAbs().sum();
      if (!(most_B < static_cast<double>(std::numeric_limits<BScalar>::max()))) return false;
    }
    Vec next_w = w_blocks_;
    step_head(method_.step, round_, factor, steps_, round_outputs_.w, next_w);
    if (!next_w.allFinite()) return false;
    A_ = std::move(next[0]);
    std::move(next.begin() + 1, next.end(), A_memory_.begin());
    w_blocks_ = std::move(next_w);
    w_ = w_blocks_.head(w_.size());
    report_head();
    is_measured_ = false;
    return true;
  }

  /// The A of the block that is the result.
  const Mat& reported_A() const {
    const Index at = method_.step.reported();
    return at == 0 ? A_ : A_memory_[static_cast<std::size_t>(at - 1)];
  }
  void report_head() {
    reported_w_ = w_blocks_.segment(method_.step.reported() * w_.size(), w_.size());
  }

  /// Computes the basis of (24): the columns of B_star, the part of B_0 orthogonal to them, and the
  /// part of the active samples orthogonal to both. In this basis the samples are the rows [P, Q,
  /// L], with L the Cholesky factor of G - P P^T - Q Q^T. The basis is computed once, since B_t
  /// stays in its span in every round. If the pivots of L are too small relative to that matrix,
  /// cancellation has destroyed them and the basis is not used.
  void make_basis(int threads) {
    const Index d = tasks().d, N = gram_.G.rows() - active_, k_star = data_.B_star.cols();
    const Mat B = Eigen::Map<const MatrixOf<BScalar>>(B_0_.data(), d, k_).template cast<double>();
    const Coordinates start = to_coordinates(
        ConstMat(B.data(), d, k_), ConstMat(data_.B_star.data(), d, k_star), threads, &shard_);
    M_0_ = start.M;
    R_0_ = start.R;
    P_ = samples_in(data_.B_star, threads);
    Q_ = samples_in(start.E, threads);
    Mat off = gram_.G.bottomRightCorner(N, N);
    off.noalias() -= P_ * P_.transpose();
    off.noalias() -= Q_ * Q_.transpose();
    const double most = off.diagonal().maxCoeff();
    const Eigen::LLT<Eigen::Ref<Mat>> factor(off);
    // `most` is computed before the factorisation, which overwrites the lower triangle of `off`
    // with L.
    const bool regular =
        factor.info() == Eigen::Success && square(off.diagonal().minCoeff()) > kLeastPivot * most;
    basis_ = regular ? Basis::known : Basis::none;
    if (regular) L_t_ = off.triangularView<Eigen::Lower>().transpose();
  }

  static double square(double x) { return x * x; }

  /// Returns the normalised coordinates (N, e) of the active samples along the columns of E (d, e).
  Mat samples_in(const Mat& E, int threads) const {
    const Index N = gram_.G.rows() - active_;
    if (E.cols() == 0) return Mat(N, 0);
    return products(E.data(), E.cols(), threads, nullptr).block(active_, 0, N, E.cols());
  }

  /// Returns [M; R] of B_t in the basis of (24). M is M_0 + P^T A. R is, up to an orthogonal factor
  /// from the left, the R-factor of [R_0 + Q^T A; L^T A] with k rows. L^T is upper triangular, so a
  /// chunk of rows of L^T A starting at row i needs no sample before sample i. Chunks are disjoint
  /// rows of the output, so threads may share them.
  Mat in_basis(int threads) const {
    const Index N = gram_.G.rows() - active_, e = R_0_.rows(), width = padded(k_);
    const Index k_star = data_.B_star.cols();
    const Mat& reported = reported_A();
    const auto A = reported.bottomRows(N);
    Mat off(e + N, width);
    off.setZero();
    off.topLeftCorner(e, k_) = R_0_ + (Q_.transpose() * A).leftCols(k_);
    parallel_for(threads, ceil_div(N, kChunk), [&](Index block, int) {
      const Index first = block * kChunk, rows = std::min(kChunk, N - first);
      kernels::product<true>(rows, N - first, width, L_t_.data() + first * N + first, N, 1,
                             reported.data() + (active_ + first) * width,
                             off.data() + (e + first) * width);
    });
    // The records describe the last columns, those of B.
    const Index columns = method_.columns_of_B(k_), first_column = k_ - columns;
    const Mat R = off.middleCols(first_column, columns);
    Mat Z(k_star + columns, columns);
    Z.topRows(k_star) =
        M_0_.rightCols(columns) + (P_.transpose() * A).middleCols(first_column, columns);
    Z.bottomRows(columns) = square_r_factor(R, threads);
    return in_regular_frame(std::move(Z), k_star);
  }

  /// Computes the coordinates from B at full size, which takes a sweep over the data.
  Mat at_full_size(int threads) const {
    return measured(columns_in_double(threads), data_.B_star, threads, &shard_);
  }

  /// Returns the columns of B that the records describe, in double. All of B is freed before the
  /// coordinates are computed, so that no more than two copies of B exist at a time.
  Mat columns_in_double(int threads) const {
    MatrixOf<BScalar> B(tasks().d, k_);
    export_B(B.data(), threads);
    return B.rightCols(method_.columns_of_B(k_)).template cast<double>();
  }

  Method method_;
  const ArraysData<XScalar>& data_;
  const DualGram& gram_;
  Shard shard_;
  Index k_, active_ = 0;  // the first row of A that may be other than 0
  std::vector<BScalar> B_0_;
  double longest_ = 0, most_B_0_ = 0;  // largest norm of an active sample, largest |entry| of B_0
  Vec w_;
  Vec steps_;                  // outer step sizes of w_
  Vec w_blocks_, reported_w_;  // w and the blocks beside it; the block that is the result
  Mat A_, Z_0_;                // (N, padded(k))
  std::vector<Mat> A_memory_;  // the blocks beside A, (28)
  Index round_ = 0;            // of the last gradient
  std::vector<Vec> y_in_, y_out_;
  RoundChoice choice_;
  TaskSelection taken_;
  std::vector<Factors> C_in_, C_out_;  // by task of the round, times beta and its share
  RoundOutputs round_outputs_;
  std::vector<Workspace> workspaces_;
  Basis basis_ = Basis::unknown;
  Mat M_0_, R_0_;    // B_0 in the basis
  Mat P_, Q_, L_t_;  // the samples in the basis
  Mat coordinates_;
  bool is_measured_ = false;
};

}  // namespace

template <class XScalar, class BScalar>
std::unique_ptr<ArraysEngine<BScalar>> make_dual(const Method& method,
                                                 const ArraysData<XScalar>& data,
                                                 const DualGram& gram, Index k,
                                                 const ArraysStart<BScalar>& start, int threads,
                                                 Cancel* cancel) {
  return std::make_unique<DualEngine<XScalar, BScalar>>(method, data, gram, k, start, threads,
                                                        cancel);
}

// Instantiations for every type of X with every type of B.
template <class XScalar, class BScalar>
struct DualInstances {
  static constexpr auto make = &make_dual<XScalar, BScalar>;
};
template struct DualInstances<double, double>;
template struct DualInstances<double, float>;
template struct DualInstances<float, double>;
template struct DualInstances<float, float>;

}  // namespace metaspan
