// What random samples are made of, for the tests of its law.
#include "bind.hpp"
#include "convert.hpp"
#include "metaspan/base/parallel.hpp"
#include "metaspan/geometry/off_span.hpp"
#include "normal.hpp"

namespace metaspan::bind {
namespace {

/// The numbers of the tasks [first, first + kTasks) as samples are drawn: normals, and those with
/// degrees of freedom, numbered by themselves, turned into chi-squares.
void draw_panel(Key key, std::uint32_t first, std::uint32_t set, const std::vector<double>& dofs,
                std::vector<double>& panel) {
  constexpr std::size_t kWidth = kernels::kTasks;
  const auto rows = static_cast<std::ptrdiff_t>(dofs.size());
  panel.resize(dofs.size() * kWidth);
  kernels::normal_panel(key.words, first, set, rows, panel.data());
  std::vector<double> dof, x;
  for (std::size_t row = 0; row < dofs.size(); ++row) {
    if (dofs[row] == 0) continue;
    dof.push_back(dofs[row]);
    x.insert(x.end(), panel.data() + row * kWidth, panel.data() + (row + 1) * kWidth);
  }
  kernels::chi_square_panel(key.words, first, set, 0, static_cast<std::ptrdiff_t>(dof.size()),
                            dof.data(), x.data());
  const double* next = x.data();
  for (std::size_t row = 0; row < dofs.size(); ++row) {
    if (dofs[row] == 0) continue;
    std::copy_n(next, kWidth, panel.data() + row * kWidth);
    next += kWidth;
  }
}

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

/// (count, rows, columns): one matrix after the other, drawn from one sequence.
template <class Body>
Array stack_of(std::uint64_t seed, std::uint64_t trial, Index count, Body&& draw) {
  require(count > 0, "count must be positive");
  Sequence draws(derive_key(seed, trial, 0, Stream::off_span));
  const Mat first = draw(draws);
  Array out({count, first.rows(), first.cols()});
  MutMat(out.mutable_data(), first.rows(), first.cols()) = first;
  for (Index i = 1; i < count; ++i) {
    MutMat(out.mutable_data(i), first.rows(), first.cols()) = draw(draws);
  }
  return out;
}

Array bartlett_factors(std::uint64_t seed, std::uint64_t trial, Index p, double f, Index count) {
  return stack_of(seed, trial, count, [&](Sequence& draws) { return bartlett(draws, p, f); });
}

Array sums_with_frames(std::uint64_t seed, std::uint64_t trial, const Array& T, const Array& A,
                       double rest, Index count) {
  const Mat sum = as_matrix(T), term = as_matrix(A);
  require(sum.cols() == term.cols() && static_cast<double>(sum.rows()) <= rest &&
              static_cast<double>(term.rows()) <= rest,
          "T and A must fit each other and rest");
  return stack_of(seed, trial, count,
                  [&](Sequence& draws) { return add_frame(sum, term, rest, draws); });
}

}  // namespace

void bind_draws(py::module_& module) {
  module.def("panel_draws", &panel_draws, py::arg("seed"), py::arg("trial"), py::arg("round"),
             py::arg("set"), py::arg("dofs"), py::arg("first"), py::arg("n"), py::arg("threads"));
  module.def("bartlett", &bartlett_factors, py::arg("seed"), py::arg("trial"), py::arg("p"),
             py::arg("f"), py::arg("count"));
  module.def("add_frame", &sums_with_frames, py::arg("seed"), py::arg("trial"), py::arg("T"),
             py::arg("A"), py::arg("rest"), py::arg("count"));
}

}  // namespace metaspan::bind
