// Engines on data with all d features whose sweeps, task algebra and steps run on a device. Also
// functions that adapt heads and compute features and Gram matrices on a device.
#pragma once

#include <type_traits>

#include "metaspan/cuda/module.hpp"
#include "metaspan/cuda/sweeps.hpp"
#include "metaspan/data/data_sizes.hpp"
#include "metaspan/engines/arrays.hpp"

namespace metaspan {

/// Returns the type of numbers in device memory that corresponds to Scalar.
template <class Scalar>
constexpr cuda::Real real_of() {
  return std::is_same_v<Scalar, double> ? cuda::Real::float64 : cuda::Real::float32;
}

/// A device, and settings of its use. The blocks of a round, and therefore the bits of its results,
/// depend on `block_bytes`, but not on whether the features stay on the device.
struct DeviceUse {
  const cuda::Module* module;
  double block_bytes = kDeviceBlockBytes;
  bool may_keep = true;  // the features stay on the device if they fit
};

/// Returns the faster route on a device by a model: the Gram route, unless its Gram matrices take
/// longer than the passes of the vector route, or are too large.
RouteKind device_route(const Method& method, const DataSizes& sizes);

/// Computes gradients of rounds from B in device memory, by one of the routes of (11). Trials that
/// share data may share a route if their rounds do not overlap.
template <class XScalar, class BScalar>
class DeviceRoute {
 public:
  virtual ~DeviceRoute() = default;

  /// Does what Route::gradient() does, and waits until grad_B is complete.
  virtual void gradient(const BScalar* B,  // (d, k) device
                        const double* w,   // (parameters,)
                        const TaskSelection& taken, bool losses,
                        BScalar* grad_B,  // (d, k) device, out
                        RoundOutputs& out, int threads, Cancel* cancel) = 0;
  /// The stream on which the route works.
  virtual cuda::Stream stream() const = 0;
};

/// Makes a route on `tasks`, which must outlive it, and allocates its memory. Throws
/// cuda::OutOfDeviceMemory, before anything is allocated, if `copies_of_B` arrays as large as B and
/// the memory of the route do not fit on the device.
template <class XScalar, class BScalar>
std::shared_ptr<DeviceRoute<XScalar, BScalar>> make_device_route(RouteKind kind,
                                                                 const DeviceUse& use,
                                                                 const Method& method,
                                                                 const TaskSet<XScalar>& tasks,
                                                                 Index k, Index n, int copies_of_B);

/// Makes an engine like make_arrays(), with B on the device of `route`.
template <class XScalar, class BScalar>
std::unique_ptr<ArraysEngine<BScalar>> make_device_arrays(
    std::shared_ptr<DeviceRoute<XScalar, BScalar>> route, const DeviceUse& use,
    const Method& method, const ArraysData<XScalar>& data, Index k,
    const ArraysStart<BScalar>& start, BeforeRound before = {});

/// Does what Route::gradient() does for all tasks, on a device.
template <class XScalar, class BScalar>
void gradient_on_device(const DeviceUse& use, RouteKind kind, const Method& method,
                        const BScalar* B,  // (d, k)
                        const double* w,   // (parameters,)
                        Index k, const TaskSet<XScalar>& tasks, bool losses,
                        BScalar* grad_B,  // (d, k) out
                        RoundOutputs& out, int threads, Cancel* cancel);

/// Does what adapt_on_arrays() does, on a device.
template <class XScalar, class BScalar>
void adapt_on_device(const DeviceUse& use, const Method& method,
                     const BScalar* B,  // (d, k)
                     const double* w,   // (parameters,)
                     Index k, const TaskSet<XScalar>& tasks,
                     double* w_J,   // (n, k) out
                     BScalar* B_J,  // (n, d, k) out, or null
                     int threads, Cancel* cancel);

/// Computes X B and X' B, (rows, k) in the order of the tasks, and the Gram matrices K and K' of
/// every task, without normalisation, on a device.
template <class XScalar, class BScalar>
void products_on_device(const DeviceUse& use,
                        const BScalar* B,  // (d, k)
                        Index k, const TaskSet<XScalar>& tasks,
                        std::vector<TaskProducts>& products,  // (n,) out
                        int threads, Cancel* cancel);

}  // namespace metaspan
