// Tests the second sweep of a device, steps and Gram matrices of tall matrices against slow sums.
#include <limits>

#include "sweep_samples.hpp"

namespace metaspan::test {
namespace {

using cuda::Real;

struct Shape {
  std::vector<int> in, out;
  Index d;
  int k;
  Real type_X, type_B;
  bool is_made = false;
};

/// Computes start + X^T C over the stacked rows [first, first + count) by slow sums.
Numbers slow_combination(const TestSets& sets, const Numbers& C, int k, Index first, Index count,
                         const double* start) {
  Numbers out;
  for (Index i = 0; i < sets.d; ++i) {
    for (int j = 0; j < k; ++j) {
      const double sum =
          product(count, sets.row(first) + i, sets.stride(), &C[0] + first * k + j, k);
      out.push_back(sum + (start != nullptr ? start[i * k + j] : 0));
    }
  }
  return out;
}

/// Checks that the counted bytes of a sweep are those that the device moved.
void check_bytes(const TestSets& sets, std::uint64_t X_before, const RealArray& C,
                 std::uint64_t parts, std::uint64_t results, const cuda::DeviceWork& work) {
  if (!counts_bytes()) return;
  const auto samples = static_cast<double>(sets.on_device.read() - X_before);
  check(samples == work.sample_bytes, "the bytes of X of the second sweep are counted");
  check(static_cast<double>(C.read()) == work.factor_bytes, "the bytes of C are counted");
  check(static_cast<double>(parts) == work.part_bytes, "the bytes of partial sums are counted");
  check(static_cast<double>(results) == work.result_bytes, "the bytes of results are counted");
}

/// Runs the sweep over all rows, with and without a start, and returns the results.
Numbers run_second(const TestSets& sets, const Shape& shape, int blocks) {
  cuda::DeviceSweeps sweeps(cuda::runtime(), blocks);
  const Numbers C = make_numbers(sets.rows() * shape.k, 5),
                start = make_numbers(shape.d * shape.k, 6);
  Numbers all;
  for (const bool has_start : {false, true}) {
    const RealArray device_C(C, Real::float64), out(start, shape.type_B);
    const cuda::SecondSweep sweep{sets.all(),
                                  shape.d,
                                  shape.k,
                                  static_cast<const double*>(device_C.data()),
                                  has_start ? out.data() : nullptr,
                                  out.data(),
                                  shape.type_B};
    const cuda::DeviceArray<double> workspace(cuda::runtime(), sweeps.workspace(sweep) / 8);
    const std::uint64_t X_before = sets.on_device.read();
    sweeps.run(sweep, workspace.data(), nullptr);
    const Numbers numbers = out.download();
    check(agree(numbers,
                slow_combination(sets, C, shape.k, 0, sets.rows(),
                                 has_start ? start.data() : nullptr),
                shape.type_B),
          "the second sweep equals slow sums");
    check_bytes(sets, X_before, device_C, bytes_read(workspace) + bytes_written(workspace),
                out.read() + out.written(), sweeps.work(sweep));
    all.insert(all.end(), numbers.begin(), numbers.end());
  }
  return all;
}

/// Runs the sweep of every inner set alone: B + X_i^T C_i, with a start for all tasks, with one for
/// each task, and without one.
Numbers run_tasks(const TestSets& sets, const Shape& shape, int blocks) {
  cuda::DeviceSweeps sweeps(cuda::runtime(), blocks);
  const Index size = shape.d * shape.k;
  const Numbers C = make_numbers(sets.rows() * shape.k, 5), starts = make_numbers(sets.n * size, 6);
  Numbers all;
  for (const int form : {0, 1, 2}) {
    const RealArray device_C(C, Real::float64), start(starts, shape.type_B),
        out(Numbers(static_cast<std::size_t>(sets.n * size), NAN), shape.type_B);
    const Index step = form == 2 ? size : 0;
    const cuda::TaskSweep sweep{sets.inner(),
                                shape.d,
                                shape.k,
                                static_cast<const double*>(device_C.data()),
                                {form == 0 ? nullptr : start.data(), shape.type_B, shape.k, step},
                                out.data(),
                                shape.type_B};
    const cuda::DeviceArray<double> workspace(cuda::runtime(), sweeps.workspace(sweep) / 8);
    const std::uint64_t X_before = sets.on_device.read();
    sweeps.run(sweep, workspace.data(), nullptr);
    const Numbers numbers = out.download();
    for (int task = 0; task < sets.n; ++task) {
      const auto& set = sets.sets[static_cast<std::size_t>(task)];
      check(agree(Numbers(numbers.begin() + task * size, numbers.begin() + (task + 1) * size),
                  slow_combination(sets, C, shape.k, set.first_row, set.m,
                                   form == 0 ? nullptr : starts.data() + task * step),
                  shape.type_B),
            "the second sweep of a task equals slow sums");
    }
    check_bytes(sets, X_before, device_C, 0, start.read() + out.written(), sweeps.work(sweep));
    all.insert(all.end(), numbers.begin(), numbers.end());
  }
  return all;
}

void test_combinations_equal_slow_sums(const Shape& shape) {
  TestSets sets(shape.d, shape.in, shape.out, shape.type_X);
  if (shape.is_made) sets.make_rows();
  check(same_bits(run_second(sets, shape, 3), run_second(sets, shape, 8)),
        "the grid does not change the bits of the second sweep");
  check(same_bits(run_tasks(sets, shape, 3), run_tasks(sets, shape, 8)),
        "the grid does not change the bits of the second sweep of tasks");
}

/// Tests an outer set alone, whose stacked rows follow those of the inner sets.
void test_blocks_may_begin_at_any_row() {
  const TestSets sets(37, {3, 4}, {2, 5}, Real::float64);
  const int k = 3;
  const Numbers C = make_numbers(sets.rows() * k, 5);
  const RealArray device_C(C, Real::float64),
      out(Numbers(static_cast<std::size_t>(37 * k)), Real::float64);
  cuda::DeviceSweeps sweeps(cuda::runtime(), 3);
  const cuda::SecondSweep sweep{
      sets.outer(), 37,           k, static_cast<const double*>(device_C.data()), nullptr,
      out.data(),   Real::float64};
  const cuda::DeviceArray<double> workspace(cuda::runtime(), sweeps.workspace(sweep) / 8);
  sweeps.run(sweep, workspace.data(), nullptr);
  check(agree(out.download(), slow_combination(sets, C, k, 7, 7, nullptr)),
        "a block of outer sets uses their rows of C");
}

/// Tests that a step changes either all of B or nothing.
void test_steps_change_all_or_nothing(Index count, Real type) {
  cuda::DeviceSweeps sweeps(cuda::runtime(), 3);
  const cuda::DeviceArray<int> flag(cuda::runtime(), 1);
  const Numbers start = make_numbers(count, 1);
  Numbers grad = make_numbers(count, 2), expected;
  for (std::size_t i = 0; i < grad.size(); ++i) expected.push_back(start[i] - 0.25 * grad[i]);
  const RealArray B(start, type);
  const RealArray slope(grad, type);
  check(sweeps.step(B.data(), slope.data(), 0.25, count, type, flag.data(), nullptr),
        "a finite step is taken");
  const Numbers stepped = B.download();
  check(agree(stepped, expected, type), "a step is B - beta grad");
  if (counts_bytes()) {
    const auto size = static_cast<std::uint64_t>(count * (type == Real::float64 ? 8 : 4));
    check(B.read() == 2 * size && slope.read() == 2 * size && B.written() == size,
          "a step reads both arrays twice and writes one");
  }
  for (const double bad :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    grad.back() = bad;
    const RealArray bad_slope(grad, type);
    check(!sweeps.step(B.data(), bad_slope.data(), 0.25, count, type, flag.data(), nullptr),
          "a step that is not finite is refused");
    check(same_bits(B.download(), stepped), "a refused step changes nothing");
  }
}

/// Computes [A, B]^T [A, B] with two grids, and compares it with slow sums.
void test_grams_equal_slow_sums(Index d, int k_A, int k_B, Real type_B) {
  const Numbers A = make_numbers(d * k_A, 1), B = make_numbers(d * k_B, 2);
  const RealArray device_A(A, Real::float64), device_B(B, type_B);
  const int c = k_A + k_B;
  Numbers slow, results[2];
  const auto column = [&](int i) { return i < k_A ? A.data() + i : B.data() + i - k_A; };
  for (int e = 0; e < c * c; ++e) {
    slow.push_back(
        product(d, column(e / c), e / c < k_A ? k_A : k_B, column(e % c), e % c < k_A ? k_A : k_B));
  }
  for (const int blocks : {3, 5}) {
    cuda::DeviceSweeps sweeps(cuda::runtime(), blocks);
    const RealArray out(Numbers(slow.size(), NAN), Real::float64);
    const cuda::TallMatrix first{k_A == 0 ? nullptr : device_A.data(), Real::float64, k_A, 0},
        second{device_B.data(), type_B, k_B, 0};
    const cuda::DeviceArray<double> workspace(cuda::runtime(),
                                              sweeps.gram_workspace(first, second, d) / 8);
    sweeps.gram(first, second, d, static_cast<double*>(out.data()), workspace.data(), nullptr);
    results[blocks == 3 ? 0 : 1] = out.download();
    check(agree(results[blocks == 3 ? 0 : 1], slow), "a Gram matrix equals slow sums");
  }
  check(same_bits(results[0], results[1]), "the grid does not change the bits of a Gram matrix");
}

void run_all() {
  constexpr Real f64 = Real::float64, f32 = Real::float32;
  test_combinations_equal_slow_sums({{50, 40}, {30, 45}, 193, 3, f32, f64});
  test_combinations_equal_slow_sums({{6, 3}, {1, 4}, 67, 2, f64, f64, true});
  test_grams_equal_slow_sums(33, 33, 50, f32);
  test_steps_change_all_or_nothing(2077, f32);
  if (is_slow()) return;
  test_combinations_equal_slow_sums({{1}, {}, 1, 1, f64, f64});
  test_combinations_equal_slow_sums({{3, 10, 1}, {5, 1, 2}, 131, 3, f64, f32});
  test_combinations_equal_slow_sums({std::vector<int>(18, 2), {}, 70, 33, f64, f64});
  test_combinations_equal_slow_sums({{5}, {2}, 30, 256, f32, f32});
  test_combinations_equal_slow_sums({{2}, {1}, 131, 5, f32, f64, true});
  test_blocks_may_begin_at_any_row();
  test_steps_change_all_or_nothing(2501, f64);
  test_grams_equal_slow_sums(1100, 3, 4, f64);
  test_grams_equal_slow_sums(45, 0, 1, f32);
}

}  // namespace
}  // namespace metaspan::test

int main() { return metaspan::test::run_tests(metaspan::test::run_all); }
