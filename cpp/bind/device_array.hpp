// Arrays in device memory, which array libraries lend and borrow by DLPack.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "convert.hpp"
#include "device.hpp"
#include "metaspan/cuda/runtime.hpp"

namespace metaspan::bind {

/// An array in device memory, or a view of one. Copies share the memory, which is released with the
/// last of them.
struct DeviceArray {
  cuda::Runtime* runtime = nullptr;   // of the device; device modules are never unloaded
  std::shared_ptr<void> owner;        // releases the memory
  char* data = nullptr;               // first number
  std::vector<Index> shape, strides;  // strides in numbers
  bool is_double = true;              // float64, or float32
  bool is_read_only = false;
  py::object library = py::none();  // converts a DLPack producer to the array kind of its lender

  Index axes() const { return static_cast<Index>(shape.size()); }
  Index item_bytes() const { return is_double ? 8 : 4; }
  Index size() const {
    Index count = 1;
    for (const Index length : shape) count *= length;
    return count;
  }
  /// Whether the last axis is contiguous, so that rows can be read as they are.
  bool has_contiguous_rows() const {
    return shape.empty() || shape.back() <= 1 || strides.back() == 1;
  }
  /// Whether the numbers are contiguous in C order.
  bool is_contiguous() const {
    Index expected = 1;
    for (Index axis = axes() - 1; axis >= 0; --axis) {
      const auto at = static_cast<std::size_t>(axis);
      if (shape[at] > 1 && strides[at] != expected) return false;
      expected *= shape[at];
    }
    return true;
  }
  template <class Scalar>
  bool holds() const {
    return is_double == std::is_same_v<Scalar, double>;
  }
  template <class Scalar>
  Scalar* numbers() const {
    return reinterpret_cast<Scalar*>(data);
  }
};

/// Returns the strides, in numbers, of an array in C order.
std::vector<Index> c_strides(const std::vector<Index>& shape);

/// Borrows the array of a DLPack capsule that was made for the legacy default stream, and waits
/// until the work of the lender on the array is done.
DeviceArray borrow(const Device& device, const py::capsule& capsule, py::object library);

/// Returns a DLPack capsule of an array for a borrower that reads version `major`.
py::object make_capsule(const DeviceArray& array, std::uint32_t major);

/// Returns a new array of zeros in device memory, in C order.
DeviceArray make_device_array(cuda::Runtime& runtime, std::vector<Index> shape, bool is_double);

}  // namespace metaspan::bind
