// Bindings of the engine for infinitely many tasks in each round.
#include "metaspan/engines/infinite_tasks.hpp"

#include "metaspan/engines/limit_round.hpp"
#include "run.hpp"

namespace metaspan::bind {
namespace {

/// A run of engines for infinitely many tasks.
class InfiniteTasksRun final : public RunOf<InfiniteTasksEngine> {
 public:
  using RunOf::RunOf;

  /// Returns "M", "R" and "w" of every trial.
  py::dict state() const override {
    Shape shape = engine(0).shape();
    shape.k = engine(0).state().cols();
    const Vec w = Vec::Zero(shape.k);  // the heads of all blocks stay 0
    return state_in_coordinates(
        count(), shape, [&](Index i) -> const Mat& { return engine(i).state(); },
        [&](Index) -> const Vec& { return w; });
  }
};

/// Opens a run from M and R of every trial; `covariance` (k_star, k_star) is the covariance of the
/// heads, and `spread` is tau of (33) in d dimensions.
std::unique_ptr<Run> open_infinite_tasks(const Method& method, Index m_in, double noise,
                                         double spread, double d, const Array& covariance,
                                         const Array& M, const Array& R,
                                         const std::vector<Index>& rounds,
                                         const std::vector<std::string>& records) {
  const ConstMat cov = as_matrix(covariance);
  require(M.ndim() == 3 && cov.rows() == M.shape(1) && cov.cols() == cov.rows(),
          "the covariance must fit M");
  auto run = std::make_unique<InfiniteTasksRun>(records);
  for (std::size_t at = 0; at < rounds.size(); ++at) {
    Mat Z = state_block(M, R, static_cast<Index>(at));
    run->add(make_infinite_tasks(method, m_in, noise, spread, d, cov, std::move(Z)), rounds[at],
             method);
  }
  return run;
}

/// Returns the inverse of a number of samples, and 0 for 0, which means infinitely many.
double inverse_of(Index m) { return m == 0 ? 0 : 1 / static_cast<double>(m); }

/// Computes the gradient in coordinates and the second moment S of a round of the limit at one
/// state.
py::tuple round_of_limit(const Method& method, Index m_in, Index m_out, double noise, double spread,
                         double d, const py::object& heads, Index k_star, const Array& C,
                         const Array& w) {
  require(m_in >= 0 && m_out >= 0, "numbers of samples must not be negative");
  const LimitRound round =
      limit_round(method, as_head_moments(heads, k_star, spread, d), inverse_of(m_in),
                  inverse_of(m_out), noise * noise + spread * spread, as_matrix(C), as_vector(w));
  return py::make_tuple(to_array(round.grad_C), to_array(round.grad_w), to_array(round.S));
}

}  // namespace

void bind_infinite_tasks(py::module_& module, py::class_<Run>& run) {
  module.def("limit_round", &round_of_limit, py::kw_only(), py::arg("method"), py::arg("m_in"),
             py::arg("m_out"), py::arg("noise"), py::arg("spread"), py::arg("d"), py::arg("heads"),
             py::arg("k_star"), py::arg("C"), py::arg("w"));
  run.def_static("infinite_tasks", &open_infinite_tasks, py::kw_only(), py::arg("method"),
                 py::arg("m_in"), py::arg("noise"), py::arg("spread"), py::arg("d"),
                 py::arg("covariance"), py::arg("M"), py::arg("R"), py::arg("rounds"),
                 py::arg("records"));
}

}  // namespace metaspan::bind
