// Runs on random samples that are never made.
#include <algorithm>

#include "metaspan/engines/collapsed.hpp"
#include "metaspan/engines/infinite_tasks.hpp"
#include "run.hpp"

namespace metaspan::bind {
namespace {

/// M, R and w of every trial, from what `state_of` says that its [M; R] is.
template <class StateOf>
py::dict state_in_coordinates(const std::vector<std::unique_ptr<Trial>>& trials,
                              StateOf&& state_of) {
  const auto count = static_cast<Index>(trials.size());
  const auto [k_star, e, k] = trials.front()->engine().shape();
  Array M({count, k_star, k}), R({count, e, k}), w({count, k});
  for (Index i = 0; i < count; ++i) {
    const Engine& engine = trials[static_cast<std::size_t>(i)]->engine();
    const Mat& Z = state_of(engine);
    MutMat(M.mutable_data() + i * k_star * k, k_star, k) = Z.topRows(k_star);
    MutMat(R.mutable_data() + i * e * k, e, k) = Z.bottomRows(e);
    MutVec(w.mutable_data() + i * k, k) = engine.head();
  }
  py::dict out;
  out["M"] = M;
  out["R"] = R;
  out["w"] = w;
  return out;
}

}  // namespace

std::unique_ptr<Run> Run::collapsed(const py::tuple& method, const py::tuple& samples,
                                    const Array& M, const Array& R, const Array& w, Index kept,
                                    const py::tuple& law, Index n, std::uint64_t seed,
                                    const std::vector<std::uint64_t>& trials,
                                    const std::vector<Index>& rounds,
                                    const std::vector<std::string>& records) {
  auto run = std::make_unique<Run>();
  const Method m = as_method(method);
  const SampleLaw sample_law = as_sample_law(samples);
  require(n > 0 && rounds.size() == trials.size() && M.ndim() == 3,
          "n must be positive, a round for every trial");
  const Index k_star = M.shape(1);
  for (std::size_t at = 0; at < trials.size(); ++at) {
    const auto i = static_cast<Index>(at);
    CollapsedEngine::State state{state_block(M, R, i), {}, kept};
    const Index k = state.Z.cols();
    state.w = row_block(w, i, k);
    require(kept >= k_star && kept <= state.Z.rows() &&
                static_cast<double>(state.Z.rows()) <= sample_law.d &&
                (state.Z.rows() == kept + k || static_cast<double>(state.Z.rows()) == sample_law.d),
            "R must have room for what the samples add");
    HeadSource heads(as_head_law(law, k_star, i), n, seed, trials[at]);
    run->trials_.push_back(std::make_unique<Trial>(
        make_collapsed(m, sample_law, std::move(state), std::move(heads), n, seed, trials[at]),
        rounds[at], m.alpha));
  }
  run->heads_size_ = n * k_star;
  run->set_records(records);
  run->state_ = [self = run.get()] {
    return state_in_coordinates(self->trials_, [](const Engine& engine) -> const Mat& {
      return dynamic_cast<const CollapsedEngine&>(engine).state().Z;
    });
  };
  return run;
}

std::unique_ptr<Run> Run::infinite_tasks(const py::tuple& method, Index m_in, double noise,
                                         const Array& covariance, const Array& M, const Array& R,
                                         const std::vector<Index>& rounds,
                                         const std::vector<std::string>& records) {
  auto run = std::make_unique<Run>();
  const Method m = as_method(method);
  const ConstMat cov = as_matrix(covariance);
  require(M.ndim() == 3 && cov.rows() == M.shape(1) && cov.cols() == cov.rows(),
          "the covariance must fit M");
  for (std::size_t at = 0; at < rounds.size(); ++at) {
    Mat Z = state_block(M, R, static_cast<Index>(at));
    run->trials_.push_back(std::make_unique<Trial>(
        make_infinite_tasks(m.alpha, m.beta, m_in, noise, cov, std::move(Z)), rounds[at], m.alpha));
  }
  run->set_records(records);
  run->state_ = [self = run.get()] {
    return state_in_coordinates(self->trials_, [](const Engine& engine) -> const Mat& {
      return dynamic_cast<const InfiniteTasksEngine&>(engine).state();
    });
  };
  return run;
}

}  // namespace metaspan::bind
