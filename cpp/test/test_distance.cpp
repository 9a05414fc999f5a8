// Tests the distance of states whose M is singular. No start has such a state, but a run can reach
// one.
#include <vector>

#include "check.hpp"
#include "distance.hpp"

namespace metaspan {
namespace {

using test::check;

/// Returns the distance of Z = [M; R] with k = 2. Computes the distance by the kernel for one state
/// and by the kernel for a panel that has the state in every column, and checks that both results
/// are equal.
double distance(const std::vector<double>& Z) {
  const std::ptrdiff_t k = 2, e = static_cast<std::ptrdiff_t>(Z.size()) / k - k;
  constexpr int width = kernels::kTrials;
  std::vector<double> panel, dist(width);
  for (const double number : Z) panel.insert(panel.end(), width, number);
  std::vector<double> scratch(static_cast<std::size_t>(kernels::distance_scratch(k, e)) * width);
  double alone = 0;
  kernels::distances<1>(k, e, Z.data(), scratch.data(), &alone);
  kernels::distances<width>(k, e, panel.data(), scratch.data(), dist.data());
  for (const double in_panel : dist) check(in_panel == alone, "a panel has the bits of one state");
  return alone;
}

void test_a_singular_state_is_at_distance_one() {
  check(distance({1, 2, 2, 4}) == 1, "a singular M without rows off the span");
  check(distance({0, 0, 0, 0}) == 1, "M = 0 without rows off the span");
  check(distance({1, 2, 2, 4, 1, 0}) == 1, "a singular M with a row off the span");
}

void test_the_whole_span_is_at_distance_zero() {
  check(distance({1, 2, 2, 5}) == 0, "a regular M without rows off the span");
  check(distance({1, 2, 2, 5, 0, 0}) == 0, "a regular M with R = 0");
}

}  // namespace
}  // namespace metaspan

int main() {
  metaspan::test_a_singular_state_is_at_distance_one();
  metaspan::test_the_whole_span_is_at_distance_zero();
  return metaspan::test::failures;
}
