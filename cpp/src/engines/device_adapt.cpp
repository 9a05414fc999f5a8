#include <algorithm>

#include "device_blocks.hpp"
#include "metaspan/base/error.hpp"

namespace metaspan {
namespace {

/// Copies a matrix of doubles from the rows of a set to a matrix with `columns` columns.
void copy_rows(const double* from, Index rows, Index columns, Index padded_columns, Mat& to) {
  to.setZero(rows, padded_columns);
  to.leftCols(columns) = ConstMat(from, rows, columns);
}

/// Copies the upper left corner of a matrix with `stride` columns.
void copy_corner(const double* from, Index stride, Index rows, Index columns, Mat& to) {
  to = Eigen::Map<const Mat, 0, Eigen::OuterStride<>>(from, rows, columns,
                                                      Eigen::OuterStride<>(stride));
}

/// Copies B (d, k) to device memory.
template <class BScalar>
cuda::DeviceArray<BScalar> sent(cuda::Runtime& runtime, const BScalar* B, Index size,
                                cuda::Stream stream) {
  const auto count = static_cast<std::size_t>(size);
  cuda::DeviceArray<BScalar> held(runtime, count);
  runtime.copy(held.data(), B, count * sizeof(BScalar), cuda::Copy::to_device, stream);
  return held;
}

}  // namespace

/// Adapts the tasks block by block: the first sweep computes X B and K, the algebra runs the inner
/// loops, and, if B_J is wanted, a second sweep of every task alone adds X^T C to B.
template <class XScalar, class BScalar>
void adapt_on_device(const DeviceUse& use, const Method& method, const BScalar* B, const double* w,
                     Index k, const TaskSet<XScalar>& tasks, double* w_J, BScalar* B_J, int threads,
                     Cancel* cancel) {
  require(!tasks.is_sparse(), "a device cannot process sparse data");
  const Index n = tasks.size(), d = tasks.d, size = d * k;
  if (B_J != nullptr && !method.adapt_B) {  // every B_J is B
    for (Index i = 0; i < n; ++i) std::copy_n(B, size, B_J + i * size);
    B_J = nullptr;
  }
  cuda::Runtime& runtime = *use.module->runtime;
  cuda::Sweeps& sweeps = *use.module->sweeps;
  cuda::Algebra& algebra = *use.module->algebra;
  DeviceSizes sizes = sizes_of(method, tasks, k, static_cast<Index>(sizeof(BScalar)));
  sizes.needed = {method.needs_gram(), false, false};
  sizes.more_bytes = B_J == nullptr ? 0 : static_cast<double>(sizes.B_bytes);
  const DevicePlan plan = plan_memory(use, tasks, sizes, n, 1, real_of<BScalar>());
  const ProductMemory products(runtime, sizes, plan.most);
  const cuda::DeviceArray<double> heads(runtime, static_cast<std::size_t>(n * k)),
      head(runtime, static_cast<std::size_t>(sizes.parameters));
  const cuda::DeviceArray<BScalar> moved(
      runtime, static_cast<std::size_t>(B_J == nullptr ? 0 : plan.most * size));
  BlockQueue<XScalar> queue(runtime, tasks, sizes, n, plan.most, plan.keeps);
  const auto held = sent(runtime, B, size, queue.stream());
  runtime.copy(head.data(), w, head.size() * sizeof(double), cuda::Copy::to_device, queue.stream());
  queue.run({n}, threads, cancel, [&](const BlockOfTasks& block) {
    cuda::FirstSweep first{};
    first.in = block.in;
    first.d = d;
    first.B = {held.data(), real_of<BScalar>(), static_cast<int>(k), 0};
    first.layout = cuda::Layout::panels;
    first.Z_in = products.Z_in.data();
    first.K = sizes.needed.K ? products.K.data() : nullptr;
    sweeps.run(first, queue.workspace(sweeps.workspace(first)), queue.stream());
    const cuda::TaskPanels panels = panels_of(block, sizes, products);
    const cuda::TaskResults results{nullptr,
                                    B_J == nullptr ? nullptr : products.C.data(),
                                    nullptr,
                                    nullptr,
                                    heads.data() + block.first * k,
                                    nullptr};
    algebra.adapt(panels, method, head.data(), results,
                  queue.workspace(algebra.workspace(panels, method)), queue.stream());
    if (B_J != nullptr) {
      const cuda::TaskSweep second{block.in,          d,       static_cast<int>(k),
                                   products.C.data(), first.B, moved.data(),
                                   real_of<BScalar>()};
      sweeps.run(second, queue.workspace(sweeps.workspace(second)), queue.stream());
      runtime.copy(B_J + block.first * size, moved.data(),
                   static_cast<std::size_t>(block.count * size) * sizeof(BScalar),
                   cuda::Copy::to_host, queue.stream());
    }
    if (block.first + block.count < n) return;
    runtime.copy(w_J, heads.data(), heads.size() * sizeof(double), cuda::Copy::to_host,
                 queue.stream());
  });
}

/// Computes the products of a block by one first sweep, with the rows of all tasks stacked, and
/// copies them to the host.
template <class XScalar, class BScalar>
void products_on_device(const DeviceUse& use, const BScalar* B, Index k,
                        const TaskSet<XScalar>& tasks, std::vector<TaskProducts>& products,
                        int threads, Cancel* cancel) {
  require(!tasks.is_sparse(), "a device cannot process sparse data");
  const Index n = tasks.size();
  cuda::Runtime& runtime = *use.module->runtime;
  cuda::Sweeps& sweeps = *use.module->sweeps;
  DeviceSizes sizes = sizes_of(Method{}, tasks, k, static_cast<Index>(sizeof(BScalar)));
  sizes.needed = {true, true};
  sizes.shared = false;
  const DevicePlan plan = plan_memory(use, tasks, sizes, n, 1, real_of<BScalar>());
  const Index most = std::min(n, plan.most), rows = most * (sizes.most_in + sizes.most_out);
  const Index squares = sizes.most_in * sizes.most_in, crosses = sizes.most_out * sizes.most_in;
  const cuda::DeviceArray<double> Z(runtime, static_cast<std::size_t>(rows * k)),
      K(runtime, static_cast<std::size_t>(most * squares)),
      K_cross(runtime, static_cast<std::size_t>(most * crosses));
  BlockQueue<XScalar> queue(runtime, tasks, sizes, n, most, plan.keeps);
  const auto held = sent(runtime, B, tasks.d * k, queue.stream());
  std::vector<double> host_Z(Z.size()), host_K(K.size()), host_K_cross(K_cross.size());
  products.resize(static_cast<std::size_t>(n));
  queue.run({n}, threads, cancel, [&](const BlockOfTasks& block) {
    cuda::FirstSweep first{};
    first.in = block.in;
    first.out = block.out;
    first.d = tasks.d;
    first.B = {held.data(), real_of<BScalar>(), static_cast<int>(k), 0};
    first.layout = cuda::Layout::rows;
    first.Z_in = Z.data();
    first.Z_out = Z.data() + block.rows_in * k;
    first.K = K.data();
    first.K_cross = K_cross.data();
    sweeps.run(first, queue.workspace(sweeps.workspace(first)), queue.stream());
    const auto take = [&](std::vector<double>& to, const cuda::DeviceArray<double>& from) {
      runtime.copy(to.data(), from.data(), from.size() * sizeof(double), cuda::Copy::to_host,
                   queue.stream());
    };
    take(host_Z, Z);
    take(host_K, K);
    take(host_K_cross, K_cross);
    runtime.synchronise(queue.stream());
    Index row_in = 0, row_out = block.rows_in;
    for (Index i = 0; i < block.count; ++i) {
      TaskProducts& task = products[static_cast<std::size_t>(block.first + i)];
      const Index m_in = tasks.in(block.first + i).m, m_out = tasks.out(block.first + i).m;
      copy_rows(host_Z.data() + row_in * k, m_in, k, padded(k), task.Z_in);
      copy_rows(host_Z.data() + row_out * k, m_out, k, padded(k), task.Z_out);
      copy_corner(host_K.data() + i * squares, sizes.most_in, m_in, m_in, task.K);
      copy_corner(host_K_cross.data() + i * crosses, sizes.most_in, m_out, m_in, task.K_cross);
      row_in += m_in;
      row_out += m_out;
    }
  });
}

// Instantiations for every type of X with every type of B.
template <class XScalar, class BScalar>
struct DeviceAdaptInstances {
  static constexpr auto adapt = &adapt_on_device<XScalar, BScalar>;
  static constexpr auto products = &products_on_device<XScalar, BScalar>;
};
template struct DeviceAdaptInstances<double, double>;
template struct DeviceAdaptInstances<double, float>;
template struct DeviceAdaptInstances<float, double>;
template struct DeviceAdaptInstances<float, float>;

}  // namespace metaspan
