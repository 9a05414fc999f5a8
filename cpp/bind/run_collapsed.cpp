// Runs on random samples that are never made.
#include <algorithm>

#include "metaspan/engines/collapsed.hpp"
#include "run.hpp"

namespace metaspan::bind {
namespace {

/// M, R and w of every trial.
py::dict collapsed_state(const std::vector<std::unique_ptr<Trial>>& trials, Index k_star) {
  const auto engine = [&](Index i) -> const CollapsedEngine& {
    return dynamic_cast<const CollapsedEngine&>(trials[static_cast<std::size_t>(i)]->engine());
  };
  const auto count = static_cast<Index>(trials.size());
  const Index rows = engine(0).state().Z.rows(), k = engine(0).state().Z.cols();
  Array M({count, k_star, k}), R({count, rows - k_star, k}), w({count, k});
  for (Index i = 0; i < count; ++i) {
    const CollapsedEngine::State& state = engine(i).state();
    MutMat(M.mutable_data(i), k_star, k) = state.Z.topRows(k_star);
    MutMat(R.mutable_data() + i * (rows - k_star) * k, rows - k_star, k) =
        state.Z.bottomRows(rows - k_star);
    MutVec(w.mutable_data(i), k) = state.w;
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
  run->state_ = [self = run.get(), k_star] { return collapsed_state(self->trials_, k_star); };
  return run;
}

}  // namespace metaspan::bind
