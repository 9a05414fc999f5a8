// Products of matrices with the rows of all tasks on a device. Estimators see the samples only as
// such products.
#pragma once

#include <memory>

#include "metaspan/engines/device_arrays.hpp"
#include "metaspan/sweeps/row_products.hpp"

namespace metaspan {

/// The rows X (N, d) of a batch, in the order of row_offsets(), as functions of row_products.hpp
/// see them. Matrices are in host memory, sums are in double. X stays on the device if it fits;
/// otherwise every product copies it in blocks of tasks. The bits depend on the blocks alone, which
/// depend on shapes and on DeviceUse::block_bytes.
class DeviceRows {
 public:
  virtual ~DeviceRows() = default;

  /// Computes Z = X B for 1 <= k <= 256.
  virtual void features(const double* B,  // (d, k)
                        Index k,
                        double* Z,  // (N, k) out
                        int threads, Cancel* cancel) = 0;

  /// Computes X^T C for 1 <= k <= 256.
  virtual void combine(const double* C,  // (N, k)
                       Index k,
                       double* out,  // (d, k) out
                       int threads, Cancel* cancel) = 0;

  /// Computes X^T transform(X B) for 1 <= k <= 256. X is copied to the device once for both
  /// products. `transform` is called on the calling thread, with consecutive ranges of tasks.
  virtual void combine_features(const double* B,  // (d, k)
                                Index k, const RowTransform& transform,
                                double* out,  // (d, k) out
                                int threads, Cancel* cancel) = 0;

  /// Computes the Gram matrices X_i X_i^T, (m_i, m_i), of the tasks [first, first + count).
  virtual std::vector<Mat> grams(Index first, Index count, int threads, Cancel* cancel) = 0;
};

/// Makes the rows of `tasks`, which must outlive them.
template <class XScalar>
std::unique_ptr<DeviceRows> make_device_rows(const DeviceUse& use, const TaskSet<XScalar>& tasks);

}  // namespace metaspan
