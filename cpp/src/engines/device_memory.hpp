// How much device memory a round needs: the sizes of a batch, the tasks of a block, and the memory
// of the products of a block.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>

#include "device_sets.hpp"
#include "metaspan/cuda/panels.hpp"
#include "metaspan/engines/device_arrays.hpp"
#include "metaspan/sweeps/task_products.hpp"

namespace metaspan {

/// The largest sizes of the tasks of a batch, which determine the blocks of a round.
struct DeviceSizes {
  Index d, k, most_in, most_out;
  bool shared;         // inner and outer sets are the same
  GramsNeeded needed;  // by the rounds of a method that record losses
  double x_bytes;      // of the features of the largest task on the device
  Index parameters, B_bytes;
  double more_bytes = 0;       // of further results of a task
  bool forms_products = true;  // the products (5) are formed, by the Gram route

  /// Whether the first sweep passes over outer sets apart from the inner sets.
  bool has_outer() const { return needed.outer && !shared && most_out > 0; }
  /// Whether K is computed. If both loops use the same set, K' and X' X'^T equal K.
  bool computes_K() const { return needed.K || (shared && (needed.K_cross || needed.K_outer)); }
  /// Returns the numbers of a panel column: Z, y and Gram matrices of a task.
  Index panel_numbers() const {
    const Index outer = has_outer() ? most_out : 0;
    Index numbers = (most_in + outer) * (k + 1);
    if (computes_K()) numbers += most_in * most_in;
    if (needed.K_cross) numbers += outer * most_in;
    if (needed.K_outer) numbers += outer * outer;
    return numbers;
  }
  /// Returns the bytes of the products of a task, with its rows of C and C'.
  double product_bytes() const {
    if (!forms_products) return more_bytes;
    return more_bytes + 8.0 * static_cast<double>(panel_numbers() + (most_in + most_out) * k);
  }
  /// Returns the largest number of tasks of a block of max(limit, bytes of B) bytes. A block of
  /// more than one panel has whole panels.
  Index tasks_of_block(double limit) const {
    const double room = std::max(limit, static_cast<double>(B_bytes));
    const auto fit = static_cast<Index>(std::min(1e9, room / (x_bytes + product_bytes())));
    return fit < cuda::kPanelColumns ? std::max<Index>(fit, 1) : fit - fit % cuda::kPanelColumns;
  }
};

/// Returns a number of bytes as text, for messages.
inline std::string size_text(double bytes) {
  const char* units[] = {"bytes", "kB", "MB", "GB", "TB"};
  int unit = 0;
  for (; bytes >= 1000 && unit < 4; ++unit) bytes /= 1000;
  const long tenths = std::lround(10 * bytes);
  const std::string decimal = tenths % 10 == 0 ? "" : "." + std::to_string(tenths % 10);
  return std::to_string(tenths / 10) + decimal + " " + units[unit];
}

/// Throws cuda::OutOfDeviceMemory unless `needed` bytes are free on the device.
inline void require_memory(cuda::Runtime& runtime, const DeviceSizes& sizes, double needed) {
  const auto free = static_cast<double>(runtime.free_bytes());
  if (needed <= free) return;
  throw cuda::OutOfDeviceMemory("B of shape (" + std::to_string(sizes.d) + ", " +
                                std::to_string(sizes.k) + ") needs " + size_text(needed) +
                                " of device memory with its gradient and one block of tasks; the "
                                "device has " +
                                size_text(free) + " free, so use device='cpu'");
}

/// Returns the sizes of a batch for a method.
template <class XScalar>
DeviceSizes sizes_of(const Method& method, const TaskSet<XScalar>& tasks, Index k,
                     Index B_number_bytes) {
  DeviceSizes sizes{tasks.d,
                    k,
                    tasks.most_in(),
                    tasks.outer.empty() ? 0 : tasks.most_out(),
                    !tasks.outer.empty(),
                    grams_needed(method, true),
                    0,
                    method.parameters(k),
                    B_number_bytes * tasks.d * k};
  for (Index i = 0; i < tasks.size(); ++i) {
    sizes.shared = sizes.shared && tasks.shares(i);
    sizes.x_bytes =
        std::max(sizes.x_bytes, static_cast<double>(DeviceSets<XScalar>::task_bytes(tasks, i)));
  }
  return sizes;
}

/// The sweeps over a block of tasks without pointers to data. The sizes alone determine workspace
/// and work.
struct SweepShapes {
  cuda::FirstSweep first;
  cuda::SecondSweep second;
};

/// Returns the sweeps over a block of `most` tasks. The second sweep passes over all sets.
inline SweepShapes shapes_of(const DeviceSizes& sizes, Index most, cuda::Real X_type,
                             cuda::Real B_type) {
  static double wanted = 0;  // the place of a result that is computed; nothing is written to it
  const bool outer = sizes.has_outer();
  const auto block = [&](Index m) {
    return cuda::SampleBlock{
        nullptr, static_cast<int>(m > 0 ? most : 0), static_cast<int>(m), most * m, X_type, false,
        {}};
  };
  SweepShapes shapes{};
  cuda::FirstSweep& first = shapes.first;
  first.in = block(sizes.most_in);
  first.out = block(outer ? sizes.most_out : 0);
  first.d = sizes.d;
  first.B = {&wanted, B_type, static_cast<int>(sizes.k), 0};
  first.Z_in = &wanted;
  first.Z_out = outer ? &wanted : nullptr;
  first.K = sizes.computes_K() ? &wanted : nullptr;
  first.K_cross = outer && sizes.needed.K_cross ? &wanted : nullptr;
  first.K_outer = outer && sizes.needed.K_outer ? &wanted : nullptr;
  cuda::SecondSweep& second = shapes.second;
  second.block = block(std::max(sizes.most_in, sizes.most_out));
  second.block.n *= sizes.most_out > 0 ? 2 : 1;
  second.block.rows = most * (sizes.most_in + sizes.most_out);
  second.d = sizes.d;
  second.k = static_cast<int>(sizes.k);
  second.C = &wanted;
  second.out = &wanted;
  second.type = B_type;
  return shapes;
}

/// Returns the workspace of the sweeps over a block of `most` tasks, in bytes.
inline double sweep_bytes(const cuda::Sweeps& sweeps, const DeviceSizes& sizes, Index most,
                          cuda::Real X_type, cuda::Real B_type) {
  const SweepShapes shapes = shapes_of(sizes, most, X_type, B_type);
  return static_cast<double>(
      std::max(sweeps.workspace(shapes.first), sweeps.workspace(shapes.second)));
}

/// How a round uses the memory of a device: the most tasks of a block, and whether the features
/// stay on the device.
struct DevicePlan {
  Index most;
  bool keeps;
};

/// Plans rounds of n tasks. Throws cuda::OutOfDeviceMemory unless `copies_of_B` arrays as large as
/// B, the products of a block, `more` bytes and two buffers for the features of a block fit in the
/// free memory. The features stay on the device if all of them take no more than the buffers, or
/// fit in `kKept` of the memory that is left.
template <class XScalar>
DevicePlan plan_memory(const DeviceUse& use, const TaskSet<XScalar>& tasks,
                       const DeviceSizes& sizes, Index n, int copies_of_B, cuda::Real B_type,
                       double more = 0) {
  constexpr double kKept = 0.9;
  const Index most = std::min(n, sizes.tasks_of_block(use.block_bytes));
  const double fixed =
      more + static_cast<double>(copies_of_B) * static_cast<double>(sizes.B_bytes) +
      static_cast<double>(round_up(most, cuda::kPanelColumns)) * sizes.product_bytes() +
      8.0 * static_cast<double>(n * (sizes.parameters + sizes.k + 3)) +
      sweep_bytes(*use.module->sweeps, sizes, most, real_of<XScalar>(), B_type);
  const auto all = static_cast<double>(DeviceSets<XScalar>::all_bytes(tasks));
  const double buffers = 2.0 * static_cast<double>(most) * sizes.x_bytes;
  const auto free = static_cast<double>(use.module->runtime->free_bytes());
  const bool keeps = use.may_keep && all <= std::max(buffers, kKept * (free - fixed));
  require_memory(*use.module->runtime, sizes, fixed + (keeps ? all : buffers));
  return {most, keeps};
}

/// Memory of the products of a block of tasks, (5), and of the factors C of its gradient, (10).
class ProductMemory {
 public:
  ProductMemory(cuda::Runtime& runtime, const DeviceSizes& sizes, Index tasks)
      : columns_(round_up(tasks, cuda::kPanelColumns)) {
    const Index outer = sizes.has_outer() ? sizes.most_out : 0;
    Z_in = array(runtime, sizes.most_in * sizes.k);
    Z_out = array(runtime, outer * sizes.k);
    K = array(runtime, sizes.computes_K() ? sizes.most_in * sizes.most_in : 0);
    K_cross = array(runtime, sizes.needed.K_cross ? outer * sizes.most_in : 0);
    K_outer = array(runtime, sizes.needed.K_outer ? outer * outer : 0);
    C = {runtime, static_cast<std::size_t>(tasks * (sizes.most_in + sizes.most_out) * sizes.k)};
  }

  cuda::DeviceArray<double> Z_in, Z_out, K, K_cross, K_outer;  // panels
  cuda::DeviceArray<double> C;                                 // (stacked rows, k)

 private:
  cuda::DeviceArray<double> array(cuda::Runtime& runtime, Index elements) const {
    return {runtime, static_cast<std::size_t>(elements * columns_)};
  }
  Index columns_;
};

}  // namespace metaspan
