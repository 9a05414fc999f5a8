// The emulated runtime API: memory, streams and events of a device in memory of the host.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <set>
#include <string>
#include <vector>

#include "cuda_runtime.h"
#include "sanitizers.hpp"
#include "scheduler.hpp"

#if defined(METASPAN_EMULATOR_ASAN)
#include <sanitizer/asan_interface.h>
#endif

namespace metaspan::emulator {

/// The queued work of a stream, in order. It runs when something waits for it, and not before.
struct Queue {
  std::deque<std::function<void()>> work;
  std::uint64_t queued = 0, done = 0;
};

/// An event, which is a point in a stream.
struct Point {
  std::shared_ptr<Queue> stream;
  std::uint64_t position = 0;
};

namespace {

constexpr std::size_t kAlignment = 256;

struct Allocation {
  std::size_t bytes = 0;
  std::atomic<std::uint64_t> read{0}, written{0};
};

using Allocations = std::map<std::uintptr_t, Allocation>;

/// The state of the device. One lock protects all of it, since several Python threads may use it.
struct Device {
  std::recursive_mutex mutex;
  int devices = 1;
  std::size_t total_bytes = std::size_t{1} << 30;
  std::size_t live_bytes = 0, live_pinned_bytes = 0;
  Allocations memory, pinned;
  std::atomic<std::uint64_t> changes{0};  // allocations of device memory, made or released
  std::shared_ptr<Queue> null_stream = std::make_shared<Queue>();
  std::map<cudaStream_t, std::shared_ptr<Queue>> streams;
  std::set<cudaEvent_t> events;
  std::map<const void*, std::size_t> opted_in;                // dynamic shared memory of kernels
  std::map<std::string, std::pair<unsigned, unsigned>> most;  // blocks, warps of launches
  int in_use = 0;                                             // nested objects of type Access
};

Device& device() {
  static Device& state = *new Device;  // outlives all static objects that use it
  return state;
}

thread_local cudaError_t last_error = cudaSuccess;

cudaError_t result(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

/// Returns the allocation that contains `p`, or null.
Allocation* allocation_of(Allocations& allocations, const void* p) {
  const auto address = reinterpret_cast<std::uintptr_t>(p);
  auto next = allocations.upper_bound(address);
  if (next == allocations.begin()) return nullptr;
  --next;
  return address < next->first + std::max<std::size_t>(next->second.bytes, 1) ? &next->second
                                                                              : nullptr;
}

/// Returns the allocation of device memory that contains `p`, or null. Each thread caches the last
/// two allocations, which most accesses hit, until memory is allocated or released.
Allocation* counted_allocation(const void* p) {
  struct Place {
    std::uintptr_t first = 1, end = 0;
    Allocation* allocation = nullptr;
  };
  thread_local Place last[2];
  thread_local std::uint64_t seen = 0;
  const std::uint64_t made = device().changes.load(std::memory_order_relaxed);
  if (seen != made) last[0] = last[1] = Place{};
  seen = made;
  const auto address = reinterpret_cast<std::uintptr_t>(p);
  for (const Place& place : last) {
    if (address >= place.first && address < place.end) return place.allocation;
  }
  Allocation* allocation = allocation_of(device().memory, p);
  if (allocation == nullptr) return nullptr;
  const auto first = std::prev(device().memory.upper_bound(address))->first;
  last[1] = last[0];
  last[0] = {first, first + allocation->bytes, allocation};
  return allocation;
}

bool is_within(Allocations& allocations, const void* p, std::size_t bytes) {
  const Allocation* allocation = allocation_of(allocations, p);
  if (allocation == nullptr) return false;
  const auto first = std::prev(allocations.upper_bound(reinterpret_cast<std::uintptr_t>(p)))->first;
  return reinterpret_cast<std::uintptr_t>(p) + bytes <= first + allocation->bytes;
}

/// Permits accesses to device memory during its lifetime. At other times AddressSanitizer reports
/// every access, because the host cannot read the memory of a card.
class Access {
 public:
  Access() {
    if (device().in_use++ == 0) mark(false);
  }
  ~Access() {
    if (--device().in_use == 0) mark(true);
  }
  Access(const Access&) = delete;
  Access& operator=(const Access&) = delete;

 private:
  static void mark([[maybe_unused]] bool is_poisoned) {
#if defined(METASPAN_EMULATOR_ASAN)
    for (const auto& [address, allocation] : device().memory) {
      const auto* p = reinterpret_cast<const void*>(address);
      if (is_poisoned) __asan_poison_memory_region(p, allocation.bytes);
      if (!is_poisoned) __asan_unpoison_memory_region(p, allocation.bytes);
    }
#endif
  }
};

void run_to(Queue& stream, std::uint64_t position) {
  while (stream.done < position) {
    const std::function<void()> work = std::move(stream.work.front());
    stream.work.pop_front();
    work();
    ++stream.done;
  }
}

void run_all() {
  Device& d = device();
  run_to(*d.null_stream, d.null_stream->queued);
  for (const auto& [handle, stream] : d.streams) run_to(*stream, stream->queued);
}

std::shared_ptr<Queue> stream_of(cudaStream_t stream) {
  Device& d = device();
  if (stream == nullptr) return d.null_stream;
  const auto place = d.streams.find(stream);
  if (place == d.streams.end()) fail("a stream is used that is not open");
  return place->second;
}

void queue(cudaStream_t stream, std::function<void()> work) {
  const auto target = stream_of(stream);
  target->work.push_back(std::move(work));
  ++target->queued;
}

Point& event_of(cudaEvent_t event) {
  if (device().events.count(event) == 0) fail("an event is used that does not exist");
  return *event;
}

void* allocate(Allocations& allocations, std::size_t bytes) {
  void* p = nullptr;
  if (::posix_memalign(&p, kAlignment, std::max<std::size_t>(bytes, 1)) != 0) return nullptr;
  std::memset(p, 0xff, bytes);  // doubles that were never written are NaN
  allocations[reinterpret_cast<std::uintptr_t>(p)].bytes = bytes;
  return p;
}

bool has_driver() { return device().devices >= 0; }
bool has_device() { return device().devices > 0; }

// Returns the name of a kernel without parentheses, namespaces and template arguments.
std::string base_name(const std::string& expression) {
  std::string name = expression.substr(0, expression.find('<'));
  name.erase(std::remove_if(name.begin(), name.end(), [](char c) { return c == '(' || c == ')'; }),
             name.end());
  const auto scope = name.rfind("::");
  return scope == std::string::npos ? name : name.substr(scope + 2);
}

/// Writes the names and the largest launches of all kernels that ran to the file
/// $METASPAN_EMULATOR_LAUNCHES.
void write_launches() {
  const char* path = std::getenv("METASPAN_EMULATOR_LAUNCHES");
  if (path == nullptr) return;
  std::FILE* file = std::fopen(path, "w");
  if (file == nullptr) return;
  for (const auto& [name, shape] : device().most) {
    std::fprintf(file, "%s %u %u\n", name.c_str(), shape.first, shape.second);
  }
  std::fclose(file);
}

/// Records a launch if it has more blocks and warps than the recorded launch of this kernel, where
/// more than three of either count as three.
void record_launch(const Shape& shape) {
  static const bool is_registered = std::atexit(&write_launches) == 0;
  static_cast<void>(is_registered);
  const unsigned blocks = shape.grid.x * shape.grid.y * shape.grid.z;
  const unsigned warps = (shape.block.x * shape.block.y * shape.block.z + 31) / 32;
  auto& most = device().most[base_name(shape.name)];
  const auto capped = [](unsigned b, unsigned w) { return std::min(b, 3u) + std::min(w, 3u); };
  if (capped(blocks, warps) > capped(most.first, most.second)) most = {blocks, warps};
}

cudaError_t check_shape(const Shape& shape) {
  const dim3 g = shape.grid, b = shape.block;
  const std::uint64_t threads = std::uint64_t{b.x} * b.y * b.z;
  if (threads == 0 || threads > 1024 || b.z > 64) return cudaErrorInvalidConfiguration;
  if (g.x == 0 || g.y == 0 || g.z == 0) return cudaErrorInvalidConfiguration;
  if (g.x > 0x7fffffffu || g.y > 65535 || g.z > 65535) return cudaErrorInvalidConfiguration;
  const auto opted = device().opted_in.find(shape.kernel);
  const std::size_t most = opted == device().opted_in.end() ? 49152 : opted->second;
  return shape.shared_bytes > std::max<std::size_t>(most, 49152) ? cudaErrorInvalidValue
                                                                 : cudaSuccess;
}

using Guard = std::lock_guard<std::recursive_mutex>;

}  // namespace

void launch(const Shape& shape, std::function<void()> body, cudaStream_t stream) {
  const Guard guard(device().mutex);
  const cudaError_t error = has_device() ? check_shape(shape) : cudaErrorNoDevice;
  if (result(error) != cudaSuccess) return;
  record_launch(shape);
  queue(stream, [shape, body = std::move(body)] {
    const Access access;
    run_grid(shape, body);
  });
}

void count_read(const void* p, std::size_t bytes) {
  Allocation* allocation = counted_allocation(p);
  if (allocation == nullptr) fail("load_global reads outside device memory");
  allocation->read.fetch_add(bytes, std::memory_order_relaxed);
}

void count_write(const void* p, std::size_t bytes) {
  Allocation* allocation = counted_allocation(p);
  if (allocation == nullptr) fail("store_global writes outside device memory");
  allocation->written.fetch_add(bytes, std::memory_order_relaxed);
}

std::uint64_t bytes_read(const void* p) {
  const Guard guard(device().mutex);
  const Allocation* allocation = allocation_of(device().memory, p);
  return allocation == nullptr ? 0 : allocation->read.load();
}

std::uint64_t bytes_written(const void* p) {
  const Guard guard(device().mutex);
  const Allocation* allocation = allocation_of(device().memory, p);
  return allocation == nullptr ? 0 : allocation->written.load();
}

void clear_counters() {
  const Guard guard(device().mutex);
  for (auto& [address, allocation] : device().memory) allocation.read = allocation.written = 0;
}

std::size_t live_bytes() {
  const Guard guard(device().mutex);
  return device().live_bytes;
}

std::size_t live_pinned_bytes() {
  const Guard guard(device().mutex);
  return device().live_pinned_bytes;
}

int live_handles() {
  const Guard guard(device().mutex);
  return static_cast<int>(device().streams.size() + device().events.size());
}

void set_total_bytes(std::size_t bytes) {
  const Guard guard(device().mutex);
  device().total_bytes = bytes;
}

void set_devices(int count) {
  const Guard guard(device().mutex);
  device().devices = count;
}

cudaError_t opt_in(const void* kernel, int bytes) {
  const Guard guard(device().mutex);
  if (bytes < 0 || bytes > 166912) return result(cudaErrorInvalidValue);  // of sm_80
  device().opted_in[kernel] = static_cast<std::size_t>(bytes);
  return cudaSuccess;
}

}  // namespace metaspan::emulator

using namespace metaspan::emulator;  // NOLINT(google-build-using-namespace): the API has no
                                     // namespace

cudaError_t cudaGetLastError() {
  const cudaError_t error = last_error;
  last_error = cudaSuccess;
  return error;
}
cudaError_t cudaPeekAtLastError() { return last_error; }

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorInsufficientDriver:
      return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorNotReady:
      return "cudaErrorNotReady";
  }
  return "unknown";
}

const char* cudaGetErrorString(cudaError_t error) { return cudaGetErrorName(error); }

cudaError_t cudaDriverGetVersion(int* version) {
  *version = has_driver() ? CUDART_VERSION : 0;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = std::max(device().devices, 0);
  if (!has_driver()) return result(cudaErrorInsufficientDriver);
  return has_device() ? cudaSuccess : result(cudaErrorNoDevice);
}

cudaError_t cudaSetDevice(int ordinal) {
  return ordinal < device().devices ? cudaSuccess : result(cudaErrorInvalidValue);
}

cudaError_t cudaGetDevice(int* ordinal) {
  *ordinal = 0;
  return has_device() ? cudaSuccess : result(cudaErrorNoDevice);
}

// Describes an A100 with few multiprocessors, so that grids are small.
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int ordinal) {
  if (ordinal >= device().devices) return result(cudaErrorInvalidValue);
  *properties = cudaDeviceProp{};
  std::snprintf(properties->name, sizeof(properties->name), "emulated device");
  properties->totalGlobalMem = device().total_bytes;
  properties->sharedMemPerBlockOptin = 166912;
  properties->major = 8;
  properties->multiProcessorCount = 5;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int ordinal) {
  if (ordinal >= device().devices) return result(cudaErrorInvalidValue);
  switch (attribute) {
    case cudaDevAttrClockRate:
      *value = 1410000;
      break;
    case cudaDevAttrMultiProcessorCount:
      *value = 5;
      break;
    case cudaDevAttrMemoryClockRate:
      *value = 1215000;
      break;
    case cudaDevAttrGlobalMemoryBusWidth:
      *value = 5120;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = 8;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = 0;
      break;
    case cudaDevAttrSingleToDoublePrecisionPerfRatio:
      *value = 2;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = 166912;
      break;
  }
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  const Guard guard(device().mutex);
  run_all();
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  const Guard guard(device().mutex);
  *memory = nullptr;
  if (!has_device()) return result(cudaErrorNoDevice);
  Device& d = device();
  if (bytes > d.total_bytes || d.live_bytes > d.total_bytes - bytes) {
    return result(cudaErrorMemoryAllocation);
  }
  *memory = allocate(d.memory, bytes);
  if (*memory == nullptr) return result(cudaErrorMemoryAllocation);
  d.live_bytes += bytes;
  ++d.changes;
#if defined(METASPAN_EMULATOR_ASAN)
  __asan_poison_memory_region(*memory, bytes);
#endif
  return cudaSuccess;
}

cudaError_t cudaFree(void* memory) {
  const Guard guard(device().mutex);
  if (memory == nullptr) return cudaSuccess;
  run_all();  // as on a card
  const auto place = device().memory.find(reinterpret_cast<std::uintptr_t>(memory));
  if (place == device().memory.end()) return result(cudaErrorInvalidValue);
#if defined(METASPAN_EMULATOR_ASAN)
  __asan_unpoison_memory_region(memory, place->second.bytes);
#endif
  device().live_bytes -= place->second.bytes;
  ++device().changes;
  device().memory.erase(place);
  std::free(memory);
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void** memory, std::size_t bytes) {
  const Guard guard(device().mutex);
  *memory = has_device() ? allocate(device().pinned, bytes) : nullptr;
  if (*memory == nullptr) {
    return result(has_device() ? cudaErrorMemoryAllocation : cudaErrorNoDevice);
  }
  device().live_pinned_bytes += bytes;
  return cudaSuccess;
}

cudaError_t cudaFreeHost(void* memory) {
  const Guard guard(device().mutex);
  if (memory == nullptr) return cudaSuccess;
  run_all();
  const auto place = device().pinned.find(reinterpret_cast<std::uintptr_t>(memory));
  if (place == device().pinned.end()) return result(cudaErrorInvalidValue);
  device().live_pinned_bytes -= place->second.bytes;
  device().pinned.erase(place);
  std::free(memory);
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes) {
  const Guard guard(device().mutex);
  if (!has_device()) return result(cudaErrorNoDevice);
  *total_bytes = device().total_bytes;
  *free_bytes = device().total_bytes - std::min(device().live_bytes, device().total_bytes);
  return cudaSuccess;
}

// A copy from memory that is not pinned reads this memory at once, and a copy to such memory waits
// for the stream. Copies of pinned memory are queued with the other work of the stream.
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  const Guard guard(device().mutex);
  if (bytes == 0) return cudaSuccess;
  Device& d = device();
  const bool reads_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  const bool writes_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  if (!has_device()) return result(cudaErrorNoDevice);
  if (reads_device != is_within(d.memory, from, bytes)) return result(cudaErrorInvalidValue);
  if (writes_device != is_within(d.memory, to, bytes)) return result(cudaErrorInvalidValue);
  const auto copy = [to, bytes](const void* source) {
    const Access access;
    std::memcpy(to, source, bytes);
  };
  if (!reads_device && !is_within(d.pinned, from, bytes)) {
    const auto* first = static_cast<const unsigned char*>(from);
    queue(stream, [copy, staged = std::vector<unsigned char>(first, first + bytes)] {
      copy(staged.data());
    });
    return cudaSuccess;
  }
  queue(stream, [copy, from] { copy(from); });
  if (!writes_device && !is_within(d.pinned, to, bytes)) return cudaStreamSynchronize(stream);
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes, cudaStream_t stream) {
  const Guard guard(device().mutex);
  if (bytes == 0) return cudaSuccess;
  if (!has_device()) return result(cudaErrorNoDevice);
  if (!is_within(device().memory, memory, bytes)) return result(cudaErrorInvalidValue);
  queue(stream, [=] {
    const Access access;
    std::memset(memory, value, bytes);
  });
  return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* memory) {
  const Guard guard(device().mutex);
  *attributes = cudaPointerAttributes{cudaMemoryTypeUnregistered, -2, nullptr, nullptr};
  void* p = const_cast<void*>(memory);  // NOLINT(cppcoreguidelines-pro-type-const-cast): as CUDA's
  if (allocation_of(device().memory, memory) != nullptr) {
    *attributes = {cudaMemoryTypeDevice, 0, p, nullptr};
  } else if (allocation_of(device().pinned, memory) != nullptr) {
    *attributes = {cudaMemoryTypeHost, 0, p, p};
  }
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  const Guard guard(device().mutex);
  if (flags != cudaStreamNonBlocking) return result(cudaErrorInvalidValue);  // not emulated
  if (!has_device()) return result(cudaErrorNoDevice);
  auto state = std::make_shared<Queue>();
  *stream = state.get();
  device().streams[*stream] = std::move(state);
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const Guard guard(device().mutex);
  const auto state = stream_of(stream);
  run_to(*state, state->queued);  // a card also completes the remaining work
  device().streams.erase(stream);
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const Guard guard(device().mutex);
  if (!has_device()) return result(cudaErrorNoDevice);
  const auto state = stream_of(stream);
  run_to(*state, state->queued);
  return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  const Guard guard(device().mutex);
  const auto state = stream_of(stream);
  if (state->done == state->queued) return cudaSuccess;
  run_to(*state, state->done + 1);  // so that a loop of queries ends
  return cudaErrorNotReady;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const Guard guard(device().mutex);
  const Point& point = event_of(event);
  if (point.stream != nullptr) {
    queue(stream, [other = point.stream, position = point.position] { run_to(*other, position); });
  }
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  const Guard guard(device().mutex);
  if (!has_device()) return result(cudaErrorNoDevice);
  *event = new Point;
  device().events.insert(*event);
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const Guard guard(device().mutex);
  if (device().events.erase(event) == 0) return result(cudaErrorInvalidValue);
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const Guard guard(device().mutex);
  Point& point = event_of(event);
  point.stream = stream_of(stream);
  point.position = point.stream->queued;
  return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const Guard guard(device().mutex);
  const Point& point = event_of(event);
  if (point.stream != nullptr) run_to(*point.stream, point.position);
  return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  const Guard guard(device().mutex);
  const Point& point = event_of(event);
  if (point.stream == nullptr || point.stream->done >= point.position) return cudaSuccess;
  run_to(*point.stream, point.stream->done + 1);
  return cudaErrorNotReady;
}
