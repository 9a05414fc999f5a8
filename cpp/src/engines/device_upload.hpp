// Uploads of samples to a device through pinned memory, so that the device copies one part while
// the host collects the next one.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "metaspan/base/parallel.hpp"
#include "metaspan/cuda/owned.hpp"

namespace metaspan {

/// Bytes of each of the two pinned buffers, and of the memory that one thread collects at a time.
constexpr std::size_t kPinnedBytes = 1 << 25;
constexpr Index kCollectedBytes = 1 << 18;

/// Rows in device memory start at multiples of this number of bytes, the unit in which a card reads
/// its memory.
constexpr Index kDeviceAlignment = 32;

/// Copies rows of the host, one after another, to consecutive memory of a device.
class Uploader {
 public:
  /// `most_bytes` is the largest number of bytes of an upload.
  Uploader(cuda::Runtime& runtime, std::size_t most_bytes) : runtime_(runtime) {
    const std::size_t bytes = std::min(kPinnedBytes, std::max<std::size_t>(most_bytes, 1));
    for (Buffer& buffer : buffers_) buffer.memory = {runtime, bytes};
  }

  /// Begins an upload to the memory `to` of a device.
  void begin(void* to, cuda::Stream stream, int threads, Cancel* cancel) {
    to_ = static_cast<char*>(to);
    parts_.clear();  // an upload that was cancelled may have left some
    filled_ = 0;
    stream_ = stream;
    threads_ = threads;
    cancel_ = cancel;
  }

  /// Adds rows of `row_bytes` bytes, which begin `stride` bytes apart in the memory of the host and
  /// `padded_bytes` bytes apart in that of the device. The rows must stay valid until end().
  void add(const void* from, Index rows, Index row_bytes, Index stride, Index padded_bytes) {
    const auto* row = static_cast<const char*>(from);
    for (Index i = 0; i < rows; ++i, row += stride) {
      for (Index done = 0; done < padded_bytes;) {
        if (filled_ == capacity()) flush();
        const Index room = static_cast<Index>(capacity() - filled_);
        const Index count = std::min({room, padded_bytes - done, kCollectedBytes});
        const Index copied = std::clamp<Index>(row_bytes - done, 0, count);
        if (copied > 0) parts_.push_back({row + done, filled_, static_cast<std::size_t>(copied)});
        filled_ += static_cast<std::size_t>(count);
        done += count;
      }
    }
  }

  /// Queues the copies that are left. The rows that were added are no longer needed.
  void end() { flush(); }

 private:
  struct Buffer {
    cuda::PinnedArray<char> memory;
    cuda::OwnedEvent free;  // when the device has copied the buffer
  };
  struct Part {
    const char* from;
    std::size_t at, bytes;  // in the buffer
  };

  std::size_t capacity() const { return buffers_[0].memory.size(); }

  /// Collects the parts in a pinned buffer and queues the copy of this buffer. Parts are disjoint,
  /// so threads may collect them in any order.
  void flush() {
    if (filled_ == 0) return;
    Buffer& buffer = buffers_[static_cast<std::size_t>(next_)];
    buffer.free.await(cancel_);
    const auto count = static_cast<Index>(parts_.size());
    const Index groups = std::min(count, static_cast<Index>(filled_) / kCollectedBytes + 1);
    parallel_for(threads_, groups, [&](Index group, int) {
      for (Index i = group * count / groups; i < (group + 1) * count / groups; ++i) {
        const Part& part = parts_[static_cast<std::size_t>(i)];
        std::memcpy(buffer.memory.data() + part.at, part.from, part.bytes);
      }
    });
    runtime_.copy(to_, buffer.memory.data(), filled_, cuda::Copy::to_device, stream_);
    buffer.free = {runtime_, stream_};
    to_ += filled_;
    filled_ = 0;
    next_ = 1 - next_;
    parts_.clear();
  }

  cuda::Runtime& runtime_;
  std::array<Buffer, 2> buffers_;
  std::vector<Part> parts_;
  std::size_t filled_ = 0;
  char* to_ = nullptr;
  cuda::Stream stream_ = nullptr;
  int next_ = 0, threads_ = 1;
  Cancel* cancel_ = nullptr;
};

}  // namespace metaspan
