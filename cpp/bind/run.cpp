#include "run.hpp"

#include <algorithm>

#include "metaspan/base/parallel.hpp"
#include "metaspan/engines/population.hpp"

namespace metaspan::bind {
namespace {

/// M Q, R Q, Q^T w and Q of every trial.
py::dict population_state(const std::vector<std::unique_ptr<Trial>>& trials) {
  const auto engine = [&](Index i) -> const PopulationEngine& {
    return dynamic_cast<const PopulationEngine&>(trials[static_cast<std::size_t>(i)]->engine());
  };
  const auto [k_star, e, k] = engine(0).shape();
  const auto count = static_cast<Index>(trials.size());
  Array M({count, k_star, k}), R({count, e, k}), w({count, k}), frames({count, k, k});
  for (Index i = 0; i < count; ++i) {
    const Mat& Z = engine(i).coordinates();
    MutMat(M.mutable_data() + i * k_star * k, k_star, k) = Z.topRows(k_star);
    MutMat(R.mutable_data() + i * e * k, e, k) = Z.bottomRows(e);
    MutVec(w.mutable_data() + i * k, k) = engine(i).head();
    MutMat(frames.mutable_data() + i * k * k, k, k) = engine(i).frame();
  }
  py::dict out;
  out["M"] = M;
  out["R"] = R;
  out["w"] = w;
  out["frames"] = frames;
  return out;
}

}  // namespace

/// Trials side by side where there are enough of them or a round is too small to share, otherwise
/// one after the other with the threads inside, as where they share a store: the numbers are the
/// same either way.
template <class Body>
void Run::each_trial(int threads, Body&& body) {
  const auto count = static_cast<Index>(trials_.size());
  const bool small = count >= threads || first().flops() < kSerialFlops;
  const bool side_by_side = small && !shares_store_;
  interruptible([&](Cancel* cancel) {
    parallel_for(side_by_side ? threads : 1, count, cancel,
                 [&](Index i, int) { body(i, side_by_side ? 1 : threads, cancel); });
    throw_if_requested(cancel);
  });
}

const double* Run::given_heads(const std::optional<Array>& heads, Index rounds) const {
  if (!heads) return nullptr;
  require(heads->size() == static_cast<Index>(trials_.size()) * rounds * heads_size_,
          "heads must be (trials, rounds, n, k_star)");
  return heads->data();
}

std::unique_ptr<Run> Run::population(const py::tuple& method, const Array& M, const Array& R,
                                     const Array& w, const py::tuple& law, Index n, double noise,
                                     std::uint64_t seed, const std::vector<std::uint64_t>& trials,
                                     const std::vector<Index>& rounds,
                                     const std::vector<std::string>& records,
                                     const std::optional<Array>& frames) {
  auto run = std::make_unique<Run>();
  const Method m = as_method(method);
  require(n > 0 && rounds.size() == trials.size(), "n must be positive, a round for every trial");
  for (std::size_t at = 0; at < trials.size(); ++at) {
    const auto i = static_cast<Index>(at);
    const Index k_star = M.shape(1);
    Mat Z = state_block(M, R, i);
    const Vec head = row_block(w, i, Z.cols());
    HeadSource heads(as_head_law(law, k_star, i), n, seed, trials[at]);
    PopulationEngine::State state =
        frames ? PopulationEngine::State{std::move(Z), head, block_of(*frames, i)}
               : PopulationEngine::start(std::move(Z), head, k_star);
    run->trials_.push_back(std::make_unique<Trial>(
        make_population(m, std::move(state), std::move(heads), n, noise), rounds[at], m.alpha));
    run->heads_size_ = n * k_star;
  }
  run->set_records(records);
  run->state_ = [self = run.get()] { return population_state(self->trials_); };
  return run;
}

void Run::set_records(const std::vector<std::string>& records) {
  for (const std::string& name : records) plan_.records.push_back(record_named(name));
  names_ = records;
}

void Run::advance(Index end, Index record_every, double stop_dist, double stop_loss,
                  const std::optional<Array>& heads, int threads) {
  require(record_every > 0, "record_every must be positive");
  plan_.record_every = record_every;
  plan_.stop_dist = stop_dist;
  plan_.stop_loss = stop_loss;
  Index begin = end;
  for (const auto& trial : trials_) {
    if (trial->status() == TrialStatus::live) begin = std::min(begin, trial->round());
  }
  const double* given = given_heads(heads, end - begin);
  each_trial(threads, [&](Index i, int inner, Cancel* cancel) {
    const double* own = given == nullptr ? nullptr : given + i * (end - begin) * heads_size_;
    trials_[static_cast<std::size_t>(i)]->advance(plan_, end, own, begin, heads_size_, inner,
                                                  cancel);
  });
}

void Run::measure(const std::optional<Array>& heads, int threads) {
  const double* given = given_heads(heads, 1);
  each_trial(threads, [&](Index i, int inner, Cancel* cancel) {
    Trial& trial = *trials_[static_cast<std::size_t>(i)];
    if (trial.status() != TrialStatus::live) return;
    trial.measure(plan_, given == nullptr ? nullptr : given + i * heads_size_, inner, cancel);
  });
}

py::list Run::rows() const {
  py::list all;
  for (const auto& trial : trials_) {
    const auto rows = static_cast<Index>(trial->row_rounds.size());
    py::array_t<std::int64_t> rounds(rows);
    std::copy(trial->row_rounds.begin(), trial->row_rounds.end(), rounds.mutable_data());
    Array values({rows, trial->row_columns(plan_)});
    std::copy(trial->row_values.begin(), trial->row_values.end(), values.mutable_data());
    all.append(py::make_tuple(rounds, values));
  }
  return all;
}

std::vector<std::string> Run::columns() const {
  std::vector<std::string> all;
  const Shape shape = first().shape();
  const Meter meter(shape.k_star, shape.e, shape.k);
  for (std::size_t i = 0; i < names_.size(); ++i) {
    all.insert(all.end(), static_cast<std::size_t>(meter.columns(plan_.records[i])), names_[i]);
  }
  return all;
}

}  // namespace metaspan::bind
