// One round of the collapsed engine on samples that are given instead of drawn.
#include "bind.hpp"
#include "convert_laws.hpp"
#include "metaspan/algebra/task_algebra.hpp"
#include "metaspan/in_law/collapsed_design.hpp"

namespace metaspan::bind {
namespace {

using Design = CollapsedDesign;
constexpr int kWidth = Design::width;

/// Rows of all columns, as they are.
SetShape full_rows(Index m, Index columns) {
  SetShape set;
  set.normalisation = 1 / std::sqrt(static_cast<double>(m));
  for (Index i = 0; i < m; ++i) {
    set.rows.push_back({0, columns, set.numbers, true});
    set.numbers += columns + 1;
  }
  return set;
}

/// (tasks, m, columns + 1), noise last, as the panel of one task.
PanelSet panel_of(const Array& samples, Index task) {
  const Index size = samples.shape(1) * samples.shape(2);
  PanelSet set;
  set.numbers.assign(static_cast<std::size_t>(size * kWidth), 0.0);
  const double* own = samples.data() + task * size;
  for (Index i = 0; i < size; ++i) set.numbers[static_cast<std::size_t>(i * kWidth)] = own[i];
  return set;
}

py::dict collapsed_round(const py::tuple& method, const Array& Z, const Array& w,
                         const Array& heads, double noise, const Array& inner, const Array& outer,
                         bool shared) {
  const Method m = as_method(method);
  const Mat state = as_matrix(Z), w_star = as_matrix(heads);
  const Vec start = as_vector(w);
  const Index n = w_star.rows(), D = state.rows(), k = state.cols();
  require(inner.ndim() == 3 && outer.ndim() == 3 && inner.shape(0) == n && outer.shape(0) == n &&
              inner.shape(2) == outer.shape(2) && inner.shape(2) > D && start.size() == k,
          "samples must be (n, m, D + q + 1)");
  const Index columns = inner.shape(2) - 1;
  const SampleShape shape{D,
                          columns - D,
                          false,
                          static_cast<double>(columns - D),
                          OffSpan::frames,
                          full_rows(inner.shape(1), columns),
                          full_rows(outer.shape(1), columns)};
  TaskAlgebra<Design> algebra(m, k, inner.shape(1), outer.shape(1));
  Design::Scratch scratch(m, shape, shared, k);
  Mat omegas(n, k);
  py::list off_span;
  for (Index task = 0; task < n; ++task) {
    std::vector<double> own(static_cast<std::size_t>((w_star.cols() + 1) * kWidth), 0.0);
    for (Index i = 0; i < w_star.cols(); ++i)
      own[static_cast<std::size_t>(i * kWidth)] = w_star(task, i);
    const PanelSet in = panel_of(inner, task), out = panel_of(outer, task);
    Design design(
        {state, own.data(), w_star.cols(), 1, noise, shape, in, out, m.inner_steps, shared},
        scratch);
    algebra.gradient(design, start.data(), false);
    omegas.row(task) = ConstMat(algebra.grad_w(), k, kWidth).col(0).transpose();
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

void bind_pathwise(py::module_& module) {
  module.def("collapsed_round", &collapsed_round, py::arg("method"), py::arg("Z"), py::arg("w"),
             py::arg("heads"), py::arg("noise"), py::arg("inner"), py::arg("outer"),
             py::arg("shared"));
}

}  // namespace metaspan::bind
