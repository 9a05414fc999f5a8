// Memory, copies and streams of one device, as the core uses them. The device module implements the
// interface, so the core needs neither a CUDA header nor a CUDA library.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

namespace metaspan::cuda {

/// An error of the device or of its driver. The message is one sentence that says what to do.
struct DeviceError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
/// An allocation that the memory of the device cannot hold.
struct OutOfDeviceMemory : DeviceError {
  using DeviceError::DeviceError;
};

/// The properties of a device.
struct DeviceInfo {
  std::string name;          // "NVIDIA H100 80GB HBM3"
  int ordinal = 0;           // number of the device in this process
  int major = 0, minor = 0;  // compute capability
  int multiprocessors = 0;
  std::size_t total_bytes = 0;   // of device memory
  std::size_t shared_bytes = 0;  // most shared memory of a block, after opting in
  double bytes_per_second = 0;   // of device memory, theoretical
  double flops = 0;              // FP64 operations per second without tensor cores, theoretical
  int driver = 0, runtime = 0;   // versions, as CUDA numbers them
  bool is_emulated = false;      // kernels run on the CPU, for tests
};

/// A queue of work on a device; null is the default stream.
using Stream = void*;
/// A point in a stream.
using Event = void*;

enum class Copy { to_device, to_host, on_device };

/// The memory and the streams of one device. Every function throws DeviceError, also for an error
/// of earlier asynchronous work; functions that are noexcept never throw.
class Runtime {
 public:
  virtual ~Runtime() = default;
  virtual DeviceInfo info() const = 0;
  virtual std::size_t free_bytes() = 0;
  virtual void* allocate(std::size_t bytes) = 0;  // throws OutOfDeviceMemory
  virtual void release(void* memory) noexcept = 0;
  virtual void* allocate_pinned(std::size_t bytes) = 0;  // memory of the host
  virtual void release_pinned(void* memory) noexcept = 0;
  virtual void copy(void* to, const void* from, std::size_t bytes, Copy kind, Stream stream) = 0;
  virtual void clear(void* memory, std::size_t bytes, Stream stream) = 0;
  virtual Stream open_stream() = 0;
  virtual void close_stream(Stream stream) noexcept = 0;
  virtual void synchronise(Stream stream) = 0;
  virtual Event record(Stream stream) = 0;
  virtual void wait(Stream stream, Event event) = 0;  // the stream waits, the host does not
  virtual bool is_done(Event event) = 0;
  virtual void drop(Event event) noexcept = 0;
};

/// Owns memory for `count` numbers, which two functions of the runtime allocate and release.
template <class T, void* (Runtime::*Allocate)(std::size_t),
          void (Runtime::*Release)(void*) noexcept>
class OwnedArray {
 public:
  OwnedArray() = default;
  OwnedArray(Runtime& runtime, std::size_t count)
      : runtime_(&runtime),
        data_(count == 0 ? nullptr : static_cast<T*>((runtime.*Allocate)(count * sizeof(T)))),
        count_(count) {}
  OwnedArray(OwnedArray&& other) noexcept { swap(other); }
  OwnedArray& operator=(OwnedArray&& other) noexcept {
    swap(other);
    return *this;
  }
  ~OwnedArray() {
    if (data_ != nullptr) (runtime_->*Release)(data_);
  }

  T* data() const { return data_; }
  std::size_t size() const { return count_; }

 private:
  void swap(OwnedArray& other) noexcept {
    std::swap(runtime_, other.runtime_);
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
  }
  Runtime* runtime_ = nullptr;
  T* data_ = nullptr;
  std::size_t count_ = 0;
};

/// Device memory.
template <class T>
using DeviceArray = OwnedArray<T, &Runtime::allocate, &Runtime::release>;
/// Pinned memory of the host, from which a device copies while the host works.
template <class T>
using PinnedArray = OwnedArray<T, &Runtime::allocate_pinned, &Runtime::release_pinned>;

}  // namespace metaspan::cuda
