// Arrays that the host and a device have copies of.
#pragma once

#include <vector>

#include "metaspan/base/base.hpp"
#include "metaspan/cuda/runtime.hpp"

namespace metaspan {

/// An array on the host and its copy on a device.
template <class T>
class Mirror {
 public:
  /// Sets the number of elements, and the elements of the host to zero.
  void resize(cuda::Runtime& runtime, Index size) {
    runtime_ = &runtime;
    host_.assign(static_cast<std::size_t>(size), T{});
    if (device_.size() >= host_.size()) return;
    device_ = {};  // releases the old memory first
    device_ = cuda::DeviceArray<T>(runtime, host_.size());
  }
  void to_device(cuda::Stream stream) {
    if (host_.empty()) return;
    runtime_->copy(device_.data(), host_.data(), bytes(), cuda::Copy::to_device, stream);
  }
  /// Copies the elements back; they are valid once the stream has been synchronised.
  void to_host(cuda::Stream stream) {
    if (host_.empty()) return;
    runtime_->copy(host_.data(), device_.data(), bytes(), cuda::Copy::to_host, stream);
  }

  /// Returns the copy on the device, or null if the array is empty.
  T* device() const { return host_.empty() ? nullptr : device_.data(); }
  T* host() { return host_.data(); }
  const T* host() const { return host_.data(); }
  auto begin() { return host_.begin(); }
  auto end() { return host_.end(); }
  Index size() const { return static_cast<Index>(host_.size()); }
  T& operator[](Index i) { return host_[static_cast<std::size_t>(i)]; }

 private:
  std::size_t bytes() const { return host_.size() * sizeof(T); }
  cuda::Runtime* runtime_ = nullptr;
  std::vector<T> host_;
  cuda::DeviceArray<T> device_;
};

}  // namespace metaspan
