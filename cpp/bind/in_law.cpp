// Bindings of in_law: the rows of a pool, (36). For tests only, it also has functions that draw the
// random numbers from which samples are built, and functions that compute a round on samples of the
// caller.
#include "bind.hpp"
#include "convert_laws.hpp"
#include "metaspan/algebra/task_algebra.hpp"
#include "metaspan/base/parallel.hpp"
#include "metaspan/in_law/collapsed_design.hpp"
#include "metaspan/in_law/packed_rows.hpp"
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
    Design design({state, head.data(), w_star.cols(), 1, noise, shape, in, out, shared, false},
                  scratch, algebra);
    algebra.gradient(design, start.data(), false);
    omegas.row(task) = ConstMat(algebra.grad_w(), start.size(), kWidth).col(0).transpose();
    const Design::Factor factor = design.off_span(TermGroup::frame);
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

/// Draws the rows of a pool under the keys that pooled_features() uses.
std::unique_ptr<PackedRows> draw_rows(const FeatureLaw& law, std::uint64_t seed,
                                      std::uint64_t trial, double d, Index D, Index N,
                                      int threads) {
  const Key features = derive_key(seed, trial, 0, Stream::features_in);
  const Key radii = derive_key(seed, trial, 0, Stream::radii_in);
  std::unique_ptr<PackedRows> rows;
  interruptible([&](Cancel* cancel) {
    rows = std::make_unique<PackedRows>(law, features, radii, d, D, N, threads, cancel);
  });
  return rows;
}

/// Checks that [first, last) are rows.
void require_rows(const PackedRows& rows, Index first, Index last) {
  require(first >= 0 && first <= last && last <= rows.rows(), "rows must be rows of the pool");
}

/// Returns X B for the rows [first, last).
Array row_features(const PackedRows& rows, const Array& B, Index first, Index last, int threads) {
  require_rows(rows, first, last);
  require(B.ndim() == 2 && B.shape(0) == rows.columns(), "B must have a row for every column");
  const Index k = B.shape(1);
  Array Z({last - first, k});
  double* out = Z.mutable_data();
  interruptible(
      [&](Cancel* cancel) { rows.features(first, last, k, B.data(), threads, cancel, out); });
  return Z;
}

/// Adds X^T C to the first rows of `out`, for rows of X starting at `first`.
void combine_rows(const PackedRows& rows, const Array& C, Index first,
                  py::array_t<double, py::array::c_style> out, int threads) {
  require(C.ndim() == 2 && out.ndim() == 2 && out.shape(0) >= rows.columns() &&
              out.shape(1) == C.shape(1),
          "out must have a row for every column, and the columns of C");
  const Index last = first + C.shape(0), k = C.shape(1);
  require_rows(rows, first, last);
  double* sums = out.mutable_data();
  interruptible(
      [&](Cancel* cancel) { rows.combine(first, last, k, C.data(), threads, cancel, sums); });
}

/// Returns the Gram matrices of consecutive sets of m rows, (tasks, m, m).
Array row_grams(const PackedRows& rows, Index first, Index m, Index tasks, int threads) {
  require_rows(rows, first, first + m * tasks);
  Array K({tasks, m, m});
  double* out = K.mutable_data();
  interruptible([&](Cancel* cancel) { rows.grams(first, m, tasks, threads, cancel, out); });
  return K;
}

/// Returns the first columns of all rows, (N, count).
Array first_columns(const PackedRows& rows, Index count) {
  Array out({rows.rows(), count});
  rows.copy(0, rows.rows(), 0, count, out.mutable_data());
  return out;
}

void bind_packed_rows(py::module_& module) {
  py::class_<PackedRows>(module, "PackedRows")
      .def(py::init(&draw_rows), py::arg("law"), py::arg("seed"), py::arg("trial"), py::arg("d"),
           py::arg("D"), py::arg("N"), py::arg("threads"))
      .def_static("bytes", &PackedRows::bytes, py::arg("N"), py::arg("D"), py::arg("d"))
      .def_property_readonly("count", &PackedRows::rows)
      .def_property_readonly("columns", &PackedRows::columns)
      .def("features", &row_features, py::arg("B"), py::arg("first"), py::arg("last"),
           py::arg("threads"))
      .def("combine", &combine_rows, py::arg("C"), py::arg("first"), py::arg("out").noconvert(),
           py::arg("threads"))
      .def("grams", &row_grams, py::arg("first"), py::arg("m"), py::arg("tasks"),
           py::arg("threads"))
      .def("first_columns", &first_columns, py::arg("count"));
}

}  // namespace

void bind_in_law(py::module_& module) {
  bind_packed_rows(module);
  module.def("panel_draws", &panel_draws, py::arg("seed"), py::arg("trial"), py::arg("round"),
             py::arg("set"), py::arg("dofs"), py::arg("first"), py::arg("n"), py::arg("threads"));
  module.def("collapsed_round", &collapsed_round, py::arg("method"), py::arg("Z"), py::arg("w"),
             py::arg("heads"), py::arg("noise"), py::arg("inner"), py::arg("outer"),
             py::arg("shared"));
}

}  // namespace metaspan::bind
