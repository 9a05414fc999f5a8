// The only file that names OpenMP. Loops are cut by shape, never by the number of threads, so that
// results do not depend on it; sums over the pieces are taken in the order of the pieces.
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

namespace metaspan {

#ifdef _OPENMP
inline constexpr bool kHasThreads = true;
#else
inline constexpr bool kHasThreads = false;
#endif

/// body(i, thread) for i in [0, items), each once, in any order and on at most `threads` threads.
/// The first exception of a body is rethrown. With a token, items not yet begun are left out once
/// it is requested.
template <class Body>
void parallel_for(int threads, Index items, Cancel* cancel, Body&& body) {
  if (threads > items) threads = static_cast<int>(items);
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
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
  for (Index i = 0; i < items; ++i) {
    const int thread = omp_get_thread_num();
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
  if (failure) std::rethrow_exception(failure);
#else
  parallel_for(1, items, cancel, body);
#endif
}

template <class Body>
void parallel_for(int threads, Index items, Body&& body) {
  parallel_for(threads, items, nullptr, body);
}

/// CPUs that this process may use: one where the build has no threads.
inline int available_cpus() {
  if (!kHasThreads) return 1;
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  const unsigned count = std::thread::hardware_concurrency();
  return count == 0 ? 1 : static_cast<int>(count);
}

/// Threads of a call whose caller gives no number: the CPUs of this process, or fewer where
/// OMP_NUM_THREADS or the caller's thread has set a limit.
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
/// LLVM's library minds forks by itself, and a pause would also end what other threads compute.
inline bool pause_threads() { return true; }
#else
// Of OpenMP 5.0, and absent from the library that some wheels carry: a weak reference, tested at
// run time.
#pragma weak omp_pause_resource_all

/// Ends the idle threads of the pool, so that a fork is safe. False where the library cannot.
inline bool pause_threads() {
  return omp_pause_resource_all != nullptr && omp_pause_resource_all(omp_pause_hard) == 0;
}
#endif
#else
inline bool pause_threads() { return true; }
#endif

}  // namespace metaspan
