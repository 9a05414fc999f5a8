// Owners of streams and events of a device. Their destructors release these resources, also while
// an exception unwinds the stack.
#pragma once

#include <chrono>
#include <thread>
#include <utility>

#include "metaspan/base/cancel.hpp"
#include "metaspan/cuda/runtime.hpp"

namespace metaspan::cuda {

/// A stream. Its destructor waits for the work on it, so arrays that are declared before the stream
/// outlive this work.
class OwnedStream {
 public:
  explicit OwnedStream(Runtime& runtime) : runtime_(runtime), stream_(runtime.open_stream()) {}
  OwnedStream(const OwnedStream&) = delete;
  ~OwnedStream() {
    drain();
    runtime_.close_stream(stream_);
  }

  Stream get() const { return stream_; }
  /// Waits for the work on the stream, and ignores errors.
  void drain() noexcept {
    try {
      runtime_.synchronise(stream_);
    } catch (...) {  // the caller reports the error that matters
    }
  }

 private:
  Runtime& runtime_;
  Stream stream_;
};

/// Owns an event, which is a point in a stream, or nothing.
class OwnedEvent {
 public:
  OwnedEvent() = default;
  OwnedEvent(Runtime& runtime, Stream stream)
      : runtime_(&runtime), event_(runtime.record(stream)) {}
  OwnedEvent(OwnedEvent&& other) noexcept { swap(other); }
  OwnedEvent& operator=(OwnedEvent&& other) noexcept {
    swap(other);
    return *this;
  }
  ~OwnedEvent() {
    if (runtime_ != nullptr) runtime_->drop(event_);
  }

  /// Makes a stream wait for the point.
  void hold(Stream stream) const {
    if (runtime_ != nullptr) runtime_->wait(stream, event_);
  }
  /// Makes the host wait for the point. Throws Cancelled if cancellation is requested meanwhile.
  void await(Cancel* cancel) const {
    while (runtime_ != nullptr && !runtime_->is_done(event_)) {
      if (cancel != nullptr) cancel->poll();
      throw_if_requested(cancel);
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
  }

 private:
  void swap(OwnedEvent& other) noexcept {
    std::swap(runtime_, other.runtime_);
    std::swap(event_, other.event_);
  }
  Runtime* runtime_ = nullptr;
  Event event_ = nullptr;
};

}  // namespace metaspan::cuda
