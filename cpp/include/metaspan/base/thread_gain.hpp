// Tests whether loops currently run faster on several threads than on one. A loop ends when its
// slowest thread ends. Other busy processes take a processor for milliseconds at a time, and
// several threads can then be slower than one.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <ctime>

namespace metaspan {

/// Returns the processor time of the calling thread in seconds, or 0 if the system cannot measure
/// this time.
inline double thread_seconds() {
#ifdef CLOCK_THREAD_CPUTIME_ID
  timespec time{};
  if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0) {
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  }
#endif
  return 0;
}

/// Sums the seconds that loops lost by running on several threads instead of one. A loop on one
/// thread is assumed to take as long as the sum of the processor times of all threads. If the loops
/// of about the last 20 ms have lost time in total, loops run on one thread for 20 ms, then on
/// several threads again. If loops on several threads lose time again before as much time has
/// passed as the last period on one thread took, the next period on one thread lasts twice as long,
/// up to 640 ms. Several threads may use the same ThreadGain object. If two threads update the
/// object at the same time, one update may be lost, which delays a decision by one loop.
class ThreadGain {
 public:
  /// Returns the ThreadGain object that all loops of the process share.
  static ThreadGain& of_process() {
    static ThreadGain gain;
    return gain;
  }

  /// Returns the time of a steady clock in seconds.
  static double now() {
    const auto time = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double>(time).count();
  }

  /// Whether a loop that begins at `time` may use several threads.
  bool allows(double time) const { return time >= alone_until_.load(std::memory_order_relaxed); }

  /// Records a loop that ran on several threads from `begin` to `end` and took `work` seconds of
  /// processor time: the sum over the threads, without the time that they waited for each other.
  void record(double begin, double end, double work) {
    if (!(work > 0)) return;
    const double age = begin - last_.load(std::memory_order_relaxed);
    const double kept = age < 0 ? 1 : std::exp(-age / kMemory);
    // The sum decays with time, and a sum of gains is limited to kMemory, so that past gains cannot
    // hide a present loss.
    const double lost = kept * lost_.load(std::memory_order_relaxed) + (end - begin) - work;
    last_.store(end, std::memory_order_relaxed);
    lost_.store(std::max(lost, -kMemory), std::memory_order_relaxed);
    if (lost <= kTolerance) return;
    const double before = alone_.load(std::memory_order_relaxed);
    const bool soon = begin - alone_until_.load(std::memory_order_relaxed) < before;
    const double alone = soon ? std::min(2 * before, kLongest) : kMemory;
    alone_.store(alone, std::memory_order_relaxed);
    alone_until_.store(end + alone, std::memory_order_relaxed);
    lost_.store(0, std::memory_order_relaxed);
  }

 private:
  // These times are in seconds. kTolerance is longer than the time that starting the threads takes.
  static constexpr double kMemory = 0.02, kLongest = 0.64, kTolerance = 0.0005;

  std::atomic<double> lost_{0}, last_{0}, alone_{kMemory}, alone_until_{0};
};

}  // namespace metaspan
