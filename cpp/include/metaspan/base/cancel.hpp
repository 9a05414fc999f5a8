// Cancellation: a token that long loops poll, so that Ctrl-C interrupts a round.
#pragma once

#ifdef __linux__
#include <time.h>
#endif

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <thread>
#include <utility>

#include "metaspan/base/error.hpp"

namespace metaspan {

/// A cancellation token. Any thread may read the token, but only the thread that constructed the
/// token calls `ask`.
class Cancel {
 public:
  /// `ask` returns true to request cancellation. Only the thread that constructs the token calls
  /// `ask`, at most once every 20 ms.
  explicit Cancel(std::function<bool()> ask)
      : ask_(std::move(ask)), owner_(std::this_thread::get_id()), last_(milliseconds()) {}

  /// Whether cancellation has been requested. Safe to call from any thread.
  bool requested() const { return requested_.load(std::memory_order_relaxed); }

  /// Calls `ask` if at least 20 ms have passed since the last call of `ask`. Does nothing on a
  /// thread that did not construct the token.
  void poll() {
    if (std::this_thread::get_id() != owner_) return;
    if (requested() || milliseconds() - last_ < 20) return;
    if (ask_()) requested_.store(true, std::memory_order_relaxed);
    last_ = milliseconds();
  }

 private:
  /// The time of a steady clock. Linux has a clock that is a few milliseconds coarse and several
  /// times cheaper to read, which matters where items of work take a microsecond.
  static std::int64_t milliseconds() {
#ifdef __linux__
    timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
#else
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
#endif
  }

  std::function<bool()> ask_;
  std::thread::id owner_;
  std::int64_t last_;
  std::atomic<bool> requested_{false};
};

/// Throws `Cancelled` if `cancel` is not null and cancellation has been requested.
inline void throw_if_requested(const Cancel* cancel) {
  if (cancel != nullptr && cancel->requested()) throw Cancelled();
}

}  // namespace metaspan
