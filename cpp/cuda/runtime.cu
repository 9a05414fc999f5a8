// Memory, copies, streams and events of one device, by the CUDA runtime.
#include <cuda_runtime.h>

#include <mutex>
#include <string>

#include "errors.hpp"
#include "metaspan/cuda/runtime.hpp"
#include "parts.hpp"

namespace metaspan::cuda {
namespace {

int attribute(cudaDeviceAttr which, int ordinal) {
  int value = 0;
  require_success(cudaDeviceGetAttribute(&value, which, ordinal), "report its properties");
  return value;
}

/// Returns the FP64 operations per second without tensor cores. A multiprocessor has its number of
/// FP32 lanes divided by the ratio of the two rates, and each lane does two operations in a cycle.
double double_flops(const DeviceInfo& info) {
  const bool has_64_lanes = info.major == 7 || (info.minor == 0 && info.major == 8) ||
                            (info.minor == 0 && info.major == 6);
  const int ratio = attribute(cudaDevAttrSingleToDoublePrecisionPerfRatio, info.ordinal);
  const double lanes = (has_64_lanes ? 64.0 : 128.0) / (ratio > 0 ? ratio : 1);
  const double cycles = 1e3 * attribute(cudaDevAttrClockRate, info.ordinal);
  return 2 * lanes * info.multiprocessors * cycles;
}

class CudaRuntime final : public Runtime {
 public:
  // Each reason why no device can be used has a message of its own. A driver takes milliseconds to
  // read the clocks, so the properties of a device are read once.
  DeviceInfo info() const override {
    DeviceInfo info;
    require_success(cudaDriverGetVersion(&info.driver), "report the version of its driver");
    require_success(cudaRuntimeGetVersion(&info.runtime), "report the version of its runtime");
    if (info.driver == 0) {
      throw DeviceError(
          "device=\"cuda\" needs an NVIDIA driver, and this machine has no working one: install "
          "the driver of the card, or use device=\"cpu\"");
    }
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error == cudaErrorInsufficientDriver) {
      cudaGetLastError();
      throw DeviceError("device=\"cuda\" needs a driver for CUDA " + version_of(info.runtime) +
                        ", and the driver of this machine supports CUDA " +
                        version_of(info.driver) + ": update the driver, or use device=\"cpu\"");
    }
    if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0)) {
      cudaGetLastError();
      throw DeviceError(
          "device=\"cuda\" needs a CUDA device, and this process sees none: check nvidia-smi and "
          "CUDA_VISIBLE_DEVICES, or use device=\"cpu\"");
    }
    require_success(error, "be found");
    require_success(cudaGetDevice(&info.ordinal), "be found");
    const std::lock_guard<std::mutex> lock(mutex_);
    if (described_.name.empty() || described_.ordinal != info.ordinal) {
      describe(info);
      described_ = info;
    }
    return described_;
  }

  std::size_t free_bytes() override {
    std::size_t free = 0, total = 0;
    require_success(cudaMemGetInfo(&free, &total), "tell its free memory");
    return free;
  }

  void* allocate(std::size_t bytes) override {
    void* memory = nullptr;
    const cudaError_t error = cudaMalloc(&memory, bytes);
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      throw OutOfDeviceMemory("the device cannot allocate " + std::to_string(bytes) +
                              " bytes: " + std::to_string(free_bytes()) + " bytes are free");
    }
    require_success(error, "allocate memory");
    return memory;
  }

  void release(void* memory) noexcept override { forget(cudaFree(memory)); }

  void* allocate_pinned(std::size_t bytes) override {
    void* memory = nullptr;
    const cudaError_t error = cudaMallocHost(&memory, bytes);
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      throw OutOfDeviceMemory("the host cannot pin " + std::to_string(bytes) + " bytes of memory");
    }
    require_success(error, "pin memory of the host");
    return memory;
  }

  void release_pinned(void* memory) noexcept override { forget(cudaFreeHost(memory)); }

  void copy(void* to, const void* from, std::size_t bytes, Copy kind, Stream stream) override {
    const cudaMemcpyKind direction = kind == Copy::to_device ? cudaMemcpyHostToDevice
                                     : kind == Copy::to_host ? cudaMemcpyDeviceToHost
                                                             : cudaMemcpyDeviceToDevice;
    require_success(cudaMemcpyAsync(to, from, bytes, direction, of(stream)), "copy memory");
  }

  void clear(void* memory, std::size_t bytes, Stream stream) override {
    require_success(cudaMemsetAsync(memory, 0, bytes, of(stream)), "clear memory");
  }

  Stream open_stream() override {
    cudaStream_t stream = nullptr;
    require_success(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "open a stream");
    return stream;
  }

  void close_stream(Stream stream) noexcept override { forget(cudaStreamDestroy(of(stream))); }

  void synchronise(Stream stream) override {
    require_success(cudaStreamSynchronize(of(stream)), "finish its work");
  }

  Event record(Stream stream) override {
    cudaEvent_t event = nullptr;
    require_success(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "make an event");
    const cudaError_t error = cudaEventRecord(event, of(stream));
    if (error != cudaSuccess) forget(cudaEventDestroy(event));
    require_success(error, "record an event");
    return event;
  }

  void wait(Stream stream, Event event) override {
    require_success(cudaStreamWaitEvent(of(stream), static_cast<cudaEvent_t>(event), 0),
                    "wait for an event");
  }

  bool is_done(Event event) override {
    const cudaError_t error = cudaEventQuery(static_cast<cudaEvent_t>(event));
    if (error == cudaErrorNotReady) {
      cudaGetLastError();
      return false;
    }
    require_success(error, "finish its work");
    return true;
  }

  void drop(Event event) noexcept override {
    forget(cudaEventDestroy(static_cast<cudaEvent_t>(event)));
  }

 private:
  static cudaStream_t of(Stream stream) { return static_cast<cudaStream_t>(stream); }

  static std::string version_of(int number) {
    return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
  }

  /// Clears the error of a function that must not throw.
  static void forget(cudaError_t error) noexcept {
    if (error != cudaSuccess) cudaGetLastError();
  }

  static void describe(DeviceInfo& info) {
    cudaDeviceProp properties;
    require_success(cudaGetDeviceProperties(&properties, info.ordinal), "report its properties");
    info.name = properties.name;
    info.major = properties.major;
    info.minor = properties.minor;
    info.multiprocessors = properties.multiProcessorCount;
    info.total_bytes = properties.totalGlobalMem;
    info.shared_bytes = properties.sharedMemPerBlockOptin;
    // Two transfers a cycle of the memory clock, which is in kHz.
    info.bytes_per_second = 2e3 * attribute(cudaDevAttrMemoryClockRate, info.ordinal) *
                            attribute(cudaDevAttrGlobalMemoryBusWidth, info.ordinal) / 8;
    info.flops = double_flops(info);
#if !defined(__CUDACC__)
    info.is_emulated = true;
#endif
  }

  mutable std::mutex mutex_;
  mutable DeviceInfo described_;  // the last device; no name: none yet
};

}  // namespace

Runtime& runtime() {
  static Runtime& only = *new CudaRuntime;
  return only;
}

}  // namespace metaspan::cuda
