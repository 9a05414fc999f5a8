// Tests that rounds on data that stay on the device and on data that are streamed to it have the
// same bits, and agree with the rounds of the CPU.
#include <cmath>
#include <random>

#include "device_test.hpp"
#include "metaspan/engines/device_arrays.hpp"

namespace metaspan::test {
namespace {

/// A batch of tasks with random numbers, whose rows are further apart than their length.
struct Numbers {
  static constexpr Index kFeatures = 21, kStride = 24, kColumns = 3;
  std::vector<double> X, y, B, w;
  ArraysData<double> data;

  Numbers(Index tasks, bool shared) {
    std::mt19937 random(7);
    std::normal_distribution<double> normal;
    const auto fill = [&](std::vector<double>& numbers, Index count) {
      numbers.resize(static_cast<std::size_t>(count));
      for (double& x : numbers) x = normal(random);
    };
    fill(X, tasks * 12 * kStride);
    fill(y, tasks * 12);
    fill(B, kFeatures * kColumns);
    fill(w, kColumns);
    data.tasks.d = kFeatures;
    data.B_star = Mat(kFeatures, 0);
    Index row = 0;
    for (Index i = 0; i < tasks; ++i) {
      const Index sizes[] = {1 + i % 7, shared ? 0 : 5 - i % 5};
      for (int set = 0; set < (shared ? 1 : 2); ++set) {
        const Samples<double> samples{DenseRows<double>{X.data() + row * kStride, kStride},
                                      y.data() + row, sizes[set]};
        (set == 0 ? data.tasks.inner : data.tasks.outer).push_back(samples);
        row += sizes[set];
      }
      if (shared) data.tasks.outer.push_back(data.tasks.inner.back());
      data.tasks.weights.push_back(i % 2 == 0 ? 0.5 : 1.5);
    }
  }
};

Method method_of(bool adapt_B) {
  Method method{};
  method.alpha = 0.02;
  method.beta = method.beta_head = 0.03;
  method.inner_steps = 2;
  method.adapt_B = adapt_B;
  method.exact = true;
  return method;
}

/// The gradient of a round, in one row: grad_B, grad_w, losses and adapted heads.
using Row = std::vector<double>;

Row row_of(const std::vector<double>& grad_B, const RoundOutputs& out) {
  Row row = grad_B;
  row.insert(row.end(), out.w.data(), out.w.data() + out.w.size());
  row.insert(row.end(), out.losses.data(), out.losses.data() + out.losses.size());
  row.insert(row.end(), out.adapted.data(), out.adapted.data() + out.adapted.size());
  return row;
}

Row on_device(const DeviceUse& use, RouteKind kind, const Method& method, const Numbers& numbers) {
  std::vector<double> grad_B(numbers.B.size());
  RoundOutputs out;
  gradient_on_device<double, double>(use, kind, method, numbers.B.data(), numbers.w.data(),
                                     Numbers::kColumns, numbers.data.tasks, true, grad_B.data(),
                                     out, 1, nullptr);
  return row_of(grad_B, out);
}

Row on_cpu(RouteKind kind, const Method& method, const Numbers& numbers) {
  std::vector<double> grad_B(numbers.B.size());
  RoundOutputs out;
  const auto route =
      make_route<double, double>(kind, method, numbers.data.tasks, Numbers::kColumns);
  route->gradient(numbers.B.data(), numbers.w.data(), {numbers.data.tasks.size()}, true,
                  grad_B.data(), out, 1, nullptr);
  return row_of(grad_B, out);
}

bool are_close(const Row& a, const Row& b) {
  double largest = 0, error = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, std::abs(b[i]));
    error = std::max(error, std::abs(a[i] - b[i]));
  }
  return a.size() == b.size() && error < 1e-12 * largest;
}

/// Compares rounds of `tasks` tasks in blocks of at most `bytes` bytes.
void compare(Index tasks, double bytes, RouteKind kind) {
  for (const bool shared : {false, true}) {
    const Numbers numbers(tasks, shared);
    for (const bool adapt_B : {false, true}) {
      const Method method = method_of(adapt_B);
      const Row kept = on_device({&cuda::module(), bytes, true}, kind, method, numbers);
      const Row streamed = on_device({&cuda::module(), bytes, false}, kind, method, numbers);
      check(kept == streamed, "streamed data have the bits of data on the device");
      check(are_close(kept, on_cpu(kind, method, numbers)), "a round agrees with the CPU");
    }
  }
}

/// Tests that a round that is cancelled before its first block leaves nothing on the device.
void test_cancellation() {
  const Numbers numbers(3, false);
  Cancel cancel([] { return true; });
  while (!cancel.requested()) cancel.poll();
  std::vector<double> grad_B(numbers.B.size());
  RoundOutputs out;
  bool cancelled = false;
  try {
    gradient_on_device<double, double>({&cuda::module(), 1.0, false}, RouteKind::gram,
                                       method_of(true), numbers.B.data(), numbers.w.data(),
                                       Numbers::kColumns, numbers.data.tasks, true, grad_B.data(),
                                       out, 1, &cancel);
  } catch (const Cancelled&) {
    cancelled = true;
  }
  check(cancelled, "a requested round is cancelled");
}

}  // namespace
}  // namespace metaspan::test

int main() {
  return metaspan::test::run_tests([] {
    using metaspan::RouteKind;
    metaspan::test::compare(3, 1.0, RouteKind::gram);  // blocks of one task
    metaspan::test::test_cancellation();
    if (metaspan::test::is_slow()) return;
    metaspan::test::compare(40, 1e5, RouteKind::gram);   // more than one panel of 32 tasks
    metaspan::test::compare(9, 1e4, RouteKind::vector);  // panels of 8 tasks or fewer
  });
}
