// Tests the task algebra on a device against DenseDesign on the CPU: every method of the family, at
// sizes with ragged sets, an incomplete last panel, and k that is no multiple of a tile.
#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "check.hpp"
#include "device_test.hpp"
#include "metaspan/algebra/dense_design.hpp"
#include "metaspan/algebra/task_algebra.hpp"
#include "metaspan/cuda/algebra.hpp"

namespace metaspan {
namespace {

using test::check;
using Numbers = std::vector<double>;

std::size_t size(Index count) { return static_cast<std::size_t>(count); }

/// A method of the family and its name.
struct Case {
  const char* name;
  Method method;
};

/// Returns every kind of inner loop, contribution and learned parameter, each also with clipping.
std::vector<Case> all_methods() {
  const auto steps = [](int J, bool adapts_B, bool exact) {
    return Method{0.05, 0.1, J, adapts_B, exact, 0.1};
  };
  std::vector<Case> cases = {{"average risk", steps(0, false, true)},
                             {"ANIL", steps(1, false, true)},
                             {"ANIL of 3 steps", steps(3, false, true)},
                             {"first-order MAML", steps(2, true, false)},
                             {"MAML", steps(1, true, true)},
                             {"MAML of 4 steps", steps(4, true, true)}};
  const auto add = [&](const char* name, Method method, auto change) {
    change(method);
    cases.push_back({name, method});
  };
  add("BOIL", steps(2, true, true), [](Method& m) { m.adapt_head = false; });
  add("FedAvg", steps(3, true, false),
      [](Method& m) { m.contribution = Contribution::inner_moves; });
  add("FedAvg with fresh steps", steps(3, true, false), [](Method& m) {
    m.contribution = Contribution::inner_moves;
    m.fresh_steps = true;
  });
  const auto solve = [](Method& m) { m.solves_head = true, m.penalty = 0.3; };
  add("ridge", steps(1, false, true), solve);
  add("first-order ridge", steps(1, false, false), solve);
  add("FedRep", steps(1, false, false), [](Method& m) {
    m.solves_head = true, m.penalty = 0.3;
    m.contribution = Contribution::inner_gradient;
  });
  add("attention", steps(1, false, false),
      [](Method& m) { m.contribution = Contribution::attention; });
  const auto learn = [](Method& m) { m.step_sizes = StepSizes::one; };
  add("learned MAML", steps(3, true, true), learn);
  add("first-order learned MAML", steps(2, true, false), learn);
  add("Meta-SGD", steps(2, false, true), [](Method& m) { m.step_sizes = StepSizes::per_entry; });
  add("private head", steps(2, true, true),
      [](Method& m) { m.private_head = true, m.private_weight = 0.7; });
  const std::size_t count = cases.size();
  for (std::size_t i = 0; i < count; ++i) {
    add(cases[i].name, cases[i].method, [](Method& m) { m.clip = 0.05; });
  }
  return cases;
}

/// Tasks with normalised products of random samples, in rows of their own, and in device panels.
struct Tasks {
  Index n, k, most_in, most_out;
  std::vector<Index> m_in, m_out, first_in, first_out;
  std::vector<Mat> Z_in, Z_out, K, K_cross, K_outer;
  std::vector<Vec> y_in, y_out;
  Index rows_in = 0, rows_out = 0;

  Tasks(Index n, Index k, Index most_in, Index most_out, int blocks)
      : n(n), k(k), most_in(most_in * blocks), most_out(most_out) {
    constexpr Index d = 7;
    std::mt19937 generator(static_cast<unsigned>(n * 31 + k));
    std::normal_distribution<double> normal;
    const auto draw = [&](Index rows, Index columns) {
      Mat A(rows, columns);
      for (Index i = 0; i < A.size(); ++i) A.data()[i] = normal(generator);
      return A;
    };
    const Mat B = draw(d, k) / std::sqrt(static_cast<double>(d));
    for (Index i = 0; i < n; ++i) {
      m_in.push_back(blocks * (1 + (i * 5 + most_in - 1) % most_in));
      m_out.push_back(1 + (i * 3 + most_out - 1) % most_out);
      first_in.push_back(rows_in);
      first_out.push_back(rows_out);
      rows_in += m_in.back();
      rows_out += m_out.back();
      const Mat X = draw(m_in.back(), d) / std::sqrt(static_cast<double>(m_in.back()));
      const Mat X_out = draw(m_out.back(), d) / std::sqrt(static_cast<double>(m_out.back()));
      Z_in.push_back(Mat::Zero(X.rows(), padded(k)));
      Z_out.push_back(Mat::Zero(X_out.rows(), padded(k)));
      Z_in.back().leftCols(k) = X * B;
      Z_out.back().leftCols(k) = X_out * B;
      K.push_back(X * X.transpose());
      K_cross.push_back(X_out * X.transpose());
      K_outer.push_back(X_out * X_out.transpose());
      y_in.push_back(draw(X.rows(), 1).col(0) / std::sqrt(static_cast<double>(X.rows())));
      y_out.push_back(draw(X_out.rows(), 1).col(0) / std::sqrt(static_cast<double>(X_out.rows())));
    }
  }

  /// The panels of matrices with `columns` columns, or `rows` rows of which a task has some; NaN
  /// beyond them, which nothing may read.
  template <class Matrix>
  cuda::DeviceArray<double> panels(const std::vector<Matrix>& matrices, Index rows,
                                   Index columns) const {
    Numbers numbers(size(ceil_div(n, 32) * rows * columns * 32), std::nan(""));
    for (Index t = 0; t < n; ++t) {
      const Matrix& A = matrices[size(t)];
      for (Index i = 0; i < A.rows(); ++i) {
        for (Index j = 0; j < std::min<Index>(A.cols(), columns); ++j) {
          numbers[size(((t / 32 * rows + i) * columns + j) * 32 + t % 32)] = A(i, j);
        }
      }
    }
    return test::upload(numbers);
  }
  cuda::DeviceArray<cuda::SampleSet> sets(const std::vector<Index>& m,
                                          const std::vector<Index>& first) const {
    std::vector<cuda::SampleSet> sets(size(n));
    for (Index t = 0; t < n; ++t) {
      sets[size(t)].m = static_cast<int>(m[size(t)]);
      sets[size(t)].task = static_cast<int>(t);
      sets[size(t)].first_row = first[size(t)];
    }
    return test::upload(sets);
  }
};

/// What the algebra computes for all tasks.
struct Results {
  Mat C_in, C_out, grad_w, adapted, losses;
};

/// The start of a task: w, and the parameters that follow it.
Numbers start_of(const Method& method, Index k) {
  Numbers w(size(method.parameters(k)));
  for (std::size_t i = 0; i < w.size(); ++i) {
    w[i] = i < size(k) ? 0.3 - 0.1 * static_cast<double>(i % 5) : 0.04;
  }
  return w;
}

/// Adds a factor C as the rows `first` .. of a matrix.
void add_factor(const Factors& C, double scale, Index first, Mat& rows) {
  const Index m = C.m(), k = rows.cols();
  Mat sum = Mat::Zero(m, k);
  if (C.whole()) sum = ConstMat(C.matrix(), m, padded(k)).leftCols(k);
  for (Index t = 0; !C.whole() && t < C.count(); ++t) {
    for (Index i = 0; i < m; ++i) {
      for (Index j = 0; j < k; ++j) sum(i, j) += C.s(t)[i] * C.c()[t * padded(k) + j];
    }
  }
  rows.middleRows(first, m) = scale * sum;
}

/// Computes the results by DenseDesign, one task after another.
Results on_host(const Method& method, const Tasks& tasks, const Numbers& w, const Numbers& shares) {
  const Index k = tasks.k;
  Results all{Mat::Zero(tasks.rows_in, k), Mat::Zero(tasks.rows_out, k),
              Mat(tasks.n, method.parameters(k)), Mat(tasks.n, k), Mat(3, tasks.n)};
  for (Index t = 0; t < tasks.n; ++t) {
    const auto i = size(t);
    const Index m_in = tasks.m_in[i], m_out = tasks.m_out[i];
    Factors C_in, C_out;
    C_in.reset(m_in, k, method.inner_terms());
    C_out.reset(m_out, k, method.outer_terms());
    DenseDesign::Scratch scratch(method, k, m_in, m_out);
    DenseDesign design(
        k, method.inner_steps,
        {m_in, m_out, tasks.Z_in[i].data(), tasks.y_in[i].data(), tasks.Z_out[i].data(),
         tasks.y_out[i].data(), tasks.K[i].data(), m_in, tasks.K_cross[i].data(), m_in, &C_in,
         &C_out, tasks.K_outer[i].data(), m_out, method.blocks()},
        scratch);
    TaskAlgebra<DenseDesign> algebra(method, k, m_in, m_out);
    algebra.gradient(design, w.data(), true);
    const double share = shares[i];
    add_factor(C_in, share / std::sqrt(static_cast<double>(m_in)), tasks.first_in[i], all.C_in);
    add_factor(C_out, share / std::sqrt(static_cast<double>(m_out)), tasks.first_out[i], all.C_out);
    all.grad_w.row(t) = ConstVec(algebra.grad_w(), method.parameters(k)).transpose();
    all.adapted.row(t) = ConstVec(algebra.adapted(), k).transpose();
    for (int which = 0; which < 3; ++which) {
      all.losses(which, t) = *algebra.loss(static_cast<TaskAlgebra<DenseDesign>::Loss>(which));
    }
  }
  return all;
}

/// Adapts task t on the host: w_J, and C with B_J = B + X^T C.
void adapt_on_host(const Method& method, const Tasks& tasks, Index t, const Numbers& w, Mat& w_J,
                   Mat& C) {
  const auto i = size(t);
  const Index k = tasks.k, m = tasks.m_in[i];
  DenseDesign::Scratch scratch(method, k, m, 0);
  DenseDesign design(
      k, method.inner_steps,
      {m, 0, tasks.Z_in[i].data(), tasks.y_in[i].data(), nullptr, nullptr, tasks.K[i].data(), m,
       nullptr, 0, nullptr, nullptr, nullptr, 0, method.blocks()},
      scratch);
  TaskAlgebra<DenseDesign> algebra(method, k, m, 0);
  algebra.adapt(design, w.data());
  w_J.row(t) = ConstVec(algebra.adapted(), k).transpose();
  const double scale = -algebra.step_size() / std::sqrt(static_cast<double>(m));
  for (int l = 0; method.adapt_B && l < method.inner_steps; ++l) {
    C.middleRows(tasks.first_in[i], m) +=
        scale * ConstVec(algebra.residual(l), m) * ConstVec(algebra.head(l), k).transpose();
  }
}

/// The panels of tasks on the device, and memory for results.
struct OnDevice {
  const Tasks& tasks;
  cuda::DeviceArray<double> Z_in, Z_out, y_in, y_out, K, K_cross, K_outer;
  cuda::DeviceArray<cuda::SampleSet> in, out;

  explicit OnDevice(const Tasks& tasks)
      : tasks(tasks),
        Z_in(tasks.panels(tasks.Z_in, tasks.most_in, tasks.k)),
        Z_out(tasks.panels(tasks.Z_out, tasks.most_out, tasks.k)),
        y_in(tasks.panels(tasks.y_in, tasks.most_in, 1)),
        y_out(tasks.panels(tasks.y_out, tasks.most_out, 1)),
        K(tasks.panels(tasks.K, tasks.most_in, tasks.most_in)),
        K_cross(tasks.panels(tasks.K_cross, tasks.most_out, tasks.most_in)),
        K_outer(tasks.panels(tasks.K_outer, tasks.most_out, tasks.most_out)),
        in(tasks.sets(tasks.m_in, tasks.first_in)),
        out(tasks.sets(tasks.m_out, tasks.first_out)) {}

  cuda::TaskPanels panels() const {
    const auto block = [&](const cuda::DeviceArray<cuda::SampleSet>& sets, Index most, Index rows) {
      cuda::SampleBlock result{};
      result.sets = sets.data();
      result.n = static_cast<int>(tasks.n);
      result.most = static_cast<int>(most);
      result.rows = rows;
      return result;
    };
    return {block(in, tasks.most_in, tasks.rows_in),
            block(out, tasks.most_out, tasks.rows_out),
            static_cast<int>(tasks.k),
            Z_in.data(),
            Z_out.data(),
            y_in.data(),
            y_out.data(),
            K.data(),
            K_cross.data(),
            K_outer.data()};
  }
  std::uint64_t bytes_read() const {
    std::uint64_t bytes = 0;
    for (const auto* array : {&Z_in, &Z_out, &y_in, &y_out, &K, &K_cross, &K_outer}) {
      bytes += test::bytes_read(*array);
    }
    return bytes;
  }
};

Mat as_matrix(const cuda::DeviceArray<double>& array, Index rows, Index columns) {
  return ConstMat(test::download(array).data(), rows, columns);
}

bool close(const Mat& a, const Mat& b) {
  return a.allFinite() && (a - b).norm() <= 1e-12 * (1e-3 + b.norm());
}

/// Memory for the results of a block.
struct Memory {
  cuda::DeviceArray<double> shares, C_in, C_out, grad_w, adapted, losses;
  cuda::TaskResults results() const {
    return {shares.data(), C_in.data(), C_out.data(), grad_w.data(), adapted.data(), losses.data()};
  }
};
Memory memory_for(const Method& method, const Tasks& tasks, const Numbers& shares) {
  cuda::Runtime& runtime = cuda::runtime();
  return {test::upload(shares),
          {runtime, size(tasks.rows_in * tasks.k)},
          {runtime, size(tasks.rows_out * tasks.k)},
          {runtime, size(tasks.n * method.parameters(tasks.k))},
          {runtime, size(tasks.n * tasks.k)},
          {runtime, size(3 * tasks.n)}};
}

void test_tasks_are_those_of_the_host(const Case& tested, Index n, Index k, Index most_in,
                                      Index most_out) {
  const Method& method = tested.method;
  const Tasks tasks(n, k, most_in, most_out, method.blocks());
  const OnDevice device(tasks);
  const Numbers w = start_of(method, k);
  Numbers shares;
  for (Index i = 0; i < n; ++i) shares.push_back((1 + 0.1 * static_cast<double>(i % 3)) / n);
  const Memory memory = memory_for(method, tasks, shares);
  const auto w_on_device = test::upload(w);
  cuda::Algebra& algebra = *cuda::module().algebra;
  const cuda::TaskPanels panels = device.panels();
  const Numbers dirty(algebra.workspace(panels, method) / sizeof(double), std::nan(""));
  const auto workspace = test::upload(dirty);
  algebra.gradient(panels, method, w_on_device.data(), memory.results(), workspace.data(), nullptr);

  const Results expected = on_host(method, tasks, w, shares);
  check(close(as_matrix(memory.grad_w, n, method.parameters(k)), expected.grad_w), tested.name);
  check(close(as_matrix(memory.adapted, n, k), expected.adapted), tested.name);
  check(close(as_matrix(memory.losses, 3, n), expected.losses), tested.name);
  if (method.has_inner_part()) {
    check(close(as_matrix(memory.C_in, tasks.rows_in, k), expected.C_in), tested.name);
  }
  if (method.has_outer_part()) {
    check(close(as_matrix(memory.C_out, tasks.rows_out, k), expected.C_out), tested.name);
  }
  if (test::counts_bytes()) {
    const cuda::DeviceWork work =
        cuda::algebra_work(method, n, tasks.most_in, tasks.most_out, k, true);
    const auto read = static_cast<double>(device.bytes_read());
    check(read <= work.sample_bytes, "the panels are read as often as counted");
    if (n == 1) check(read == work.sample_bytes, "the count is exact for a single task");
  }
}

void test_adaptation_is_that_of_the_host(const Case& tested, Index n, Index k) {
  const Method& method = tested.method;
  const Tasks tasks(n, k, 3, 1, method.blocks());
  const OnDevice device(tasks);
  const Numbers w = start_of(method, k);
  const Memory memory = memory_for(method, tasks, Numbers(size(n), 5.0));
  cuda::TaskPanels panels = device.panels();
  panels.out = {};
  cuda::Algebra& algebra = *cuda::module().algebra;
  const auto w_on_device = test::upload(w);
  const cuda::DeviceArray<double> workspace(cuda::runtime(),
                                            algebra.workspace(panels, method) / sizeof(double));
  algebra.adapt(panels, method, w_on_device.data(), memory.results(), workspace.data(), nullptr);
  Mat w_J(n, k), C = Mat::Zero(tasks.rows_in, k);
  for (Index t = 0; t < n; ++t) adapt_on_host(method, tasks, t, w, w_J, C);
  check(close(as_matrix(memory.adapted, n, k), w_J), "adapted heads are those of the host");
  check(close(as_matrix(memory.C_in, tasks.rows_in, k), C), "B_J is that of the host");
}

/// Tests that a task has the same bits alone and among 300 tasks, which fill ten panels, so that
/// three blocks of several warps run.
void test_bits_do_not_depend_on_other_tasks() {
  const Method method{0.05, 0.1, 2, true, true, 0.1};
  const Tasks tasks(300, 2, 2, 2, 1);
  const OnDevice device(tasks);
  const Memory memory = memory_for(method, tasks, Numbers(300, 1.0));
  const auto w = test::upload(start_of(method, 2));
  cuda::Algebra& algebra = *cuda::module().algebra;
  const auto run = [&](const cuda::TaskPanels& panels) {
    const cuda::DeviceArray<double> workspace(cuda::runtime(),
                                              algebra.workspace(panels, method) / sizeof(double));
    algebra.gradient(panels, method, w.data(), memory.results(), workspace.data(), nullptr);
    return test::download(memory.grad_w);
  };
  const Numbers all = run(device.panels());
  cuda::TaskPanels few = device.panels();
  few.in.n = few.out.n = 33;
  const Numbers alone = run(few);
  check(std::equal(all.begin(), all.begin() + 66, alone.begin()),
        "a task has the same bits among other tasks");
}

/// Tests every method on fibres and on a card, and few of them on threads, where barriers are slow.
void run_all(bool few) {
  const std::vector<Case> cases = all_methods();
  for (std::size_t i = 0; i < cases.size(); ++i) {
    if (few && i % 6 != 5) continue;
    const Case& tested = cases[i];
    test_tasks_are_those_of_the_host(tested, 35, 2, 3, 4);
    test_tasks_are_those_of_the_host(tested, 1, 6, 5, 19);
    if (few) continue;
    test_tasks_are_those_of_the_host(tested, 1, tested.method.is_attention() ? 2 : 1, 1, 1);
    test_adaptation_is_that_of_the_host(tested, 3, 4);
  }
  if (few) return;
  test_tasks_are_those_of_the_host(cases[5], 3, 33, 4, 3);
  test_tasks_are_those_of_the_host(cases[9], 3, 33, 4, 3);
  test_bits_do_not_depend_on_other_tasks();
}

}  // namespace
}  // namespace metaspan

int main() {
#if defined(METASPAN_CUDA_EMULATED)
  using metaspan::emulator::Mode;
  metaspan::emulator::set_mode(Mode::threads);
  metaspan::test::run_tests([] { metaspan::run_all(true); });
  if (metaspan::emulator::is_watched_for_races()) return metaspan::test::failures;
  metaspan::emulator::set_mode(Mode::fibres);
#endif
  return metaspan::test::run_tests([] { metaspan::run_all(false); });
}
