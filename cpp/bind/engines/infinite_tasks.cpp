// Bindings of the engine for infinitely many tasks in each round.
#include "metaspan/engines/infinite_tasks.hpp"

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

}  // namespace

void bind_infinite_tasks(py::class_<Run>& run) {
  run.def_static("infinite_tasks", &open_infinite_tasks, py::kw_only(), py::arg("method"),
                 py::arg("m_in"), py::arg("noise"), py::arg("spread"), py::arg("d"),
                 py::arg("covariance"), py::arg("M"), py::arg("R"), py::arg("rounds"),
                 py::arg("records"));
}

}  // namespace metaspan::bind
