#include "metaspan/engines/device_arrays.hpp"

#include <algorithm>

#include "device_memory.hpp"
#include "device_routes.hpp"
#include "metaspan/base/error.hpp"
#include "metaspan/cuda/panels.hpp"

namespace metaspan {

/// Chooses by a model in which kOperations operations in double take as long as reading a byte, and
/// a sweep takes the longer of its two times. A pass of the vector route reads X once.
RouteKind device_route(const Method& method, const DataSizes& sizes) {
  constexpr double kOperations = 10;
  const GramsNeeded needed = grams_needed(method, sizes.losses > 0);
  const double m_in = sizes.m_in, m_out = sizes.shared ? 0 : sizes.m_out;
  const auto number = static_cast<double>(sizes.number_bytes), k = static_cast<double>(sizes.k);
  // The time of one column of X, as the number of bytes that are read in this time.
  const double read = number * (m_in + m_out);
  double products = 2 * k * (m_in + m_out);
  if (needed.K || sizes.shared) products += m_in * m_in;
  if (needed.K_cross) products += 2 * m_in * m_out;
  if (needed.K_outer) products += m_out * m_out;
  const double gram =
      std::max(read, products / kOperations) + std::max(read, 2 * k * (m_in + m_out) / kOperations);
  const double passes = 2 * method.inner_passes() * m_in + 2 * m_out;
  const double grams = 8.0 * cuda::kPanelColumns * (m_in + m_out) * (m_in + m_out);  // of a panel
  if (!method.adapt_B || method.solves_head) return RouteKind::gram;
  return grams <= kDeviceBlockBytes && gram <= number * passes ? RouteKind::gram
                                                               : RouteKind::vector;
}

template <class XScalar, class BScalar>
std::shared_ptr<DeviceRoute<XScalar, BScalar>> make_device_route(
    RouteKind kind, const DeviceUse& use, const Method& method, const TaskSet<XScalar>& tasks,
    Index k, Index n, int copies_of_B) {
  require(!tasks.is_sparse(), "a device cannot process sparse data");
  require(k <= kMostDeviceColumns, "B has too many columns for a device");
  require(kind != RouteKind::vector_float32, "sums on a device are in double");
  const auto make = kind == RouteKind::gram ? make_device_gram_route<XScalar, BScalar>
                                            : make_device_vector_route<XScalar, BScalar>;
  return make(use, method, tasks, k, n, copies_of_B);
}

template <class XScalar, class BScalar>
void gradient_on_device(const DeviceUse& use, RouteKind kind, const Method& method,
                        const BScalar* B, const double* w, Index k, const TaskSet<XScalar>& tasks,
                        bool losses, BScalar* grad_B, RoundOutputs& out, int threads,
                        Cancel* cancel) {
  const Index n = tasks.size();
  const auto route = make_device_route<XScalar, BScalar>(kind, use, method, tasks, k, n, 2);
  const auto size = static_cast<std::size_t>(tasks.d * k);
  const cuda::DeviceArray<BScalar> held(*use.module->runtime, size),
      grad(*use.module->runtime, size);
  cuda::Runtime& runtime = *use.module->runtime;
  runtime.copy(held.data(), B, size * sizeof(BScalar), cuda::Copy::to_device, route->stream());
  route->gradient(held.data(), w, {n}, losses, grad.data(), out, threads, cancel);
  runtime.copy(grad_B, grad.data(), size * sizeof(BScalar), cuda::Copy::to_host, route->stream());
  runtime.synchronise(route->stream());
}

// Instantiations for every type of X with every type of B.
template <class XScalar, class BScalar>
struct DeviceRouteInstances {
  static constexpr auto make = &make_device_route<XScalar, BScalar>;
  static constexpr auto gradient = &gradient_on_device<XScalar, BScalar>;
};
template struct DeviceRouteInstances<double, double>;
template struct DeviceRouteInstances<double, float>;
template struct DeviceRouteInstances<float, double>;
template struct DeviceRouteInstances<float, float>;

}  // namespace metaspan
