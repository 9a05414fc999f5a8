// A token that long loops poll, so that Ctrl-C works within a round.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>
#include <utility>

#include "metaspan/base/error.hpp"

namespace metaspan {

class Cancel {
 public:
  /// `ask` returns true to stop. It is called on the thread that made the token alone, at most
  /// every 20 ms.
  explicit Cancel(std::function<bool()> ask)
      : ask_(std::move(ask)), owner_(std::this_thread::get_id()), last_(Clock::now()) {}

  bool requested() const { return requested_.load(std::memory_order_relaxed); }

  /// Does nothing on other threads than the token's own.
  void poll() {
    if (std::this_thread::get_id() != owner_) return;
    if (requested() || Clock::now() - last_ < std::chrono::milliseconds(20)) return;
    if (ask_()) requested_.store(true, std::memory_order_relaxed);
    last_ = Clock::now();
  }

 private:
  using Clock = std::chrono::steady_clock;
  std::function<bool()> ask_;
  std::thread::id owner_;
  Clock::time_point last_;
  std::atomic<bool> requested_{false};
};

/// Ends what a requested token has left half done; null is never requested.
inline void throw_if_requested(const Cancel* cancel) {
  if (cancel != nullptr && cancel->requested()) throw Cancelled();
}

}  // namespace metaspan
