#include "metaspan/engines/device_cost.hpp"

#include <algorithm>
#include <cmath>

#include "device_memory.hpp"
#include "device_upload.hpp"
#include "metaspan/cuda/panels.hpp"
#include "metaspan/cuda/sweeps.hpp"

namespace metaspan {
namespace {

constexpr double kLaunchesOfBlock = 8;  // of both sweeps, their sums, and the algebra
constexpr double kNormalFlops = 40;     // operations of a generated number
constexpr double kKept = 0.9;           // share of the free memory that X may take, see plan_memory

/// The sizes of the largest task, if all tasks have the mean sizes.
DeviceSizes sizes_of_task(RouteKind kind, const Method& method, const DataSizes& sizes) {
  const auto most_in = static_cast<Index>(std::ceil(sizes.m_in));
  const auto most_out = static_cast<Index>(std::ceil(sizes.shared ? sizes.m_in : sizes.m_out));
  DeviceSizes task{sizes.d,
                   sizes.k,
                   most_in,
                   most_out,
                   sizes.shared,
                   grams_needed(method, sizes.losses > 0),
                   0,
                   method.parameters(sizes.k),
                   sizes.B_number_bytes * sizes.d * sizes.k};
  const Index row = round_up(sizes.d * sizes.number_bytes, kDeviceAlignment);
  const Index rows = most_in + (sizes.shared ? 0 : most_out);
  task.x_bytes = sizes.made ? 0 : static_cast<double>(row * rows);
  task.forms_products = kind == RouteKind::gram;
  return task;
}

cuda::Real real_of_bytes(Index number_bytes) {
  return number_bytes == 8 ? cuda::Real::float64 : cuda::Real::float32;
}

/// Returns the work of both sweeps over a block of `most` tasks, (5) and (10).
cuda::DeviceWork work_of_block(const cuda::Sweeps& sweeps, const Method& method,
                               const DeviceSizes& task, const DataSizes& sizes, Index most) {
  const cuda::Real type = real_of_bytes(sizes.number_bytes);
  SweepShapes shapes = shapes_of(task, most, type, real_of_bytes(sizes.B_number_bytes));
  shapes.first.in.is_made = shapes.first.out.is_made = shapes.second.block.is_made = sizes.made;
  cuda::DeviceWork work = sweeps.work(shapes.first);
  const Index rows_in = most * task.most_in, rows_out = most * task.most_out;
  cuda::SecondSweep second = shapes.second;
  second.block.rows =
      (method.has_inner_part() ? rows_in : 0) + (method.has_outer_part() ? rows_out : 0);
  const cuda::DeviceWork more = sweeps.work(second);
  work.sample_bytes += more.sample_bytes;
  work.factor_bytes += more.factor_bytes;
  work.part_bytes += more.part_bytes;
  work.result_bytes += more.result_bytes;
  work.flops += more.flops;
  if (sizes.made) {  // each sweep generates its rows
    const Index rows = shapes.first.in.rows + shapes.first.out.rows + second.block.rows;
    work.flops += kNormalFlops * static_cast<double>(rows * task.d);
  }
  return work;
}

}  // namespace

DeviceCost device_cost(const cuda::Module& module, RouteKind kind, const Method& method,
                       const DataSizes& sizes, Index trials, bool lent, double free) {
  const DeviceSizes task = sizes_of_task(kind, method, sizes);
  const Index most = std::min(sizes.n, task.tasks_of_block(kDeviceBlockBytes));
  const double blocks = std::ceil(static_cast<double>(sizes.n) / static_cast<double>(most));
  const auto B_bytes = static_cast<double>(task.B_bytes);
  DeviceCost cost;
  if (kind == RouteKind::gram) {
    const cuda::DeviceWork work = work_of_block(*module.sweeps, method, task, sizes, most);
    const double of_round = static_cast<double>(sizes.n) / static_cast<double>(most);
    // A card reads B and C from memory once, and then from its L2 cache.
    cost.bytes = of_round * (work.sample_bytes + work.part_bytes + work.result_bytes) + 2 * B_bytes;
    cost.flops = of_round * work.flops;
    cost.launches = kLaunchesOfBlock * blocks;
  } else {
    const double passes = 2 * method.inner_passes() * sizes.samples_in() + 2 * sizes.samples_out();
    cost.bytes = passes * sizes.row_bytes();
    cost.flops = 2 * passes * static_cast<double>(sizes.d);
    cost.launches = kLaunchesOfBlock * blocks * (1 + method.inner_passes());
  }
  cost.bytes += 3 * B_bytes;  // the step reads B and its gradient, and writes B
  const cuda::Real type = real_of_bytes(sizes.number_bytes);
  cost.memory = 2 * static_cast<double>(trials) * B_bytes +
                static_cast<double>(round_up(most, cuda::kPanelColumns)) * task.product_bytes() +
                sweep_bytes(*module.sweeps, task, most, type, real_of_bytes(sizes.B_number_bytes));
  if (sizes.made || lent) return cost;
  const double all = static_cast<double>(sizes.all_tasks) * task.x_bytes;
  cost.keeps = all <= kKept * (free - cost.memory);
  cost.features = cost.keeps ? all : std::min(all, 2.0 * static_cast<double>(most) * task.x_bytes);
  cost.pinned = std::min(cost.features, 2.0 * static_cast<double>(kPinnedBytes));
  cost.host_bytes = cost.keeps ? 0 : static_cast<double>(sizes.n) * task.x_bytes;
  return cost;
}

}  // namespace metaspan
