// Bindings of in_law, for tests only: they draw the random numbers from which samples are built,
// and compute a round on samples that the caller passes.
#include "bind.hpp"
#include "convert_laws.hpp"
#include "metaspan/algebra/task_algebra.hpp"
#include "metaspan/base/parallel.hpp"
#include "metaspan/in_law/collapsed_design.hpp"
#include "normal.hpp"

namespace metaspan::bind {
namespace {

/// Draws the random numbers of the tasks [first, first + kTasks), in the same way as
/// draw_samples(). A row of the panel has chi-squares if the element of `dofs` for this row is not
/// 0, otherwise normals. Chi-squares and normals come from different counters.
void draw_panel(Key key, std::uint32_t first, std::uint32_t set, const std::vector<double>& dofs,
                std::vector<double>& panel) {
  constexpr std::size_t kWidth = kernels::kTasks;
  const auto rows = static_cast<std::ptrdiff_t>(dofs.size());
  panel.resize(dofs.size() * kWidth);
  kernels::normal_panel<kernels::kTasks>(key.words, first, set, kernels::kTasks, rows,
                                         panel.data());
  std::vector<double> dof, x;
  for (std::size_t row = 0; row < dofs.size(); ++row) {
    if (dofs[row] == 0) continue;
    dof.push_back(dofs[row]);
    x.insert(x.end(), panel.data() + row * kWidth, panel.data() + (row + 1) * kWidth);
  }
  kernels::chi_square_panel(key.words, first, set, kernels::kTasks, 0,
                            static_cast<std::ptrdiff_t>(dof.size()), dof.data(), x.data());
  const double* next = x.data();
  for (std::size_t row = 0; row < dofs.size(); ++row) {
    if (dofs[row] == 0) continue;
    std::copy_n(next, kWidth, panel.data() + row * kWidth);
    next += kWidth;
  }
}

/// Draws the random numbers of n tasks, (n, numbers), panel by panel.
Array panel_draws(std::uint64_t seed, std::uint64_t trial, std::uint64_t round, std::uint32_t set,
                  const std::vector<double>& dofs, Index first, Index n, int threads) {
  const Key key = derive_key(seed, trial, round, Stream::samples);
  const auto rows = static_cast<Index>(dofs.size());
  Array out({n, rows});
  double* values = out.mutable_data();
  interruptible([&](Cancel* cancel) {
    parallel_for(threads, ceil_div(n, kernels::kTasks), cancel, [&](Index item, int) {
      thread_local std::vector<double> panel;
      const Index begin = item * kernels::kTasks;
      draw_panel(key, static_cast<std::uint32_t>(first + begin), set, dofs, panel);
      for (Index task = begin; task < std::min<Index>(n, begin + kernels::kTasks); ++task) {
        for (Index row = 0; row < rows; ++row) {
          values[task * rows + row] =
              panel[static_cast<std::size_t>(row * kernels::kTasks + task - begin)];
        }
      }
    });
    throw_if_requested(cancel);
  });
  return out;
}

using Design = CollapsedDesign;
constexpr int kWidth = Design::width;

/// Returns the layout of m rows that all have entries in all columns, and noise.
SetShape full_rows(Index m, Index columns) {
  SetShape set;
  set.normalisation = 1 / std::sqrt(static_cast<double>(m));
  for (Index i = 0; i < m; ++i) {
    set.rows.push_back({0, columns, set.numbers, true});
    set.numbers += columns + 1;
  }
  return set;
}

/// Converts the samples of one task to a panel in which the numbers of all other tasks are zero.
/// `samples` is (tasks, m, columns + 1), and the last column is the noise.
PanelSet panel_of(const Array& samples, Index task) {
  const Index size = samples.shape(1) * samples.shape(2);
  PanelSet set;
  set.numbers.assign(static_cast<std::size_t>(size * kWidth), 0.0);
  const double* values = samples.data() + task * size;
  for (Index i = 0; i < size; ++i) set.numbers[static_cast<std::size_t>(i * kWidth)] = values[i];
  return set;
}

/// Runs the algebra on the samples of every task. Returns the mean gradient in the span and, for
/// every task, the factor A of (17) for its contribution off the span.
py::dict collapsed_round(const Method& method, const Array& Z, const Array& w, const Array& heads,
                         double noise, const Array& inner, const Array& outer, bool shared) {
  const Mat state = as_matrix(Z), w_star = as_matrix(heads);
  const Vec start = as_vector(w);
  const Index n = w_star.rows(), D = state.rows(), k = state.cols();
  require(inner.ndim() == 3 && outer.ndim() == 3 && inner.shape(0) == n && outer.shape(0) == n &&
              inner.shape(2) == outer.shape(2) && inner.shape(2) > D &&
              start.size() == method.parameters(k),
          "samples must be (n, m, D + q + 1)");
  const Index columns = inner.shape(2) - 1;
  const SampleShape shape{D,
                          columns - D,
                          false,
                          static_cast<double>(columns - D),
                          OffSpan::frames,
                          full_rows(inner.shape(1), columns),
                          full_rows(outer.shape(1), columns)};
  TaskAlgebra<Design> algebra(method, k, inner.shape(1), outer.shape(1));
  Design::Scratch scratch(method, shape, shared, k);
  Mat omegas(n, start.size());
  py::list off_span;
  for (Index task = 0; task < n; ++task) {
    std::vector<double> head(static_cast<std::size_t>((w_star.cols() + 1) * kWidth), 0.0);
    for (Index i = 0; i < w_star.cols(); ++i)
      head[static_cast<std::size_t>(i * kWidth)] = w_star(task, i);
    const PanelSet in = panel_of(inner, task), out = panel_of(outer, task);
    Design design({state, head.data(), w_star.cols(), 1, noise, shape, in, out, method.inner_steps,
                   shared, false, method.blocks()},
                  scratch);
    algebra.gradient(design, start.data(), false);
    omegas.row(task) = ConstMat(algebra.grad_w(), start.size(), kWidth).col(0).transpose();
    const Design::Factor factor = design.off_span(Design::Group::frame);
    Mat A(factor.rows, k);
    for (Index i = 0; i < A.size(); ++i) A.data()[i] = factor.values[i * kWidth];
    off_span.append(to_array(A));
  }
  py::dict result;
  result["grad_Z"] =
      to_array(Mat(ConstMat(scratch.G.data(), D, padded(k)).leftCols(k) / static_cast<double>(n)));
  result["grad_w"] = to_array(Vec(omegas.colwise().mean()));
  result["off_span"] = off_span;
  return result;
}

}  // namespace

void bind_in_law(py::module_& module) {
  module.def("panel_draws", &panel_draws, py::arg("seed"), py::arg("trial"), py::arg("round"),
             py::arg("set"), py::arg("dofs"), py::arg("first"), py::arg("n"), py::arg("threads"));
  module.def("collapsed_round", &collapsed_round, py::arg("method"), py::arg("Z"), py::arg("w"),
             py::arg("heads"), py::arg("noise"), py::arg("inner"), py::arg("outer"),
             py::arg("shared"));
}

}  // namespace metaspan::bind
