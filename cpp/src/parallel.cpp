#include "metaspan/parallel.hpp"

#include <thread>

#ifdef __linux__
#include <sched.h>
#endif

#ifdef _OPENMP
// Of OpenMP 5.0, and absent from the library that some wheels carry: a weak reference, tested at run time.
#pragma weak omp_pause_resource_all
#endif

namespace metaspan {

int available_cpus() {
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  const unsigned count = std::thread::hardware_concurrency();
  return count == 0 ? 1 : static_cast<int>(count);
}

bool pause_threads() {
#ifdef _OPENMP
  return omp_pause_resource_all != nullptr && omp_pause_resource_all(omp_pause_hard) == 0;
#else
  return true;
#endif
}

bool has_threads() {
#ifdef _OPENMP
  return true;
#else
  return false;
#endif
}

}  // namespace metaspan
