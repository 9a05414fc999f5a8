// Parallel loops and the thread pool. No other file uses OpenMP. Callers split their work into
// items by the shapes of arrays, never by the number of threads, and add the partial sums of the
// items in the order of the items. Results therefore do not depend on the number of threads.
#pragma once

#ifdef _OPENMP
#include <omp.h>
#endif

#ifdef __linux__
#include <sched.h>
#endif

#include <exception>
#include <thread>

#include "metaspan/base/base.hpp"
#include "metaspan/base/cancel.hpp"
#include "metaspan/base/thread_gain.hpp"

namespace metaspan {

/// Whether this build can use more than one thread.
#ifdef _OPENMP
inline constexpr bool kHasThreads = true;
#else
inline constexpr bool kHasThreads = false;
#endif

/// Calls body(i, thread) once for every i in [0, items), in any order, on at most `threads`
/// threads. While ThreadGain finds that several threads are slower than one, only one thread runs
/// the loop. `thread` is the number, counted from 0, of the thread that calls body. If calls of
/// body throw exceptions, the first exception is rethrown after the loop. Once `cancel` has been
/// requested, items that have not begun are skipped without an exception, so callers call
/// throw_if_requested() after the loop. Threads take items one at a time, since the costs of items
/// may differ.
template <class Body>
void parallel_for(int threads, Index items, Cancel* cancel, Body&& body) {
  if (threads > items) threads = static_cast<int>(items);
#ifdef _OPENMP
  ThreadGain& gain = ThreadGain::of_process();
  const double begin = threads > 1 ? ThreadGain::now() : 0;
  if (threads > 1 && !gain.allows(begin)) threads = 1;
#else
  threads = 1;
#endif
  if (threads <= 1) {
    for (Index i = 0; i < items; ++i) {
      if (cancel != nullptr) {
        cancel->poll();
        if (cancel->requested()) return;
      }
      body(i, 0);
    }
    return;
  }
#ifdef _OPENMP
  std::exception_ptr failure;
  double work = 0;  // processor time of all threads, in seconds
#pragma omp parallel num_threads(threads) reduction(+ : work)
  {
    const int thread = omp_get_thread_num();
    const double before = thread_seconds();
#pragma omp for schedule(dynamic, 1) nowait
    for (Index i = 0; i < items; ++i) {
      if (cancel != nullptr) {
        cancel->poll();
        if (cancel->requested()) continue;
      }
      try {
        body(i, thread);
      } catch (...) {
#pragma omp critical(metaspan_failure)
        if (!failure) failure = std::current_exception();
      }
    }
    work += thread_seconds() - before;
  }
  gain.record(begin, ThreadGain::now(), work);
  if (failure) std::rethrow_exception(failure);
#endif
}

/// Runs the parallel loop without a cancellation token.
template <class Body>
void parallel_for(int threads, Index items, Body&& body) {
  parallel_for(threads, items, nullptr, body);
}

/// Returns the number of CPUs that this process may use, or 1 in a build without threads.
inline int available_cpus() {
  if (!kHasThreads) return 1;
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  const unsigned count = std::thread::hardware_concurrency();
  return count == 0 ? 1 : static_cast<int>(count);
}

/// Returns the number of threads for a call that does not specify one: the number of CPUs that this
/// process may use, or the limit from OMP_NUM_THREADS or from omp_set_num_threads() on the calling
/// thread, whichever is smaller.
inline int default_threads() {
#ifdef _OPENMP
  const int most = omp_get_max_threads();
  return most < available_cpus() ? most : available_cpus();
#else
  return 1;
#endif
}

#ifdef _OPENMP
#ifdef __clang__
/// Does nothing and returns true. LLVM's OpenMP library handles forks by itself, and pausing this
/// library would also stop the work of other threads.
inline bool pause_threads() { return true; }
#else
// OpenMP 5.0 added omp_pause_resource_all(), which the OpenMP library in some wheels lacks. The
// weak reference is null if the library lacks the function, and the code below tests for null at
// run time.
#pragma weak omp_pause_resource_all

/// Ends the idle threads of the pool, so that a fork is safe. Returns false if the OpenMP library
/// cannot end these threads.
inline bool pause_threads() {
  return omp_pause_resource_all != nullptr && omp_pause_resource_all(omp_pause_hard) == 0;
}
#endif
#else
/// Does nothing and returns true, since a build without OpenMP has no thread pool.
inline bool pause_threads() { return true; }
#endif

}  // namespace metaspan
