#include "metaspan/engines/device_arrays.hpp"

#include <algorithm>
#include <utility>

#include "copy_outputs.hpp"
#include "full_size_blocks.hpp"
#include "metaspan/base/error.hpp"
#include "metaspan/cuda/owned.hpp"
#include "metaspan/cuda/random.hpp"
#include "metaspan/cuda/sweeps.hpp"
#include "metaspan/geometry/coordinates.hpp"
#include "metaspan/sweeps/route_costs.hpp"

namespace metaspan {
namespace {

/// Training on data, (11), or on generated samples, (12), with B (d, k) on a device. A round
/// computes the gradient by a DeviceRoute, and the noise of (30) and a plain step (3) on the
/// device. For every other outer step, (28), the gradient comes to the host, and the new B goes
/// back.
template <class XScalar, class BScalar>
class DeviceEngine final : public ArraysEngine<BScalar> {
 public:
  DeviceEngine(std::shared_ptr<DeviceRoute<XScalar, BScalar>> route, const DeviceUse& use,
               const Method& method, const ArraysData<XScalar>& data, Index k,
               const ArraysStart<BScalar>& start, BeforeRound before)
      : runtime_(*use.module->runtime),
        sweeps_(*use.module->sweeps),
        random_(*use.module->random),
        route_(std::move(route)),
        method_(method),
        data_(data),
        before_(std::move(before)),
        k_(k),
        size_(data.tasks.d * k),
        w_(start.w),
        steps_(outer_steps(method, k)),
        spread_(method.noise_of_mean(start.n)),
        seed_(start.seed),
        trial_(start.trial),
        blocks_(method, data.tasks.d, k, start),
        choice_(data.tasks.size(), start.n, start.seed, start.trial),
        B_(runtime_, static_cast<std::size_t>(size_)),
        grad_B_(runtime_, static_cast<std::size_t>(size_)),
        flag_(runtime_, 1) {
    if (!method.step.is_plain()) host_B_.assign(start.B, start.B + size_);
    put(B_, start.B);
  }

  /// Does what the engine on the CPU does, in the same order.
  void gradient(Index round, const double* heads, TaskOutputs& tasks, int threads,
                Cancel* cancel) override {
    round_ = round;
    threads_ = threads;
    if (before_) before_(round, heads);
    const TaskSelection taken = choice_.take(round);
    route_->gradient(B_.data(), w_.data(), taken, tasks.want_losses, grad_B_.data(), out_, threads,
                     cancel);
    copy_outputs(data_.heads, taken, out_, tasks);
    if (spread_ > 0) add_noise(round);
  }

  /// Steps w and B, (3). Both are checked before either changes.
  bool step(double factor) override {
    if (!method_.step.is_plain()) return step_with_memory(factor);
    const Vec next_w = w_ - (factor * steps_).cwiseProduct(out_.w);
    if (!next_w.allFinite() ||
        !sweeps_.step(B_.data(), grad_B_.data(), factor * method_.beta, size_, real_of<BScalar>(),
                      flag_.data(), route_->stream())) {
      return false;
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

  /// Returns the coordinates of B for the meter, which the host computes from a copy of B, so that
  /// distances have the same relative accuracy as on the CPU.
  const Mat& coordinates(int threads) override {
    if (!is_measured_) {
      std::vector<BScalar> copy;
      if (method_.step.is_plain()) copy = taken_from(B_);
      const BScalar* of = method_.step.is_plain() ? copy.data() : blocks_.reported(host_B_.data());
      const Eigen::Map<const MatrixOf<BScalar>> B(of, data_.tasks.d, k_);
      coordinates_ = measured(B.rightCols(method_.columns_of_B(k_)).template cast<double>(),
                              data_.B_star, threads);
    }
    is_measured_ = true;
    return coordinates_;
  }
  const Vec& head() const override {
    return method_.step.is_plain() ? w_ : blocks_.reported_head();
  }
  Vec export_heads() const override { return method_.step.is_plain() ? w_ : blocks_.heads(); }
  void export_memory(BScalar* out) const override { blocks_.export_memory(out); }
  void export_B(BScalar* out, int) const override {
    runtime_.copy(out, B_.data(), bytes(), cuda::Copy::to_host, route_->stream());
    runtime_.synchronise(route_->stream());
  }

  double flops() const override {
    const TaskSet<XScalar>& tasks = data_.tasks;
    return flops_of_round(method_, static_cast<double>(tasks.d), static_cast<double>(choice_.n()),
                          static_cast<double>(tasks.most_in()),
                          static_cast<double>(tasks.most_out()), 0);
  }

 private:
  std::size_t bytes() const { return static_cast<std::size_t>(size_) * sizeof(BScalar); }

  /// Copies numbers of the size of B to the device, or from the device, and waits.
  void put(const cuda::DeviceArray<BScalar>& to, const BScalar* from) {
    runtime_.copy(to.data(), from, bytes(), cuda::Copy::to_device, route_->stream());
    runtime_.synchronise(route_->stream());
  }
  std::vector<BScalar> taken_from(const cuda::DeviceArray<BScalar>& from) const {
    std::vector<BScalar> numbers(static_cast<std::size_t>(size_));
    runtime_.copy(numbers.data(), from.data(), bytes(), cuda::Copy::to_host, route_->stream());
    runtime_.synchronise(route_->stream());
    return numbers;
  }

  /// Adds N(0, spread^2) to every entry of grad_B and of grad_w, (30), with the random numbers of
  /// the engine on the CPU.
  void add_noise(Index round) {
    const Key key = derive_key(seed_, trial_, static_cast<std::uint64_t>(round), Stream::privacy);
    random_.add_normals(key, spread_, 0, size_, real_of<BScalar>(), grad_B_.data(),
                        route_->stream());
    add_head_noise(key, spread_, out_.w);
  }

  /// Takes the step (28) on B and the blocks beside it, on the host.
  bool step_with_memory(double factor) {
    const std::vector<BScalar> grad = taken_from(grad_B_);
    if (!blocks_.step(round_, factor, host_B_.data(), grad.data(), out_.w, threads_)) return false;
    put(B_, host_B_.data());
    w_ = blocks_.head();
    is_measured_ = false;
    return true;
  }

  cuda::Runtime& runtime_;
  cuda::Sweeps& sweeps_;
  cuda::Random& random_;
  std::shared_ptr<DeviceRoute<XScalar, BScalar>> route_;
  Method method_;
  const ArraysData<XScalar>& data_;
  BeforeRound before_;
  Index k_, size_;
  Vec w_;
  Vec steps_;      // outer step sizes of w_
  double spread_;  // standard deviation of the noise (30)
  std::uint64_t seed_, trial_;
  FullSizeBlocks<BScalar> blocks_;
  std::vector<BScalar> host_B_;  // (d, k)  a copy of B, for steps on the host
  Index round_ = 0;              // of the last gradient
  RoundChoice choice_;
  cuda::DeviceArray<BScalar> B_, grad_B_;  // (d, k)
  cuda::DeviceArray<int> flag_;            // workspace of the step
  RoundOutputs out_;
  Mat coordinates_;
  bool is_measured_ = false;
  int threads_ = 1;  // of the last call of gradient()
};

}  // namespace

template <class XScalar, class BScalar>
std::unique_ptr<ArraysEngine<BScalar>> make_device_arrays(
    std::shared_ptr<DeviceRoute<XScalar, BScalar>> route, const DeviceUse& use,
    const Method& method, const ArraysData<XScalar>& data, Index k,
    const ArraysStart<BScalar>& start, BeforeRound before) {
  return std::make_unique<DeviceEngine<XScalar, BScalar>>(std::move(route), use, method, data, k,
                                                          start, std::move(before));
}

// Instantiations for every type of X with every type of B.
template <class XScalar, class BScalar>
struct DeviceArraysInstances {
  static constexpr auto make = &make_device_arrays<XScalar, BScalar>;
};
template struct DeviceArraysInstances<double, double>;
template struct DeviceArraysInstances<double, float>;
template struct DeviceArraysInstances<float, double>;
template struct DeviceArraysInstances<float, float>;

}  // namespace metaspan
