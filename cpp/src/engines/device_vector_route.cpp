#include <algorithm>

#include "device_made.hpp"
#include "device_routes.hpp"
#include "metaspan/algebra/task_algebra.hpp"
#include "metaspan/engines/device_vector_design.hpp"
#include "metaspan/sweeps/round_means.hpp"

namespace metaspan {
namespace {

using Design = DeviceVectorDesign;

/// The vector route of (11) on a device: panels of tasks, one after another, run a chain of sweeps
/// with one vector of length d for each task, and a second sweep adds the terms of each panel to
/// grad_B. No Gram matrix is formed, so the memory does not grow with the square of the samples.
template <class XScalar, class BScalar>
class DeviceVectorRoute final : public DeviceRoute<XScalar, BScalar> {
 public:
  DeviceVectorRoute(const cuda::Module& module, const Method& method, const TaskSet<XScalar>& tasks,
                    const DeviceSizes& sizes, Index n, Index most, bool keeps)
      : runtime_(*module.runtime),
        sweeps_(*module.sweeps),
        method_(method),
        tasks_(tasks),
        sizes_(sizes),
        B_t_(runtime_, static_cast<std::size_t>(sizes.k * sizes.d)),
        unit_(runtime_, static_cast<std::size_t>(sizes.k * sizes.k)),
        columns_(runtime_, static_cast<std::size_t>(sizes.k)),
        algebra_(method, sizes.k, sizes.most_in, sizes.most_out),
        scratch_(runtime_, method, sizes.d, sizes.k, sizes.most_in, sizes.most_out),
        made_(module, tasks, sizes, n, std::min(n, most)),
        queue_(runtime_, tasks, sizes, n, most, keeps) {}

  cuda::Stream stream() const override { return queue_.stream(); }

  /// Panels are taken in the order of the tasks.
  void gradient(const BScalar* B, const double* w, const TaskSelection& taken, bool losses,
                BScalar* grad_B, RoundOutputs& out, int threads, Cancel* cancel) override {
    const Index n = taken.n;
    RoundMeans means(out, n, sizes_.k, sizes_.parameters, losses, weights_of(tasks_, taken));
    const Design::Round round{&runtime_,
                              &sweeps_,
                              stream(),
                              {B, real_of<BScalar>(), static_cast<int>(sizes_.k), 0},
                              B_t_.data(),
                              sizes_.d,
                              sizes_.k,
                              method_.slots(),
                              method_.inner_steps,
                              method_.blocks(),
                              cancel};
    made_.begin_round(stream());
    queue_.run(taken, threads, cancel, [&](BlockOfTasks block) {
      if (block.first == 0) transpose(B);
      respond(block);
      for (Index at = 0; at < block.count; at += Design::width) {
        const Index count = std::min<Index>(Design::width, block.count - at);
        const Index first = block.first + at;
        const Design::Panel panel = panel_of(block, taken, at, count);
        Design design(round, panel, scratch_);
        algebra_.gradient(design, w, losses);
        means.take(algebra_, first, count, losses);
        double shares[Design::width];
        for (Index t = 0; t < count; ++t) {
          shares[t] = tasks_.weight(taken[first + t]) / static_cast<double>(n);
        }
        design.combine(shares, grad_B, first > 0);
        runtime_.synchronise(stream());
      }
    });
    means.finish();
  }

 private:
  /// Computes B^T in double, by a first sweep in which every unit vector selects a column of B.
  void transpose(const BScalar* B) {
    const Index k = sizes_.k, d = sizes_.d;
    const Mat unit = Mat::Identity(k, k);
    std::vector<cuda::SampleSet> sets;
    for (Index j = 0; j < k; ++j) {
      sets.push_back({B, k, j * d, static_cast<int>(d), static_cast<int>(j), 0, 0});
    }
    runtime_.copy(unit_.data(), unit.data(), unit_.size() * sizeof(double), cuda::Copy::to_device,
                  stream());
    runtime_.copy(columns_.data(), sets.data(), sets.size() * sizeof(cuda::SampleSet),
                  cuda::Copy::to_device, stream());
    cuda::FirstSweep sweep{};
    sweep.in = {columns_.data(),
                static_cast<int>(k),
                static_cast<int>(d),
                k * d,
                real_of<BScalar>(),
                false,
                {}};
    sweep.d = k;
    sweep.B = {unit_.data(), cuda::Real::float64, 1, k};
    sweep.layout = cuda::Layout::rows;
    sweep.Z_in = B_t_.data();
    sweeps_.run(sweep, queue_.workspace(sweeps_.workspace(sweep)), stream());
    runtime_.synchronise(stream());
  }

  /// Computes the responses of the generated samples of a block, and copies them to the host.
  void respond(BlockOfTasks& block) {
    if (!made_.is_made()) return;
    made_.prepare(block, queue_);
    cuda::FirstSweep sweep{};
    sweep.in = block.in;
    sweep.out = block.out;
    sweep.d = sizes_.d;
    sweep.B = made_.columns(block, stream());
    sweep.layout = cuda::Layout::rows;
    sweep.Z_in = made_.products(block, false);
    sweep.Z_out = made_.products(block, true);
    sweeps_.run(sweep, queue_.workspace(sweeps_.workspace(sweep)), stream());
    for (const bool outer : {false, true}) {
      made_.respond(block, outer, cuda::Layout::rows, stream());
      Vec& y = made_y_[outer ? 1 : 0];
      y.resize(outer ? block.rows_out : block.rows_in);
      runtime_.copy(y.data(), made_.responses(block, outer),
                    static_cast<std::size_t>(y.size()) * sizeof(double), cuda::Copy::to_host,
                    stream());
    }
    runtime_.synchronise(stream());
  }

  /// Describes a panel of tasks of a block, whose responses are normalised on the host.
  Design::Panel panel_of(const BlockOfTasks& block, const TaskSelection& taken, Index at,
                         Index count) {
    const auto* in = block.host_in + at;
    const auto* out = block.host_out + at;
    Design::Panel panel{count, block.in, block.out, in, out, {}, {}};
    for (const bool inner : {true, false}) {
      cuda::SampleBlock& sets = inner ? panel.in : panel.out;
      sets.n = static_cast<int>(count);
      sets.rows = sets.most = 0;
      // The rows of the panel are stacked again, and radii are found by the stacked row.
      cuda::RowLaw& law = sets.laws[inner ? 0 : 1];
      if (law.radii != nullptr) law.radii += (inner ? in : out)->first_row;
      for (Index t = 0; t < count; ++t) {
        const Index task = taken[block.first + at + t];
        const int m = (inner ? in : out)[t].m;
        sets.rows += m;
        sets.most = std::max(sets.most, m);
        Vec& y = y_[inner ? 0 : 1][t];
        if (made_.is_made()) {
          y = normalisation(m) * made_y_[inner ? 0 : 1].segment((inner ? in : out)[t].first_row, m);
        } else {
          normalise_y(inner ? tasks_.in(task) : tasks_.out(task), y);
        }
        (inner ? panel.y_in : panel.y_out)[t] = y.data();
      }
    }
    return panel;
  }

  cuda::Runtime& runtime_;
  cuda::Sweeps& sweeps_;
  Method method_;
  const TaskSet<XScalar>& tasks_;
  DeviceSizes sizes_;
  cuda::DeviceArray<double> B_t_;               // (k, d)
  cuda::DeviceArray<double> unit_;              // (k, k)
  cuda::DeviceArray<cuda::SampleSet> columns_;  // (k,) sets of the columns of B
  Vec y_[2][Design::width];                     // normalised responses of a panel
  Vec made_y_[2];                               // responses of a block that are generated
  TaskAlgebra<Design> algebra_;
  Design::Scratch scratch_;
  DeviceMadeSamples<XScalar> made_;
  BlockQueue<XScalar> queue_;  // ends before the memory above
};

}  // namespace

template <class XScalar, class BScalar>
std::shared_ptr<DeviceRoute<XScalar, BScalar>> make_device_vector_route(
    const DeviceUse& use, const Method& method, const TaskSet<XScalar>& tasks, Index k, Index n,
    int copies_of_B) {
  DeviceSizes sizes = sizes_of(method, tasks, k, static_cast<Index>(sizeof(BScalar)));
  sizes.forms_products = false;
  sizes.more_bytes = DeviceMadeSamples<XScalar>::task_bytes(tasks, sizes);
  const double more = Design::Scratch::bytes(method, sizes.d, k, sizes.most_in, sizes.most_out) +
                      8.0 * static_cast<double>(k * (sizes.d + k));
  const DevicePlan plan = plan_memory(use, tasks, sizes, n, copies_of_B, real_of<BScalar>(), more);
  return std::make_shared<DeviceVectorRoute<XScalar, BScalar>>(*use.module, method, tasks, sizes, n,
                                                               plan.most, plan.keeps);
}

// Instantiations for every type of X with every type of B.
template <class XScalar, class BScalar>
struct DeviceVectorInstances {
  static constexpr auto make = &make_device_vector_route<XScalar, BScalar>;
};
template struct DeviceVectorInstances<double, double>;
template struct DeviceVectorInstances<double, float>;
template struct DeviceVectorInstances<float, double>;
template struct DeviceVectorInstances<float, float>;

}  // namespace metaspan
