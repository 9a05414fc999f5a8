// States of trials at full size, from and to arrays.
#pragma once

#include "convert.hpp"
#include "metaspan/engines/advance.hpp"
#include "metaspan/engines/arrays.hpp"
#include "run.hpp"

namespace metaspan::bind {

using Trials = std::vector<std::unique_ptr<Trial>>;

template <class BScalar>
const ArraysEngine<BScalar>& engine_of(const Trials& trials, Index i) {
  return dynamic_cast<const ArraysEngine<BScalar>&>(trials[static_cast<std::size_t>(i)]->engine());
}

/// Where trial i starts: its block of B (trials, d, k) in place, its row of w.
template <class BScalar>
ArraysStart<BScalar> start_of(const py::array& B, const Array& w, Index i, Index n,
                              std::pair<std::uint64_t, std::uint64_t> seed_and_trial) {
  const Index d = B.shape(1), k = B.shape(2);
  return {static_cast<const BScalar*>(B.data()) + i * d * k,
          row_block(w, i, k),
          nullptr,
          n,
          seed_and_trial.first,
          seed_and_trial.second};
}

/// B of every trial, (trials, d, k).
template <class BScalar>
py::object representations(const Trials& trials, Index d, int threads) {
  const auto count = static_cast<Index>(trials.size());
  const Index k = trials.front()->engine().shape().k;
  py::array_t<BScalar> all({count, d, k});
  BScalar* out = all.mutable_data();
  {
    const Unlocked unlocked;
    for (Index i = 0; i < count; ++i) {
      engine_of<BScalar>(trials, i).export_B(out + i * d * k, threads);
    }
  }
  return all;
}

/// w of every trial, (trials, k).
inline Array heads_of(const Trials& trials) {
  const auto count = static_cast<Index>(trials.size());
  const Index k = trials.front()->engine().shape().k;
  Array all({count, k});
  for (Index i = 0; i < count; ++i) {
    MutVec(all.mutable_data() + i * k, k) = trials[static_cast<std::size_t>(i)]->engine().head();
  }
  return all;
}

/// States and representations of trials on B at full size.
template <class BScalar>
void Run::set_representations(Index d) {
  representation_ = [this, d](int threads) {
    return representations<BScalar>(trials_, d, threads);
  };
  state_ = [this, d] {
    py::dict out;
    out["B"] = representations<BScalar>(trials_, d, 1);
    out["w"] = heads_of(trials_);
    return out;
  };
}

}  // namespace metaspan::bind
