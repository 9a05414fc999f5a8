// The dual route, (24): rounds on fixed data at a cost that does not depend on d.
#include <algorithm>
#include <cmath>
#include <limits>

#include "copy_outputs.hpp"
#include "metaspan/base/error.hpp"
#include "metaspan/base/parallel.hpp"
#include "metaspan/engines/arrays.hpp"
#include "metaspan/geometry/coordinates.hpp"
#include "metaspan/sweeps/round_means.hpp"

namespace metaspan {
namespace {

constexpr Index kChunk = 256;         // rows of A at a time: they stay in the first cache
constexpr double kLeastPivot = 1e-6;  // of the largest: beyond, L has no digits that G had not

template <class XScalar, class BScalar>
class DualEngine final : public ArraysEngine<BScalar> {
 public:
  DualEngine(const Method& method, const ArraysData<XScalar>& data, const DualGram& gram, Index k,
             const ArraysStart<BScalar>& start, int threads, Cancel* cancel)
      : method_(method),
        data_(data),
        gram_(gram),
        k_(k),
        B_0_(start.B, start.B + data.tasks.d * k),
        w_(start.w),
        A_(Mat::Zero(gram.G.rows(), padded(k))),
        choice_(data.tasks.size(), start.n, start.seed, start.trial),
        taken_(choice_.take(0)),
        C_in_(static_cast<std::size_t>(start.n)),
        C_out_(static_cast<std::size_t>(start.n)) {
    if (start.A != nullptr) A_.leftCols(k) = ConstMat(start.A, A_.rows(), k);
    const auto sets = tasks().size();
    bool shared = false;
    for (Index i = 0; i < sets; ++i) shared = shared || tasks().shares(i);
    // First-order methods combine outer samples alone.
    active_ = method.has_inner_part() || shared ? 0 : gram.inner_rows;
    Z_0_ = products(B_0_.data(), k, threads, cancel);
    longest_ = std::sqrt(gram.G.diagonal().tail(gram.G.rows() - active_).maxCoeff());
    for (const BScalar b : B_0_) most_B_0_ = std::max(most_B_0_, std::abs(static_cast<double>(b)));
    for (Index i = 0; i < sets; ++i) {
      normalise_y(tasks().in(i), y_in_.emplace_back());
      normalise_y(tasks().out(i), y_out_.emplace_back());
    }
  }

  void gradient(Index round, const double*, TaskOutputs& outputs, int threads,
                Cancel* cancel) override {
    taken_ = choice_.take(round);
    if (flops() < kSerialFlops) threads = 1;
    const Index n = taken_.n;
    while (static_cast<int>(workspaces_.size()) < threads) {
      workspaces_.emplace_back(method_, k_, tasks().most_in(), tasks().most_out());
    }
    const bool losses = outputs.want_losses;
    RoundMeans means(found_, n, k_, losses);
    parallel_for(threads, n, cancel, [&](Index i, int thread) {
      Workspace& workspace = workspaces_[static_cast<std::size_t>(thread)];
      run_task(i, workspace, losses);
      means.take(workspace.algebra, i, 1, losses);
    });
    throw_if_requested(cancel);
    means.finish();
    copy_outputs(data_.heads, taken_, found_, outputs);
  }

  bool step() override {
    const Vec next_w = w_ - method_.beta * found_.w;
    // |X^T A| is at most the sum of |x_i| |A_i|.
    const double size = A_.cwiseAbs().sum() + size_of_step();
    const double most_B = most_B_0_ + longest_ * size;
    if (!(most_B < static_cast<double>(std::numeric_limits<BScalar>::max()))) return false;
    if (!next_w.allFinite()) return false;
    for (Index i = 0; i < taken_.n; ++i) {
      const auto task = static_cast<std::size_t>(taken_[i]);
      subtract(C_in_[static_cast<std::size_t>(i)], gram_.inner[task]);
      subtract(C_out_[static_cast<std::size_t>(i)], gram_.outer[task]);
    }
    w_ = next_w;
    is_measured_ = false;
    return true;
  }

  Shape shape() const override { return {data_.B_star.cols(), k_, k_}; }
  const Vec& head() const override { return w_; }
  double flops() const override {
    const double rows =
        static_cast<double>(tasks().most_in() + tasks().most_out()) * static_cast<double>(taken_.n);
    return 2 * rows * static_cast<double>((A_.rows() - active_) * k_);
  }
  const Mat& coordinates(int threads) override {
    if (!is_measured_) {
      if (basis_ == Basis::unknown) make_basis(threads);
      coordinates_ = basis_ == Basis::known ? in_basis(threads) : at_full_size(threads);
    }
    is_measured_ = true;
    return coordinates_;
  }

  Mat export_A() const override { return A_.leftCols(k_); }

  /// B_0 + X^T A.
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
                 const auto append = [&](const Samples<XScalar>& set, Index first) {
                   scaled.push_back(normalisation(set.m) * A_.middleRows(first, set.m));
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
  struct Workspace : DenseWorkspace {
    using DenseWorkspace::DenseWorkspace;
    Mat Z_in, Z_out;
  };
  enum class Basis { unknown, known, none };

  const TaskSet<XScalar>& tasks() const { return data_.tasks; }

  /// X B, normalised, for the samples of all sets: (N, padded(columns)).
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

  /// Z_0 + G A on some rows: (rows, padded(k)).
  void features(Index first, Index rows, Mat& Z) const {
    const Index N = gram_.G.rows(), width = padded(k_);
    Z = Z_0_.middleRows(first, rows);
    for (Index c = active_; c < N; c += kChunk) {
      kernels::product<true>(rows, std::min(kChunk, N - c), width, gram_.G.data() + first * N + c,
                             N, 1, A_.data() + c * width, Z.data());
    }
  }

  void run_task(Index i, Workspace& workspace, bool losses) {
    const Index task = taken_[i], N = gram_.G.rows();
    const auto at = static_cast<std::size_t>(task);
    const Index m_in = tasks().in(task).m, m_out = tasks().out(task).m;
    const Index in = gram_.inner[at], out = gram_.outer[at];
    features(in, m_in, workspace.Z_in);
    if (in != out) features(out, m_out, workspace.Z_out);
    Factors &C_in = C_in_[static_cast<std::size_t>(i)],
            &C_out = C_out_[static_cast<std::size_t>(i)];
    C_in.reset(m_in, k_, method_.has_inner_part() ? k_ : 0);  // all of C at once
    C_out.reset(m_out, k_, k_);
    const double* G = gram_.G.data();
    DenseDesign design(k_, method_.inner_steps,
                       {m_in, m_out, workspace.Z_in.data(), y_in_[at].data(),
                        in == out ? workspace.Z_in.data() : workspace.Z_out.data(),
                        y_out_[at].data(), G + in * N + in, N, G + out * N + in, N, &C_in, &C_out},
                       workspace.scratch);
    workspace.algebra.gradient(design, w_.data(), losses);
    const double share = method_.beta / static_cast<double>(taken_.n);
    C_in.scale(share);
    C_out.scale(share);
  }

  double size_of_step() const {
    double size = 0;
    for (const auto* side : {&C_in_, &C_out_}) {
      for (const Factors& C : *side) {
        if (C.whole()) size += ConstMat(C.matrix(), C.m(), padded(k_)).cwiseAbs().sum();
      }
    }
    return size;
  }

  void subtract(const Factors& C, Index first) {
    if (C.whole()) A_.middleRows(first, C.m()) -= ConstMat(C.matrix(), C.m(), padded(k_));
  }

  /// An orthonormal basis of B_star, what B_0 has off it, and the active samples: in it the samples
  /// are rows [P, Q, L], with L L^T their Gram matrix off the first two.
  void make_basis(int threads) {
    const Index d = tasks().d, N = gram_.G.rows() - active_, k_star = data_.B_star.cols();
    const Mat B = Eigen::Map<const MatrixOf<BScalar>>(B_0_.data(), d, k_).template cast<double>();
    const Coordinates start = to_coordinates(ConstMat(B.data(), d, k_),
                                             ConstMat(data_.B_star.data(), d, k_star), threads);
    M_0_ = start.M;
    R_0_ = start.R;
    P_ = samples_in(data_.B_star, threads);
    Q_ = samples_in(start.E, threads);
    Mat off = gram_.G.bottomRightCorner(N, N);
    off.noalias() -= P_ * P_.transpose();
    off.noalias() -= Q_ * Q_.transpose();
    const double most = off.diagonal().maxCoeff();
    const Eigen::LLT<Eigen::Ref<Mat>> factor(off);
    const bool regular =
        factor.info() == Eigen::Success && square(off.diagonal().minCoeff()) > kLeastPivot * most;
    basis_ = regular ? Basis::known : Basis::none;
    if (regular) L_t_ = off.triangularView<Eigen::Lower>().transpose();
  }

  static double square(double x) { return x * x; }

  /// The active samples along the columns of E (d, e), normalised: (N, e).
  Mat samples_in(const Mat& E, int threads) const {
    const Index N = gram_.G.rows() - active_;
    if (E.cols() == 0) return Mat(N, 0);
    return products(E.data(), E.cols(), threads, nullptr).block(active_, 0, N, E.cols());
  }

  Mat in_basis(int threads) const {
    const Index N = gram_.G.rows() - active_, e = R_0_.rows(), width = padded(k_);
    const Index k_star = data_.B_star.cols();
    const auto A = A_.bottomRows(N);
    Mat off(e + N, width);
    off.setZero();
    off.topLeftCorner(e, k_) = R_0_ + (Q_.transpose() * A).leftCols(k_);
    parallel_for(threads, ceil_div(N, kChunk), [&](Index block, int) {
      const Index first = block * kChunk, rows = std::min(kChunk, N - first);
      kernels::product<true>(rows, N - first, width, L_t_.data() + first * N + first, N, 1,
                             A_.data() + (active_ + first) * width,
                             off.data() + (e + first) * width);
    });
    const Mat R = off.leftCols(k_);
    Mat Z(k_star + k_, k_);
    Z.topRows(k_star) = M_0_ + (P_.transpose() * A).leftCols(k_);
    Z.bottomRows(k_) = square_r_factor(R, threads);
    return in_regular_frame(std::move(Z), k_star);
  }

  Mat at_full_size(int threads) const {
    MatrixOf<BScalar> B(tasks().d, k_);
    export_B(B.data(), threads);
    return measured(B.template cast<double>(), data_.B_star, threads);
  }

  Method method_;
  const ArraysData<XScalar>& data_;
  const DualGram& gram_;
  Index k_, active_ = 0;  // the first row of A that may be other than 0
  std::vector<BScalar> B_0_;
  double longest_ = 0, most_B_0_ = 0;  // length of an active sample, entry of B_0
  Vec w_;
  Mat A_, Z_0_;  // (N, padded(k))
  std::vector<Vec> y_in_, y_out_;
  RoundChoice choice_;
  TaskSelection taken_;
  std::vector<Factors> C_in_, C_out_;  // by task of the round, times beta / n
  RoundOutputs found_;
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

// Every storage of X with every storage of B.
template <class XScalar, class BScalar>
struct DualInstances {
  static constexpr auto make = &make_dual<XScalar, BScalar>;
};
template struct DualInstances<double, double>;
template struct DualInstances<double, float>;
template struct DualInstances<float, double>;
template struct DualInstances<float, float>;

}  // namespace metaspan
