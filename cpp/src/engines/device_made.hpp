// Samples that a device generates, (12): the laws of their rows, their radii and their responses.
#pragma once

#include <algorithm>

#include "device_blocks.hpp"
#include "metaspan/cuda/panels.hpp"
#include "metaspan/cuda/random.hpp"

namespace metaspan {

/// The generated samples of the rounds of a batch. Rows of X are generated within the sweeps; this
/// class writes what the sweeps and the algebra need beside them. For samples in memory, its
/// functions do nothing.
template <class XScalar>
class DeviceMadeSamples {
 public:
  /// `most` is the largest number of tasks of a block of rounds of n tasks.
  DeviceMadeSamples(const cuda::Module& module, const TaskSet<XScalar>& tasks,
                    const DeviceSizes& sizes, Index n, Index most)
      : runtime_(*module.runtime), random_(module.random), tasks_(tasks), sizes_(sizes) {
    if (!is_made()) return;
    const Mat B_star = truth().B_star_t.transpose();
    const Index rows = most * (sizes.most_in + sizes.most_out);
    const Index columns = round_up(most, cuda::kPanelColumns) * (sizes.most_in + sizes.most_out);
    B_star_ = array(B_star.size());
    heads_ = array(n * k_star());
    radii_ = array(has_radii() ? rows : 0);
    products_ = array(columns * std::max<Index>(k_star(), 1));
    y_ = array(columns);
    theta_ = array(has_xi() ? most * sizes.d : 0);
    host_heads_ = {runtime_, heads_.size()};
    runtime_.copy(B_star_.data(), B_star.data(), B_star_.size() * sizeof(double),
                  cuda::Copy::to_device, nullptr);
    if (maker(false).roots != nullptr) {
      roots_ = array(sizes.d);
      runtime_.copy(roots_.data(), maker(false).roots, roots_.size() * sizeof(double),
                    cuda::Copy::to_device, nullptr);
    }
    runtime_.synchronise(nullptr);
  }

  /// Returns the bytes of device memory for a task of a block.
  static double task_bytes(const TaskSet<XScalar>& tasks, const DeviceSizes& sizes) {
    if (!tasks.is_made()) return 0;
    const Index k_star = tasks.truth->B_star_t.rows();
    const Index numbers =
        (sizes.most_in + sizes.most_out) * (k_star + 3) + (tasks.truth->xi_std != 0 ? sizes.d : 0);
    return 8.0 * static_cast<double>(numbers);
  }

  bool is_made() const { return tasks_.is_made(); }

  /// Queues the copy of the heads of a round.
  void begin_round(cuda::Stream stream) {
    if (!is_made()) return;
    const Mat& minus = truth().minus_heads;
    for (Index i = 0; i < minus.size(); ++i) host_heads_.data()[i] = -minus.data()[i];
    runtime_.copy(heads_.data(), host_heads_.data(), heads_.size() * sizeof(double),
                  cuda::Copy::to_device, stream);
  }

  /// Gives the blocks of samples the laws of the round, and queues the radii of their rows. The
  /// radii of outer rows follow those of the inner rows.
  void prepare(BlockOfTasks& block, BlockQueue<XScalar>& queue) {
    if (!is_made()) return;
    for (cuda::SampleBlock* samples : {&block.in, &block.out, &block.both}) {
      samples->is_made = true;
      for (const bool outer : {false, true}) samples->laws[outer ? 1 : 0] = law(outer);
    }
    if (!has_radii()) return;
    const cuda::RowRadii radii{block.both,
                               sizes_.d,
                               maker(false).law.dof,
                               {maker(false).radii, maker(true).radii},
                               radii_.data()};
    random_->write_radii(radii, queue.workspace(random_->workspace(radii)), queue.stream());
    for (cuda::SampleBlock* samples : {&block.in, &block.out, &block.both}) {
      for (cuda::RowLaw& law : samples->laws) law.radii = radii_.data();
    }
    block.out.laws[1].radii += block.rows_in;
  }

  /// Returns the columns of the truth, whose products with X become the responses: B_star or, if
  /// tasks have parts xi, theta of every task of the block.
  cuda::TallMatrix columns(const BlockOfTasks& block, cuda::Stream stream) {
    if (!is_made()) return {nullptr, cuda::Real::float64, 0, 0};
    if (!has_xi()) {
      return {B_star_.data(), cuda::Real::float64, static_cast<int>(k_star()), 0};
    }
    random_->write_parameters(
        {block.in, sizes_.d, static_cast<int>(k_star()), B_star_.data(),
         heads_.data() + block.first * k_star(), truth().xi_std, truth().xi, theta_.data()},
        stream);
    return {theta_.data(), cuda::Real::float64, 1, sizes_.d};
  }

  /// The memory for the products of the inner and of the outer samples with these columns.
  double* products(const BlockOfTasks& block, bool outer) const {
    return products_.data() +
           (outer ? panel_rows(block) * sizes_.most_in * (has_xi() ? 1 : k_star()) : 0);
  }
  /// The memory for responses.
  double* responses(const BlockOfTasks& block, bool outer) const {
    return y_.data() + (outer ? panel_rows(block) * sizes_.most_in : 0);
  }

  /// Queues the responses of the inner or of the outer samples, from their products.
  void respond(const BlockOfTasks& block, bool outer, cuda::Layout layout, cuda::Stream stream) {
    random_->write_responses({outer ? block.out : block.in,
                              layout,
                              static_cast<int>(has_xi() ? 1 : k_star()),
                              products(block, outer),
                              has_xi() ? nullptr : heads_.data() + block.first * k_star(),
                              truth().noise,
                              {truth().noises[0], truth().noises[1]},
                              responses(block, outer)},
                             stream);
  }

 private:
  const Truth& truth() const { return *tasks_.truth; }
  Index k_star() const { return truth().B_star_t.rows(); }
  bool has_xi() const { return truth().xi_std != 0; }
  bool has_radii() const {
    const FeatureLaw& law = maker(false).law;
    return law == FeatureLaw::Kind::student_t || law == FeatureLaw::Kind::sphere;
  }
  const RowMaker& maker(bool outer) const {
    return *std::get<MadeRows>((outer ? tasks_.out(0) : tasks_.in(0)).rows).maker;
  }
  cuda::RowLaw law(bool outer) const {
    const RowMaker& rows = maker(outer);
    return {{rows.features.words[0], rows.features.words[1]},
            static_cast<int>(rows.law.kind),
            roots_.data(),
            nullptr};
  }
  Index panel_rows(const BlockOfTasks& block) const {
    return round_up(block.count, cuda::kPanelColumns);
  }
  cuda::DeviceArray<double> array(Index count) const {
    return {runtime_, static_cast<std::size_t>(count)};
  }

  cuda::Runtime& runtime_;
  cuda::Random* random_;
  const TaskSet<XScalar>& tasks_;
  DeviceSizes sizes_;
  cuda::DeviceArray<double> B_star_;    // (d, k_star)
  cuda::DeviceArray<double> roots_;     // (d,)
  cuda::DeviceArray<double> heads_;     // (n, k_star)
  cuda::DeviceArray<double> radii_;     // (stacked rows,)
  cuda::DeviceArray<double> products_;  // X B_star or X theta, as panels or rows
  cuda::DeviceArray<double> y_;         // responses, as panels or rows
  cuda::DeviceArray<double> theta_;     // (tasks, d)
  cuda::PinnedArray<double> host_heads_;
};

}  // namespace metaspan
