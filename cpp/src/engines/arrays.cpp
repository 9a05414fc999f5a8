#include "metaspan/engines/arrays.hpp"

#include <algorithm>
#include <cmath>

#include "copy_outputs.hpp"
#include "full_size_blocks.hpp"
#include "metaspan/algebra/dense_design.hpp"
#include "metaspan/algebra/task_algebra.hpp"
#include "metaspan/base/error.hpp"
#include "metaspan/base/huge_pages.hpp"
#include "metaspan/base/parallel.hpp"
#include "metaspan/engines/agree.hpp"
#include "metaspan/geometry/coordinates.hpp"
#include "metaspan/sweeps/route_costs.hpp"

namespace metaspan {
namespace {

/// Numbers of B that a thread steps at a time.
constexpr Index kPiece = 1 << 14;
// Relative costs of adaptation to sparse samples. The unit is the cost of one number of B^T in a
// product with B^T. kVectorEntry is the cost of an entry of X in X u and X^T r, kVectors that of a
// number of u or of X^T r, and kEntry the overhead of an entry in X B, where each of the k columns
// costs one unit more.
constexpr Index kVectorEntry = 8;
constexpr Index kVectors = 2;
constexpr Index kEntry = 4;

/// Returns how many numbers a row of X has: d or, for sparse sets, the mean number of entries.
template <class XScalar>
double mean_length(const TaskSet<XScalar>& tasks) {
  if (!tasks.is_sparse()) return static_cast<double>(tasks.d);
  Index entries = 0, rows = 0;
  for (const auto* sets : {&tasks.inner, &tasks.outer}) {
    for (const auto& set : *sets) {
      entries += set.entries();
      rows += set.m;
    }
  }
  return static_cast<double>(entries) / static_cast<double>(std::max<Index>(rows, 1));
}

/// Training on the user's own data, (11), or on samples that are generated during the sweeps, (12).
/// A round computes the gradient by a Route and takes a step on B (d, k), which keeps the user's
/// type. In a sharded run d counts the columns of this process.
template <class XScalar, class BScalar>
class SweepEngine final : public ArraysEngine<BScalar> {
 public:
  /// Copies the start, so that the caller's arrays do not change.
  SweepEngine(RouteKind route, const Method& method, const ArraysData<XScalar>& data, Index k,
              const ArraysStart<BScalar>& start, BeforeRound before)
      : method_(method),
        data_(data),
        shard_(data.tasks.shard()),
        before_(std::move(before)),
        k_(k),
        size_(data.tasks.d * k),
        length_(mean_length(data.tasks)),
        w_(start.w),
        steps_(outer_steps(method, k)),
        spread_(method.noise_of_mean(start.n)),
        seed_(start.seed),
        trial_(start.trial),
        blocks_(method, shard_, k, start),
        choice_(data.tasks.size(), start.n, start.seed, start.trial),
        route_(make_route<XScalar, BScalar>(route, method, data.tasks, k)) {
    reserve_huge(B_, size_);
    reserve_huge(grad_B_, size_);
    B_.assign(start.B, start.B + size_);
    grad_B_.resize(static_cast<std::size_t>(size_));
  }

  /// Takes the round's tasks, calls `before`, and lets the route compute grad_B and grad_w, (10).
  /// Sampled tasks draw their samples in `before`. The noise of (30) is added to the mean gradient
  /// over the tasks. step() uses as many threads as the last gradient().
  void gradient(Index round, const double* heads, TaskOutputs& tasks, int threads,
                Cancel* cancel) override {
    run_tasks(round, heads, tasks, grad_B_.data(), threads, cancel);
    if (spread_ > 0) add_noise(round);
  }

  void outputs(Index round, const double* heads, TaskOutputs& tasks, int threads,
               Cancel* cancel) override {
    run_tasks(round, heads, tasks, nullptr, threads, cancel);
  }

  /// Steps B <- B - beta grad_B and w <- w - beta grad_w, (3). The pieces into which B is cut
  /// depend on its size only. All of B is checked before any piece changes, so a failed step leaves
  /// the state unchanged without a second copy of B.
  bool step(double factor) override {
    if (!method_.step.is_plain()) return step_with_memory(factor);
    const auto beta = static_cast<BScalar>(factor * method_.beta);
    // The pieces are disjoint, and the step of an entry does not depend on other entries.
    const auto each = [&](auto&& body) {
      parallel_for(threads_, ceil_div(size_, kPiece), [&](Index piece, int) {
        for (Index i = piece * kPiece; i < std::min(size_, (piece + 1) * kPiece); ++i) body(i);
      });
    };
    const Vec next_w = w_ - (factor * steps_).cwiseProduct(out_.w);
    if (!agree(shard_, next_w.allFinite() && next_is_finite(beta))) return false;
    each([&](Index i) {
      B_[static_cast<std::size_t>(i)] -= beta * grad_B_[static_cast<std::size_t>(i)];
    });
    w_ = next_w;
    is_measured_ = false;
    return true;
  }

  Shape shape() const override { return {data_.B_star.cols(), k_, k_}; }
  Shape measured_shape() const override {
    const Index columns = method_.columns_of_B(k_);
    return {data_.B_star.cols(), columns, columns};
  }

  /// Returns the coordinates of B for the meter, computed in double and kept until the next step.
  /// The columns that the records describe are copied once, as measured_bytes() counts.
  const Mat& coordinates(int threads) override {
    if (!is_measured_) {
      const Eigen::Map<const MatrixOf<BScalar>> B(blocks_.reported(B_.data()), data_.tasks.d, k_);
      coordinates_ = measured(B.rightCols(method_.columns_of_B(k_)).template cast<double>(),
                              data_.B_star, threads, &shard_);
    }
    is_measured_ = true;
    return coordinates_;
  }
  const Vec& head() const override {
    return method_.step.is_plain() ? w_ : blocks_.reported_head();
  }
  Vec export_heads() const override { return method_.step.is_plain() ? w_ : blocks_.heads(); }
  void export_memory(BScalar* out) const override { blocks_.export_memory(out); }

  /// Returns an estimate of a round's operations, the same for the Gram and the vector route. The
  /// estimate decides whether a round is worth more than one thread.
  double flops() const override {
    const TaskSet<XScalar>& tasks = data_.tasks;
    return flops_of_round(
        method_, length_, static_cast<double>(choice_.n()), static_cast<double>(tasks.most_in()),
        static_cast<double>(tasks.most_out()), tasks.is_sparse() ? static_cast<double>(size_) : 0);
  }
  void export_B(BScalar* out, int) const override { std::copy(B_.begin(), B_.end(), out); }

 private:
  /// Computes the outputs of the round's tasks and, unless grad_B is null, the gradient.
  void run_tasks(Index round, const double* heads, TaskOutputs& tasks, BScalar* grad_B, int threads,
                 Cancel* cancel) {
    round_ = round;
    if (before_) before_(round, heads);
    const TaskSelection taken = choice_.take(round);
    threads_ = flops() < kSerialFlops ? 1 : threads;
    route_->gradient(B_.data(), w_.data(), taken, tasks.want_losses, grad_B, out_, threads_,
                     cancel);
    copy_outputs(data_.heads, taken, out_, tasks);
  }

  /// Adds N(0, spread^2) to every entry of grad_B and of grad_w, (30). Every normal is a function
  /// of the seed, the trial, the round and the position of its entry in the B of all processes.
  void add_noise(Index round) {
    const Key key = derive_key(seed_, trial_, static_cast<std::uint64_t>(round), Stream::privacy);
    const Index before = shard_.first() * k_;
    parallel_for(threads_, ceil_div(size_, kPiece), [&](Index piece, int) {
      const Index begin = piece * kPiece;
      add_normals(key, spread_, before + begin, std::min(kPiece, size_ - begin),
                  grad_B_.data() + begin);
    });
    add_head_noise(key, spread_, out_.w);
  }

  /// Returns whether B - beta grad_B is finite in the type of B. The test multiplies each number by
  /// zero, which gives zero for finite numbers only. The compiler vectorises this test.
  bool next_is_finite(BScalar beta) const {
    std::vector<char> finite(static_cast<std::size_t>(ceil_div(size_, kPiece)));
    parallel_for(threads_, ceil_div(size_, kPiece), [&](Index piece, int) {
      const Index begin = piece * kPiece, count = std::min(kPiece, size_ - begin);
      const Eigen::Map<const Eigen::Array<BScalar, Eigen::Dynamic, 1>> B(B_.data() + begin, count),
          grad(grad_B_.data() + begin, count);
      finite[static_cast<std::size_t>(piece)] =
          ((B - beta * grad) * BScalar{0} == BScalar{0}).all();
    });
    return std::all_of(finite.begin(), finite.end(), [](char yes) { return yes != 0; });
  }

  /// Takes the step (28) on B and the blocks beside it.
  bool step_with_memory(double factor) {
    if (!blocks_.step(round_, factor, B_.data(), grad_B_.data(), out_.w, threads_)) return false;
    w_ = blocks_.head();
    is_measured_ = false;
    return true;
  }

  Method method_;
  const ArraysData<XScalar>& data_;
  Shard shard_;
  BeforeRound before_;
  Index k_, size_;
  double length_;                    // of a row, in numbers
  std::vector<BScalar> B_, grad_B_;  // (d, k)
  Vec w_;
  Vec steps_;      // outer step sizes of w_
  double spread_;  // standard deviation of the noise (30)
  std::uint64_t seed_, trial_;
  FullSizeBlocks<BScalar> blocks_;
  Index round_ = 0;  // of the last gradient
  RoundChoice choice_;
  std::unique_ptr<Route<XScalar, BScalar>> route_;
  RoundOutputs out_;
  Mat coordinates_;
  bool is_measured_ = false;
  int threads_ = 1;  // number of threads of the last call of gradient()
};

/// Runs the inner loop (2) of one task on the products of the first sweep. Writes w_J (k,), and
/// writes to C_in the factor C of the step B_J - B = X^T C = -alpha sum_l X^T r_l w_l^T. The
/// products are first scaled to the units of the algebra, as (5) and *Scaling* describe. C_in is
/// multiplied by 1 / sqrt(m_in) because the second sweep uses X unscaled.
template <class XScalar>
void adapt_task(const Method& method, const double* w, Index k, const Samples<XScalar>& in,
                TaskProducts& products, double* w_J) {
  const Index m = in.m;
  const double scale = normalisation(m);
  products.Z_in *= scale;
  products.K *= scale * scale;
  Vec y;
  normalise_y(in, y);
  // Adaptation has no outer set: the design gets null pointers for it, which the inner loop never
  // reads.
  DenseDesign::Scratch scratch(method, k, m, 0);
  DenseDesign design(k, method.inner_steps,
                     {m, 0, products.Z_in.data(), y.data(), nullptr, nullptr, products.K.data(), m,
                      nullptr, 0, nullptr, nullptr, nullptr, 0, method.blocks()},
                     scratch);
  TaskAlgebra<DenseDesign> algebra(method, k, m, 0);
  algebra.adapt(design, w);
  std::copy_n(algebra.adapted(), k, w_J);
  // For ANIL B_J = B, and C_in has no terms.
  products.C_in.reset(m, k, method.adapt_B ? method.inner_steps : 0);
  for (int l = 0; method.adapt_B && l < method.inner_steps; ++l) {
    products.C_in.add(algebra.residual(l), algebra.head(l));
  }
  products.C_in.scale(-algebra.step_size() * scale);
}

/// Decides whether tasks adapt faster by the vector route than by X B. X B costs k operations for
/// each entry of X; the vector route costs a few operations for each entry and inner step. On dense
/// data the vector route is faster for a single inner step, at every size measured. On sparse data
/// each step also multiplies vectors of length d by B^T, which dominates the cost where tasks have
/// few entries. Methods that adapt B need K, and methods with a solved head need X B, so neither
/// adapts by the vector route.
template <class XScalar>
bool by_vectors(const Method& method, const TaskSet<XScalar>& tasks, Index k) {
  if (method.adapt_B || method.solves_head) return false;
  if (!tasks.is_sparse()) return method.inner_steps == 1;
  if (tasks.shared != nullptr) return false;  // no process knows the entries of the others
  Index entries = 0;
  for (const auto& set : tasks.inner) entries += set.entries();
  const Index J = method.inner_steps, of_B = tasks.size() * (k + kVectors) * tasks.d;
  // The first step takes one product with B fewer, since B w is computed once for all tasks.
  return J * kVectorEntry * entries + (2 * J - 1) * of_B < (kEntry + k) * entries;
}

}  // namespace

template <class XScalar, class BScalar>
std::unique_ptr<ArraysEngine<BScalar>> make_arrays(RouteKind route, const Method& method,
                                                   const ArraysData<XScalar>& data, Index k,
                                                   const ArraysStart<BScalar>& start,
                                                   BeforeRound before) {
  return std::make_unique<SweepEngine<XScalar, BScalar>>(route, method, data, k, start,
                                                         std::move(before));
}

/// Adapts all tasks, one block of a store after another. The first sweep computes X B and K, and
/// the algebra runs task by task. If B_J (n, d, k) is wanted, the second sweep adds X^T C to B for
/// each task. Tasks are independent, so threads may take them in any order.
template <class XScalar, class BScalar>
void adapt_on_arrays(const Method& method, const BScalar* B, const double* w, Index k,
                     const TaskSet<XScalar>& tasks, double* w_J, BScalar* B_J, int threads,
                     Cancel* cancel) {
  const Index d = tasks.d;
  // The first inner step moves the head in the same way in MAML and in ANIL, (2).
  Method heads = method;
  if (method.inner_steps == 1 && B_J == nullptr) heads.adapt_B = false;
  // The inner loop of ANIL does not change B, so every B_J is a copy of B.
  if (by_vectors(heads, tasks, k)) {
    adapt_by_vectors<XScalar, BScalar>(heads, B, w, k, tasks, w_J, threads, cancel);
    for (Index i = 0; B_J != nullptr && i < tasks.size(); ++i) {
      std::copy_n(B, d * k, B_J + i * d * k);
    }
    return;
  }
  // K' is never needed here, and K only by MAML with more than one inner step. Tasks whose X is in
  // a store come in blocks, and the results of a block are complete before the next one is used.
  const TaskSelection every{tasks.size()};
  const Shard shard = tasks.shard();
  const auto blocks = blocks_of<BScalar>(tasks, every, k, every.n);
  std::vector<TaskProducts> products;
  each_block(tasks, every, blocks,
             [&](const auto& held, const TaskSelection& now, const Block& block) {
               first_sweep<XScalar, BScalar>(B, k, held, now, {method.needs_gram(), false}, shard,
                                             threads, cancel, products);
               parallel_for(threads, block.count, cancel, [&](Index i, int) {
                 adapt_task(method, w, k, held.in(now[i]), products[static_cast<std::size_t>(i)],
                            w_J + (block.first + i) * k);
               });
               throw_if_requested(cancel);
               for (Index i = 0; B_J != nullptr && i < block.count; ++i) {
                 second_sweep<XScalar, BScalar>(
                     {{&held.in(now[i]), &products[static_cast<std::size_t>(i)].C_in}}, d, k, B,
                     B_J + (block.first + i) * d * k, threads, cancel);
               }
             });
}

/// Computes Z = X B of every inner set, in double and not normalised, one set below another, (rows,
/// k). The padding columns of the products are dropped.
template <class XScalar, class BScalar>
Mat project(const BScalar* B, Index k, const TaskSet<XScalar>& tasks, int threads, Cancel* cancel) {
  const auto blocks = features_of_all<XScalar, BScalar>(B, k, tasks, threads, cancel);
  Index rows = 0;
  for (const auto& set : tasks.inner) rows += set.m;
  Mat Z(rows, k);
  Index row = 0;
  for (std::size_t i = 0; i < tasks.inner.size(); row += tasks.inner[i].m, ++i) {
    Z.middleRows(row, tasks.inner[i].m) = blocks[i].Z_in.leftCols(k);
  }
  return Z;
}

// Instantiations for every type of X with every type of B.
template <class XScalar, class BScalar>
struct ArraysInstances {
  static constexpr auto make = &make_arrays<XScalar, BScalar>;
  static constexpr auto adapt = &adapt_on_arrays<XScalar, BScalar>;
  static constexpr auto features = &project<XScalar, BScalar>;
};
template struct ArraysInstances<double, double>;
template struct ArraysInstances<double, float>;
template struct ArraysInstances<float, double>;
template struct ArraysInstances<float, float>;

}  // namespace metaspan
