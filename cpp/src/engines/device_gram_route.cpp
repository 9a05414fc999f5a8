#include <algorithm>

#include "device_made.hpp"
#include "device_routes.hpp"

#include "metaspan/cuda/algebra.hpp"
#include "metaspan/sweeps/round_means.hpp"

namespace metaspan {
namespace {

/// The Gram route of (11) on a device. For every block of tasks, a first sweep computes the
/// products (5), the algebra runs on them, and a second sweep adds the terms (10) of the block to
/// grad_B. The host queues this work and collects the outputs of the tasks at the end of the round.
/// The blocks of the round depend on shapes alone, and so do the results.
template <class XScalar, class BScalar>
class DeviceGramRoute final : public DeviceRoute<XScalar, BScalar> {
 public:
  DeviceGramRoute(const cuda::Module& module, const Method& method, const TaskSet<XScalar>& tasks,
                  const DeviceSizes& sizes, Index n, Index most, bool keeps)
      : sweeps_(*module.sweeps),
        algebra_(*module.algebra),
        method_(method),
        tasks_(tasks),
        sizes_(sizes),
        products_(*module.runtime, sizes, std::min(n, most)),
        w_(*module.runtime, static_cast<std::size_t>(sizes.parameters)),
        outputs_(*module.runtime, static_cast<std::size_t>(n * (sizes.parameters + sizes.k + 3))),
        host_outputs_(*module.runtime, outputs_.size()),
        host_w_(*module.runtime, w_.size()),
        made_(module, tasks, sizes, n, std::min(n, most)),
        queue_(*module.runtime, tasks, sizes, n, most, keeps) {}

  cuda::Stream stream() const override { return queue_.stream(); }

  void gradient(const BScalar* B, const double* w, const TaskSelection& taken, bool losses,
                BScalar* grad_B, RoundOutputs& out, int threads, Cancel* cancel) override {
    const Index n = taken.n;
    std::copy_n(w, w_.size(), host_w_.data());
    queue_.runtime().copy(w_.data(), host_w_.data(), w_.size() * sizeof(double),
                          cuda::Copy::to_device, stream());
    made_.begin_round(stream());
    queue_.run(taken, threads, cancel, [&](BlockOfTasks block) {
      made_.prepare(block, queue_);
      sweep(B, block, losses);
      run_algebra(block, n, losses);
      combine(block, grad_B);
      if (block.first + block.count < n) return;
      queue_.runtime().copy(host_outputs_.data(), outputs_.data(), outputs_.size() * sizeof(double),
                            cuda::Copy::to_host, stream());
    });
    collect(n, losses, taken, out);
  }

 private:
  /// The outputs of the tasks of the round: omega (n, parameters), w_J (n, k), and for every block
  /// the losses (3, count).
  double* omega(double* outputs) const { return outputs; }
  double* adapted(double* outputs, Index n) const { return outputs + n * sizes_.parameters; }
  double* losses_of(double* outputs, Index n) const { return adapted(outputs, n) + n * sizes_.k; }

  /// Queues the first sweep of a block, and the responses of generated samples.
  void sweep(const BScalar* B, BlockOfTasks& block, bool losses) {
    const GramsNeeded needed = grams_needed(method_, losses);
    cuda::FirstSweep first{};
    first.in = block.in;
    first.d = sizes_.d;
    first.B = {B, real_of<BScalar>(), static_cast<int>(sizes_.k), 0};
    first.layout = cuda::Layout::panels;
    first.Z_in = products_.Z_in.data();
    if (needed.outer && sizes_.has_outer()) {
      first.out = block.out;
      first.Z_out = products_.Z_out.data();
      first.K_cross = needed.K_cross ? products_.K_cross.data() : nullptr;
      first.K_outer = needed.K_outer ? products_.K_outer.data() : nullptr;
    }
    const bool also = sizes_.shared && (needed.K_cross || needed.K_outer);
    first.K = needed.K || also ? products_.K.data() : nullptr;
    const bool made = made_.is_made(), made_outer = made && first.out.n > 0;
    first.more = made_.columns(block, stream());
    first.more_in = made ? made_.products(block, false) : nullptr;
    first.more_out = made_outer ? made_.products(block, true) : nullptr;
    sweeps_.run(first, queue_.workspace(sweeps_.workspace(first)), stream());
    if (!made) return;
    made_.respond(block, false, cuda::Layout::panels, stream());
    if (made_outer) made_.respond(block, true, cuda::Layout::panels, stream());
    block.y_in = made_.responses(block, false);
    block.y_out = sizes_.shared ? block.y_in : made_.responses(block, true);
  }

  /// Queues the algebra of a block.
  void run_algebra(const BlockOfTasks& block, Index n, bool losses) {
    const cuda::TaskPanels panels = panels_of(block, sizes_, products_);
    double* outputs = outputs_.data();
    const cuda::TaskResults results{
        block.shares,
        products_.C.data(),
        products_.C.data() + (method_.has_inner_part() ? block.rows_in * sizes_.k : 0),
        omega(outputs) + block.first * sizes_.parameters,
        adapted(outputs, n) + block.first * sizes_.k,
        losses ? losses_of(outputs, n) + 3 * block.first : nullptr};
    algebra_.gradient(panels, method_, w_.data(), results,
                      queue_.workspace(algebra_.workspace(panels, method_)), stream());
  }

  /// Queues the second sweep of a block, over the sets whose terms the method has.
  void combine(const BlockOfTasks& block, BScalar* grad_B) {
    cuda::SecondSweep second{};
    const bool in = method_.has_inner_part(), out = method_.has_outer_part();
    second.block = in && out ? block.both : in ? block.in : block.out;
    second.d = sizes_.d;
    second.k = static_cast<int>(sizes_.k);
    second.C = products_.C.data();
    second.start = block.first > 0 ? grad_B : nullptr;
    second.out = grad_B;
    second.type = real_of<BScalar>();
    sweeps_.run(second, queue_.workspace(sweeps_.workspace(second)), stream());
  }

  /// Copies the outputs of the tasks to the results of the round, and computes the means.
  void collect(Index n, bool losses, const TaskSelection& taken, RoundOutputs& out) const {
    RoundMeans means(out, n, sizes_.k, sizes_.parameters, losses, weights_of(tasks_, taken));
    double* outputs = host_outputs_.data();
    for (const Block& block : queue_.blocks()) {
      means.take_rows(block.first, block.count, omega(outputs) + block.first * sizes_.parameters,
                      adapted(outputs, n) + block.first * sizes_.k,
                      losses ? losses_of(outputs, n) + 3 * block.first : nullptr);
    }
    means.finish();
  }

  cuda::Sweeps& sweeps_;
  cuda::Algebra& algebra_;
  Method method_;
  const TaskSet<XScalar>& tasks_;
  DeviceSizes sizes_;
  ProductMemory products_;
  cuda::DeviceArray<double> w_, outputs_;
  cuda::PinnedArray<double> host_outputs_, host_w_;
  DeviceMadeSamples<XScalar> made_;
  BlockQueue<XScalar> queue_;  // ends before the memory above
};

/// Returns the workspace of the algebra for a block of a round of n tasks, in bytes.
double algebra_bytes(const cuda::Module& module, const Method& method, const DeviceSizes& sizes,
                     Index n, double block_bytes) {
  const Index most = std::min(n, sizes.tasks_of_block(block_bytes));
  cuda::TaskPanels panels{};
  panels.in.n = panels.out.n = static_cast<int>(most);
  panels.in.most = static_cast<int>(sizes.most_in);
  panels.out.most = static_cast<int>(sizes.most_out);
  panels.in.rows = most * sizes.most_in;
  panels.out.rows = most * sizes.most_out;
  panels.k = static_cast<int>(sizes.k);
  return static_cast<double>(module.algebra->workspace(panels, method));
}

}  // namespace

template <class XScalar, class BScalar>
std::shared_ptr<DeviceRoute<XScalar, BScalar>> make_device_gram_route(const DeviceUse& use,
                                                                      const Method& method,
                                                                      const TaskSet<XScalar>& tasks,
                                                                      Index k, Index n,
                                                                      int copies_of_B) {
  DeviceSizes sizes = sizes_of(method, tasks, k, static_cast<Index>(sizeof(BScalar)));
  sizes.more_bytes = DeviceMadeSamples<XScalar>::task_bytes(tasks, sizes);
  const double algebra = algebra_bytes(*use.module, method, sizes, n, use.block_bytes);
  const DevicePlan plan =
      plan_memory(use, tasks, sizes, n, copies_of_B, real_of<BScalar>(), algebra);
  return std::make_shared<DeviceGramRoute<XScalar, BScalar>>(*use.module, method, tasks, sizes, n,
                                                             plan.most, plan.keeps);
}

// Instantiations for every type of X with every type of B.
template <class XScalar, class BScalar>
struct DeviceGramInstances {
  static constexpr auto make = &make_device_gram_route<XScalar, BScalar>;
};
template struct DeviceGramInstances<double, double>;
template struct DeviceGramInstances<double, float>;
template struct DeviceGramInstances<float, double>;
template struct DeviceGramInstances<float, float>;

}  // namespace metaspan
