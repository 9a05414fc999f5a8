// Bindings of the engine of the limit, and of single rounds of it.
#include "metaspan/engines/limit.hpp"

#include <algorithm>

#include "metaspan/engines/limit_round.hpp"
#include "run.hpp"

namespace metaspan::bind {
namespace {

/// A run of engines of the limit.
class LimitRun final : public RunOf<LimitEngine> {
 public:
  using RunOf::RunOf;

  /// Returns "M", "R" and "w" of every trial, with the blocks of (28) side by side.
  py::dict state() const override {
    Shape shape = engine(0).shape();
    shape.k = engine(0).state().cols();
    return state_in_coordinates(
        count(), shape, [&](Index i) -> const Mat& { return engine(i).state(); },
        [&](Index i) -> const Vec& { return engine(i).state_head(); });
  }
};

/// Opens a run from M, R and w of every trial. `spread` is tau of (33) in d dimensions.
std::unique_ptr<Run> open_limit(const Method& method, Index m_in, Index m_out, double noise,
                                double spread, double d, double d_over_n, const py::object& heads,
                                const Array& M, const Array& R, const Array& w,
                                const std::vector<Index>& rounds,
                                const std::vector<std::string>& records) {
  require(M.ndim() == 3, "a stack of matrices must have a block for every trial");
  const LimitTasks tasks{
      as_head_moments(heads, M.shape(1), spread, d), m_in, m_out, noise, spread, d_over_n};
  auto run = std::make_unique<LimitRun>(records);
  for (std::size_t at = 0; at < rounds.size(); ++at) {
    const auto i = static_cast<Index>(at);
    run->add(make_limit(method, tasks, state_block(M, R, i), row_block(w, i, M.shape(2))),
             rounds[at], method);
  }
  return run;
}

/// Returns the inverse of a number of samples, and 0 for 0, which means infinitely many.
double inverse_of(Index m) { return m == 0 ? 0 : 1 / static_cast<double>(m); }

/// Computes the gradient in coordinates and the second moment S of a round of the limit at each of
/// some states: C (states, D, k) and w (states, k).
py::tuple rounds_of_limit(const Method& method, Index m_in, Index m_out, double noise,
                          double spread, double d, const py::object& heads, Index k_star,
                          const Array& C, const Array& w) {
  require(C.ndim() == 3 && w.ndim() == 2 && w.shape(0) == C.shape(0) && w.shape(1) == C.shape(2),
          "C and w must be stacks of the same length");
  const Index states = C.shape(0), D = C.shape(1), k = C.shape(2);
  const HeadMoments moments = as_head_moments(heads, k_star, spread, d);
  Array grad_C({states, D, k}), grad_w({states, k}), S({states, k, k});
  for (Index i = 0; i < states; ++i) {
    const LimitRound round = limit_round(
        method, moments, inverse_of(m_in), inverse_of(m_out), noise * noise + spread * spread,
        ConstMat(C.data() + i * D * k, D, k), Eigen::Map<const Vec>(w.data() + i * k, k));
    std::copy_n(round.grad_C.data(), D * k, grad_C.mutable_data() + i * D * k);
    std::copy_n(round.grad_w.data(), k, grad_w.mutable_data() + i * k);
    std::copy_n(round.S.data(), k * k, S.mutable_data() + i * k * k);
  }
  return py::make_tuple(grad_C, grad_w, S);
}

}  // namespace

void bind_limit(py::module_& module, py::class_<Run>& run) {
  module.def("limit_rounds", &rounds_of_limit, py::kw_only(), py::arg("method"), py::arg("m_in"),
             py::arg("m_out"), py::arg("noise"), py::arg("spread"), py::arg("d"), py::arg("heads"),
             py::arg("k_star"), py::arg("C"), py::arg("w"));
  run.def_static("limit", &open_limit, py::kw_only(), py::arg("method"), py::arg("m_in"),
                 py::arg("m_out"), py::arg("noise"), py::arg("spread"), py::arg("d"),
                 py::arg("d_over_n"), py::arg("heads"), py::arg("M"), py::arg("R"), py::arg("w"),
                 py::arg("rounds"), py::arg("records"));
}

}  // namespace metaspan::bind
