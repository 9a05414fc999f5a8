// Tests the collapsed engine on a device: rounds of many trials agree with those of the CPU for
// every method and law of features, and have the same bits for every grid and every cut of a round.
#include <algorithm>
#include <cmath>

#include "device_test.hpp"
#include "metaspan/engines/collapsed.hpp"
#include "metaspan/engines/device_collapsed.hpp"

namespace metaspan {
namespace {

using test::check;

/// A run of collapsed trials.
struct Case {
  const char* name;
  Method method;
  SampleLaw law;
  Index k_star, k, n, trials;
};

Method anil(int steps) { return {0.1, 0.05, steps, false, true, 0.05}; }

Method maml(int steps) {
  Method method = anil(steps);
  method.adapt_B = true;
  return method;
}

SampleLaw gaussian(double d, Index m_in, Index m_out) {
  return {d, m_in, m_out, false, 0.3, {FeatureLaw::Kind::gaussian, 0}, 0};
}

/// Returns the trials of a case, whose states and heads are random.
std::vector<std::unique_ptr<Trial>> make_trials(const Case& run) {
  std::vector<std::unique_ptr<Trial>> trials;
  const Index blocks = run.method.step.blocks();
  const double e =
      std::min(static_cast<double>(blocks * run.k), run.law.d - static_cast<double>(run.k_star));
  const std::shared_ptr<PanelMemory> memory = make_panel_memory();
  for (Index i = 0; i < run.trials; ++i) {
    Sequence draws(derive_key(7, static_cast<std::uint64_t>(i), 0, Stream::start));
    CollapsedEngine::State state;
    state.Z = Mat(run.k_star + static_cast<Index>(e), blocks * run.k);
    state.w = Vec(blocks * run.method.parameters(run.k));
    state.kept = run.k_star;
    for (Index j = 0; j < state.Z.size(); ++j) state.Z.data()[j] = 0.5 * draws.normal();
    for (Index j = 0; j < state.w.size(); ++j) state.w[j] = 0.1 * draws.normal();
    HeadLaw heads;
    heads.k_star = run.k_star;
    const auto number = static_cast<std::uint64_t>(i);
    trials.push_back(std::make_unique<Trial>(
        make_collapsed(run.method, run.law, state, HeadSource(heads, run.n, 11, number), run.n, 11,
                       number, memory),
        0, run.method));
  }
  return trials;
}

const CollapsedEngine::State& state_of(const Trial& trial) {
  return static_cast<const CollapsedEngine&>(trial.engine()).state();
}

/// Whether two arrays agree to `tolerance`, relative to the largest entry.
template <class Array>
bool agree(const Array& a, const Array& b, double tolerance) {
  if (a.size() == 0) return b.size() == 0;
  return a.size() == b.size() &&
         (a - b).cwiseAbs().maxCoeff() <= tolerance * b.cwiseAbs().maxCoeff();
}

std::vector<std::unique_ptr<Trial>> run_on_device(const Case& run, const Plan& plan, Index rounds,
                                                  const CollapsedLimits& limits) {
  std::vector<std::unique_ptr<Trial>> trials = make_trials(run);
  make_device_collapsed(cuda::module(), limits)->advance(trials, plan, rounds, {}, 1, nullptr);
  return trials;
}

/// Compares a round and its losses with those of the CPU, and the bits of two rounds for several
/// grids and cuts.
void test_rounds(const Case& run) {
  Plan plan;
  plan.records = {Record::loss_in, Record::loss_adapted, Record::loss_out, Record::diversity_min};
  std::vector<std::unique_ptr<Trial>> expected = make_trials(run);
  for (const auto& trial : expected) trial->advance(plan, 1, nullptr, 0, 0, 1, nullptr);
  const auto trials = run_on_device(run, plan, 1, {});
  for (std::size_t i = 0; i < trials.size(); ++i) {
    const auto &state = state_of(*trials[i]), &on_cpu = state_of(*expected[i]);
    check(trials[i]->round() == 1 && agree(state.Z, on_cpu.Z, 1e-12) &&
              agree(state.w, on_cpu.w, 1e-12),
          run.name);
    const ConstVec rows(trials[i]->row_values.data(), 4), cpu(expected[i]->row_values.data(), 4);
    check(agree(Vec(rows), Vec(cpu), 1e-12), run.name);
  }
}

void test_cuts_change_no_bit(const Case& run) {
  Plan plan;
  const auto whole = run_on_device(run, plan, 2, {});
  for (const CollapsedLimits limits : {CollapsedLimits{32, 1}, CollapsedLimits{100, 5}}) {
    const auto trials = run_on_device(run, plan, 2, limits);
    for (std::size_t i = 0; i < trials.size(); ++i) {
      check(state_of(*trials[i]).Z == state_of(*whole[i]).Z &&
                state_of(*trials[i]).w == state_of(*whole[i]).w,
            "a grid or a cut of the round changed bits");
    }
  }
}

/// Appends cases with two true directions.
struct Cases {
  std::vector<Case>& all;
  void operator()(const char* name, const Method& method, const SampleLaw& law, Index k = 2,
                  Index n = 29, Index trials = 5) const {
    all.push_back({name, method, law, 2, k, n, trials});
  }
};

/// Adds cases with methods of the family.
void add_methods(const Cases& add) {
  const SampleLaw law = gaussian(50, 5, 4);
  add("ANIL", anil(2), law);
  add("MAML", maml(2), law);
  add("MAML with one task and one sample", maml(1), gaussian(40, 1, 1), 1, 1, 150);
  add("a wide state", maml(1), gaussian(400, 3, 2), 33, 13, 11);
  Method method = maml(2);
  method.exact = false;
  add("first-order MAML", method, law);
  add("average risk", {0, 0.05, 0, false, false, 0.05}, law);
  method = maml(2);
  method.exact = false;
  method.contribution = Contribution::inner_moves;
  add("Reptile", method, law);
  method.fresh_steps = true;
  add("Reptile with fresh steps", method, gaussian(50, 6, 4));
  method = anil(1);
  method.solves_head = true;
  method.penalty = 0.3;
  add("ridge", method, law);
  method.contribution = Contribution::inner_gradient;
  method.exact = false;
  add("FedRep", method, law);
  method = anil(1);
  method.contribution = Contribution::attention;
  method.exact = false;
  add("attention", method, law, 4);
}

/// Adds cases with parameters beside B and w, clipping, noise and memory.
void add_options(const Cases& add) {
  const SampleLaw law = gaussian(50, 5, 4);
  Method method = maml(2);
  method.private_head = true;
  method.private_weight = 0.5;
  add("private head", method, law);
  method = maml(2);
  method.step_sizes = StepSizes::per_entry;
  method.beta_alpha = 0.01;
  add("learned step sizes", method, law);
  method = anil(2);
  method.step_sizes = StepSizes::one;
  add("a learned step size", method, law);
  method = anil(2);
  method.clip = 0.05;
  method.multiplier = 0.1;
  add("clipped ANIL", method, law);
  method = maml(1);
  method.clip = 0.05;
  add("clipped MAML", method, law);
  method = anil(1);
  method.step.momentum = 0.5;
  add("momentum", method, law);
}

/// Adds cases with laws of samples.
void add_laws(const Cases& add) {
  const SampleLaw law = gaussian(50, 5, 4);
  SampleLaw other = law;
  other.spread = 0.5;
  add("heads off the span", anil(2), other);
  add("MAML with heads off the span", maml(2), other);
  other = law;
  other.shared = true;
  add("shared samples", anil(2), other);
  add("MAML on shared samples", maml(2), other);
  other = law;
  other.features = {FeatureLaw::Kind::student_t, 5};
  add("student_t", maml(2), other);
  other.features = {FeatureLaw::Kind::sphere, 0};
  add("sphere", anil(2), other);
  add("infinite inner sets", maml(2), gaussian(50, 0, 4));
  add("infinite outer sets", maml(2), gaussian(50, 5, 0));
  add("no space off the span", maml(2), gaussian(4, 5, 4));
  add("many features", maml(1), gaussian(1e12, 3, 3));
}

std::vector<Case> cases() {
  std::vector<Case> all;
  add_methods({all});
  add_options({all});
  add_laws({all});
  return all;
}

}  // namespace
}  // namespace metaspan

int main() {
  using namespace metaspan;
  return test::run_tests([] {
    const std::vector<Case> all = cases();
    // All methods run the same kernels, so two of them show ThreadSanitizer every access.
    for (std::size_t i = 0; i < (test::is_slow() ? 2 : all.size()); ++i) test_rounds(all[i]);
    for (std::size_t i = 0; !test::is_slow() && i < 2; ++i) {
      Case large = all[i];
      large.n = 70;
      test_cuts_change_no_bit(large);
    }
  });
}
