// Tests that rounds allocate no memory: while rounds run, every malloc of the process is counted.
#include <cstdlib>

#include "check.hpp"
#include "metaspan/algebra/dense_design.hpp"
#include "metaspan/algebra/task_algebra.hpp"
#include "metaspan/engines/advance.hpp"
#include "metaspan/engines/population.hpp"
#include "metaspan/geometry/coordinates.hpp"

namespace {
volatile long allocations = 0;  // volatile: compilers assume that malloc does not change it
}
#ifdef METASPAN_SANITIZER_MALLOC
// A sanitizer replaces malloc, and calls this hook on every allocation.
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*)(const volatile void*,
                                                                  std::size_t),
                                                         void (*)(const volatile void*));
void count_allocations() {
  __sanitizer_install_malloc_and_free_hooks(
      [](const volatile void*, std::size_t) { allocations = allocations + 1; },
      [](const volatile void*) {});
}
#else
extern "C" void* __libc_malloc(std::size_t);
extern "C" void* malloc(std::size_t bytes) {
  allocations = allocations + 1;
  return __libc_malloc(bytes);
}
void count_allocations() {}
#endif

namespace metaspan {
namespace {

using test::check;

/// Returns how often body() allocates memory.
template <class Body>
long allocations_of(Body&& body) {
  const long before = allocations;
  body();
  return allocations - before;
}

/// A population engine with k = k_star and Gaussian heads.
std::unique_ptr<PopulationEngine> make_engine(const Method& method, Index k, Index n) {
  HeadLaw law;
  law.k_star = k;
  Mat Z = random_start(derive_key(1, 0, 0, Stream::start), 1e6, k, k, 3.0);
  return make_population(method, PopulationEngine::start(method, std::move(Z), Vec::Zero(k), k),
                         HeadSource(law, n, 1, 0), n, 0.1);
}

void test_counter_sees_allocations() {
  const auto once = [] {
    void* volatile memory = std::malloc(100);  // volatile: otherwise both calls are optimised away
    std::free(memory);
  };
  check(allocations_of(once) == 1, "the counter sees malloc");
  check(allocations_of([] { Mat::Zero(40, 40).eval(); }) > 0,
        "the counter sees Eigen's allocations");
}

void test_population_rounds_allocate_nothing() {
  for (const Index n : {3, 1000}) {
    for (const int steps : {0, 1, 3}) {
      for (const int kind : {0, 1, 2, 3}) {
        const auto run =
            make_engine({0.1, 0.1, steps, kind % 2 == 1, kind / 2 == 1}, n == 3 ? 3 : 20, n);
        TaskOutputs tasks;
        tasks.want_losses = true;
        run->gradient(0, nullptr, tasks, 1, nullptr);  // allocates the outputs
        const long count = allocations_of([&] {
          for (Index round = 1; round < 5; ++round) {
            run->gradient(round, nullptr, tasks, 1, nullptr);
            run->step(1);
          }
        });
        check(count == 0, "a population round does not allocate");
      }
    }
  }
}

void test_distance_allocates_nothing() {
  const auto run = make_engine({0.1, 0.1, 1, false, false}, 3, 3);
  Meter meter(3, 3, 3);
  meter.dist(run->coordinates());
  check(allocations_of([&] { meter.dist(run->coordinates()); }) == 0, "dist does not allocate");
}

void test_algebra_on_arrays_allocates_nothing() {
  constexpr Index m = 30, k = 5;
  Mat Z_in = Mat::Random(m, padded(k)), Z_out = Mat::Random(m, padded(k));
  Z_in.rightCols(padded(k) - k).setZero();
  Z_out.rightCols(padded(k) - k).setZero();
  const Mat K = Z_in * Z_in.transpose(), K_cross = Z_out * Z_in.transpose();
  const Vec y = Vec::Random(m), w = Vec::Random(k);
  constexpr int steps = 4;
  Factors C_in, C_out;
  C_in.reset(m, k, 2 * steps);
  C_out.reset(m, k, 1);
  const Method method{0.01, 0.1, steps, true, true};
  DenseDesign::Scratch scratch(method, k, m, m);
  DenseDesign design(k, steps,
                     {m, m, Z_in.data(), y.data(), Z_out.data(), y.data(), K.data(), m,
                      K_cross.data(), m, &C_in, &C_out},
                     scratch);
  TaskAlgebra<DenseDesign> algebra(method, k, m, m);
  const long count = allocations_of([&] { algebra.gradient(design, w.data(), true); });
  check(count == 0, "the algebra of a task does not allocate");
}

}  // namespace
}  // namespace metaspan

int main() {
  count_allocations();
  metaspan::test_counter_sees_allocations();
  metaspan::test_population_rounds_allocate_nothing();
  metaspan::test_distance_allocates_nothing();
  metaspan::test_algebra_on_arrays_allocates_nothing();
  return metaspan::test::failures;
}
