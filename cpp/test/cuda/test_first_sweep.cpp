// Tests the first sweep of a device against slow sums.
#include "sweep_samples.hpp"

namespace metaspan::test {
namespace {

using cuda::Layout;
using cuda::Real;

struct Shape {
  std::vector<int> in, out;
  Index d;
  int k, k_more;
  int grams;       // 1: K, 2: K', 4: X' X'^T
  bool is_shared;  // all tasks share B
  Real type_X, type_B;
  bool is_made = false;
};

/// The matrices of a sweep.
struct Matrices {
  Numbers B, more;
  RealArray device_B, device_more;
  Index step;

  explicit Matrices(const Shape& shape)
      : B(make_numbers(shape.d * shape.k * (shape.is_shared ? 1 : tasks(shape)), 3)),
        more(make_numbers(shape.d * shape.k_more, 4)),
        device_B(B, shape.type_B),
        device_more(more, Real::float64),
        step(shape.is_shared ? 0 : shape.d * shape.k) {}
  static Index tasks(const Shape& shape) { return static_cast<Index>(shape.in.size()); }
};

/// The seven results of a sweep, in the order of their declaration.
constexpr int kResults = 7;

/// Describes result `which`: its rows and columns for the largest task.
struct ResultShape {
  bool is_outer;
  int gram;  // 0: no Gram matrix, 1: the columns are inner samples, 2: outer samples
  int rows, columns;

  ResultShape(int which, const Shape& shape) {
    const auto most = [](const std::vector<int>& m) {
      return m.empty() ? 0 : *std::max_element(m.begin(), m.end());
    };
    is_outer = which == 1 || which == 3 || which >= 5;
    gram = which < 4 ? 0 : which == 6 ? 2 : 1;
    rows = most(is_outer ? shape.out : shape.in);
    columns = gram == 1   ? most(shape.in)
              : gram == 2 ? most(shape.out)
              : which < 2 ? shape.k
                          : shape.k_more;
    if (gram != 0 && (shape.grams >> (which - 4) & 1) == 0) rows = 0;
  }
  Index elements() const { return static_cast<Index>(rows) * columns; }
};

/// Computes element (i, j) of a result of a task by a slow sum, without any factor.
double slow_element(const TestSets& sets, const Matrices& matrices, const Shape& shape, int which,
                    const ResultShape& result, int task, int i, int j) {
  const auto set = static_cast<std::size_t>(task + (result.is_outer ? sets.n : 0));
  const double* row = sets.row(sets.sets[set].first_row + i);
  if (result.gram != 0) {
    const auto other = static_cast<std::size_t>(task + (result.gram == 2 ? sets.n : 0));
    return product(sets.d, row, 1, sets.row(sets.sets[other].first_row + j), 1);
  }
  if (which >= 2) return product(sets.d, row, 1, matrices.more.data() + j, shape.k_more);
  return product(sets.d, row, 1, matrices.B.data() + task * matrices.step + j, shape.k);
}

/// Computes a result in its layout by slow sums.
Numbers slow_result(const TestSets& sets, const Matrices& matrices, const Shape& shape, int which,
                    Layout layout) {
  const ResultShape result(which, shape);
  if (result.elements() == 0) return {};
  const Index tasks = layout == Layout::panels ? (sets.n + 31) / 32 * 32 : sets.n;
  const bool is_stacked = layout == Layout::rows && result.gram == 0;
  Numbers out(static_cast<std::size_t>(is_stacked ? sets.rows() * result.columns
                                                  : tasks * result.elements()));
  for (int task = 0; task < sets.n; ++task) {
    const auto at = static_cast<std::size_t>(task);
    const auto outer = static_cast<std::size_t>(task + sets.n);
    const int m = result.is_outer ? sets.m[outer] : sets.m[at];
    const int m_columns = result.gram == 0   ? result.columns
                          : result.gram == 1 ? sets.m[at]
                                             : sets.m[outer];
    for (int i = 0; i < m; ++i) {
      for (int j = 0; j < m_columns; ++j) {
        double value = slow_element(sets, matrices, shape, which, result, task, i, j);
        Index e = static_cast<Index>(i) * result.columns + j;
        if (layout == Layout::panels) {
          value /= std::sqrt(static_cast<double>(m) * (result.gram == 0 ? m : m_columns)) /
                   (result.gram == 0 ? std::sqrt(static_cast<double>(m)) : 1);
          e = (task / 32 * result.elements() + e) * 32 + task % 32;
        } else {
          e += is_stacked ? sets.sets[result.is_outer ? outer : at].first_row * result.columns
                          : task * result.elements();
        }
        out[static_cast<std::size_t>(e)] = value;
      }
    }
  }
  return out;
}

/// Runs a sweep with a number of blocks, compares every result with slow sums, and compares the
/// counted bytes with what the sweep moved. Returns all results.
Numbers run_sweep(const TestSets& sets, const Matrices& matrices, const Shape& shape, Layout layout,
                  int blocks) {
  cuda::DeviceSweeps sweeps(cuda::runtime(), blocks);
  cuda::FirstSweep sweep{};
  sweep.in = sets.inner();
  sweep.out = sets.outer();
  sweep.d = sets.d;
  if (shape.k > 0) {
    sweep.B = {matrices.device_B.data(), shape.type_B, shape.k, matrices.step};
  }
  if (shape.k_more > 0) {
    sweep.more = {matrices.device_more.data(), Real::float64, shape.k_more, 0};
  }
  sweep.layout = layout;
  double** const results[kResults] = {&sweep.Z_in, &sweep.Z_out,   &sweep.more_in, &sweep.more_out,
                                      &sweep.K,    &sweep.K_cross, &sweep.K_outer};
  std::vector<RealArray> arrays;
  for (int which = 0; which < kResults; ++which) {
    const ResultShape result(which, shape);
    const Numbers slow = slow_result(sets, matrices, shape, which, layout);
    // Rows of other sets must stay as they are, and all other numbers must be written.
    const bool is_stacked = layout == Layout::rows && result.gram == 0;
    const Numbers before(slow.size(), is_stacked ? 0 : NAN);
    arrays.emplace_back(before, Real::float64);
    if (result.elements() > 0) *results[which] = static_cast<double*>(arrays.back().data());
  }
  const cuda::DeviceArray<double> workspace(cuda::runtime(), sweeps.workspace(sweep) / 8);
  const std::uint64_t X_before = sets.on_device.read(), B_before = matrices.device_B.read();
  const std::uint64_t more_before = matrices.device_more.read();
  sweeps.run(sweep, workspace.data(), nullptr);
  Numbers all;
  double result_bytes = 0;
  for (int which = 0; which < kResults; ++which) {
    if (ResultShape(which, shape).elements() == 0) continue;
    const Numbers numbers = arrays[static_cast<std::size_t>(which)].download();
    check(agree(numbers, slow_result(sets, matrices, shape, which, layout)),
          "a result of the first sweep equals slow sums");
    all.insert(all.end(), numbers.begin(), numbers.end());
    result_bytes += static_cast<double>(arrays[static_cast<std::size_t>(which)].written());
  }
  if (counts_bytes()) {
    const cuda::DeviceWork work = sweeps.work(sweep);
    const auto samples = static_cast<double>(sets.on_device.read() - X_before);
    const auto factors = static_cast<double>(matrices.device_B.read() - B_before +
                                             matrices.device_more.read() - more_before);
    const auto parts = static_cast<double>(bytes_read(workspace) + bytes_written(workspace));
    check(samples <= work.sample_bytes, "the first sweep reads no more of X than it counts");
    check(factors <= work.factor_bytes, "the first sweep reads no more of B than it counts");
    check(parts <= work.part_bytes, "the first sweep moves no more partial sums than it counts");
    check(result_bytes <= work.result_bytes, "the first sweep writes no more than it counts");
    const bool is_ragged = std::any_of(shape.in.begin(), shape.in.end(),
                                       [&](int m) { return m != shape.in.front(); }) ||
                           std::any_of(shape.out.begin(), shape.out.end(),
                                       [&](int m) { return m != shape.out.front(); });
    check(is_ragged || samples + factors + parts + result_bytes == work.bytes(),
          "the bytes of the first sweep are counted");
  }
  return all;
}

void test_results_equal_slow_sums(const Shape& shape) {
  TestSets sets(shape.d, shape.in, shape.out, shape.type_X);
  if (shape.is_made) sets.make_rows();
  const Matrices matrices(shape);
  for (const Layout layout : {Layout::panels, Layout::rows}) {
    const Numbers few = run_sweep(sets, matrices, shape, layout, 3);
    const Numbers many = run_sweep(sets, matrices, shape, layout, 7);
    check(same_bits(few, many), "the grid does not change the bits of the first sweep");
  }
}

void run_all() {
  constexpr Real f64 = Real::float64, f32 = Real::float32;
  const std::vector<int> many(33, 2);
  test_results_equal_slow_sums({{1, 7, 10}, {5, 1, 8}, 75, 3, 0, 7, true, f64, f32});
  test_results_equal_slow_sums({{1, 2, 1}, {2, 1, 1}, 35, 1, 0, 0, true, f32, f64, true});
  if (is_slow()) return;
  test_results_equal_slow_sums({{1}, {}, 1, 1, 0, 0, true, f64, f64});
  test_results_equal_slow_sums({{6, 3, 6}, {4, 4, 1}, 77, 4, 3, 3, true, f32, f64});
  test_results_equal_slow_sums({many, many, 19, 2, 0, 2, true, f64, f64});
  test_results_equal_slow_sums({{70}, {9}, 21, 33, 0, 7, true, f64, f64});
  test_results_equal_slow_sums({{70, 70}, {9, 9}, 18, 10, 0, 3, true, f64, f32});
  test_results_equal_slow_sums({{5, 5}, {}, 1301, 2, 3, 1, true, f32, f32});
  test_results_equal_slow_sums({{20}, {3}, 35, 256, 0, 0, true, f64, f64});
  test_results_equal_slow_sums({{3, 6}, {5, 1}, 77, 2, 1, 7, true, f64, f64, true});
  test_results_equal_slow_sums({{4, 3}, {2, 2}, 34, 1, 0, 0, false, f64, f64});
  test_results_equal_slow_sums({{4, 3}, {2, 2}, 34, 0, 0, 5, true, f32, f64});
}

}  // namespace
}  // namespace metaspan::test

int main() { return metaspan::test::run_tests(metaspan::test::run_all); }
