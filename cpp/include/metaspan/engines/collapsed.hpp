// The collapsed engine: finite samples of rotation-invariant features, exact in law, (16)-(19), at
// a cost that does not depend on d.
#pragma once

#include <memory>

#include "metaspan/engines/engine.hpp"
#include "metaspan/in_law/sample_shape.hpp"
#include "metaspan/random/heads.hpp"

namespace metaspan {

/// A trial in which every round draws new tasks and samples. Except for the kept rows, R is known
/// only up to an orthogonal factor from the left, which may change with every step.
class CollapsedEngine : public Engine {
 public:
  struct State {
    // [M; R] of the c blocks of (28) side by side: (kept + min(c k, d - kept), c k)
    Mat Z;
    Vec w;       // (c parameters,)
    Index kept;  // rows whose basis vectors are fixed: k_star, and those of a tracked start
  };
  /// The current state.
  virtual const State& state() const = 0;
};

/// Returns the cost of a round. `sizes.rows` are the rows of [M; R]. The flops include drawing the
/// random numbers.
RoundCost collapsed_cost(const Method& method, const SampleLaw& law, const RoundSizes& sizes);

/// The memory for the samples of panels, one part for each thread. Trials with the same method and
/// sizes share it: a trial that computes a gradient borrows one part for each of its threads.
class PanelMemory;
std::shared_ptr<PanelMemory> make_panel_memory();

/// Makes a collapsed engine. Its memory is O(pieces * D * k), where D is the number of rows of [M;
/// R]. The shared memory for panels is O(threads * s), where a task has s random numbers.
std::unique_ptr<CollapsedEngine> make_collapsed(const Method& method, const SampleLaw& law,
                                                CollapsedEngine::State state, HeadSource heads,
                                                Index n, std::uint64_t seed, std::uint64_t trial,
                                                std::shared_ptr<PanelMemory> memory);

}  // namespace metaspan
