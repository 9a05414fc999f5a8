// Tests that trials on population losses have the same results on a device as on the CPU, within
// rounding: states, rounds, statuses and rows, for all methods, shapes and ways to run a round.
#include <cmath>
#include <limits>

#include "device_test.hpp"
#include "metaspan/cuda/population.hpp"
#include "metaspan/engines/device_population.hpp"
#include "metaspan/engines/population.hpp"

namespace metaspan {
namespace {

using test::check;
using Trials = std::vector<std::unique_ptr<Trial>>;

/// A run of a few trials.
struct Case {
  const char* name;
  Method method;
  Shape shape;
  Index n;
  Index trials = 3;
  HeadLaw::Kind heads = HeadLaw::Kind::gaussian;
};

/// Returns pseudorandom numbers, the same in every run.
class Numbers {
 public:
  explicit Numbers(Index seed)
      : draws_(derive_key(5, static_cast<std::uint64_t>(seed), 0, Stream::user)) {}
  Mat matrix(Index rows, Index columns, double scale) {
    Mat m(rows, columns);
    for (double& x : m.reshaped<Eigen::RowMajor>()) x = scale * draws_.normal();
    return m;
  }

 private:
  Sequence draws_;
};

/// Returns the law of the heads of a trial; Gaussian heads have a mean and a factor.
HeadLaw law_of(const Case& run, Index trial) {
  HeadLaw law;
  law.kind = run.heads;
  law.k_star = run.shape.k_star;
  law.radius = 1.5;
  Numbers numbers(100);
  if (run.heads == HeadLaw::Kind::gaussian) {
    law.mean = numbers.matrix(law.k_star, 1, .1).reshaped();
    law.factor = numbers.matrix(law.k_star, law.k_star, .1);
    law.factor.diagonal().setOnes();
  }
  if (run.heads == HeadLaw::Kind::table) {
    law.table = Numbers(200 + trial).matrix(run.n + 2, law.k_star, 1);
  }
  return law;
}

/// Makes the trials of a run at their starts. Trial 1 begins one round later than the others.
Trials make_trials(const Case& run) {
  Trials trials;
  const auto [k_star, e, k] = run.shape;
  for (Index i = 0; i < run.trials; ++i) {
    Numbers numbers(i);
    const Index blocks = run.method.step.blocks();
    Mat Z = numbers.matrix(k_star + e, k * blocks, .3);
    Vec w = numbers.matrix(run.method.parameters(k) * blocks, 1, .2).reshaped();
    if (run.method.step_sizes != StepSizes::fixed) {
      w.segment(k, run.method.learned_steps(k)).setConstant(.1);
    }
    HeadSource heads(law_of(run, i), run.n, 7, static_cast<std::uint64_t>(3 * i));
    auto engine = make_population(
        run.method, PopulationEngine::start(run.method, std::move(Z), std::move(w), k_star),
        std::move(heads), run.n, .1);
    trials.push_back(std::make_unique<Trial>(std::move(engine), i == 1 ? 1 : 0, run.method));
  }
  return trials;
}

PopulationEngine& engine_of(const Trial& trial) {
  return static_cast<PopulationEngine&>(trial.engine());
}

/// Whether a and b agree within rounding, relative to the largest number.
bool agree(const Mat& a, const Mat& b) {
  if (a.size() == 0) return b.size() == 0;
  const double scale = a.cwiseAbs().maxCoeff();
  return a.rows() == b.rows() && a.cols() == b.cols() &&
         !((a - b).cwiseAbs().maxCoeff() > 1e-12 * scale);
}

/// Whether the rows of two trials agree; their numbers may be NaN or infinite in both.
bool rows_agree(const Trial& a, const Trial& b) {
  if (a.row_rounds != b.row_rounds || a.row_values.size() != b.row_values.size()) return false;
  for (std::size_t i = 0; i < a.row_values.size(); ++i) {
    const double x = a.row_values[i], y = b.row_values[i];
    if (x != y && !(std::abs(x - y) <= 2e-12 * std::abs(x))) return false;
  }
  return true;
}

/// Advances the trials of a run on the CPU and on the device, in two calls, and compares them.
void compare(const Case& run, const Plan& plan, Index rounds) {
  const Trials on_cpu = make_trials(run), on_device = make_trials(run);
  const auto device = make_device_population(cuda::module(), run.method, run.shape, run.n, .1);
  const Index size = run.n * run.shape.k_star;
  const Mat given = Numbers(300).matrix(run.trials, rounds * size, 1);
  const bool passes = run.heads == HeadLaw::Kind::given;
  for (const Index end : {(rounds + 1) / 2, rounds}) {
    const GivenHeads heads{passes ? given.data() : nullptr, 0, rounds * size, size};
    for (Index i = 0; i < run.trials; ++i) {
      on_cpu[static_cast<std::size_t>(i)]->advance(
          plan, end, passes ? given.row(i).data() : nullptr, 0, size, 1, nullptr);
    }
    device->advance(on_device, plan, end, heads, 1, nullptr);
  }
  for (std::size_t i = 0; i < on_cpu.size(); ++i) {
    const Trial &a = *on_cpu[i], &b = *on_device[i];
    const auto x = engine_of(a).state(), y = engine_of(b).state();
    check(a.round() == b.round() && a.status() == b.status(), run.name);
    check(agree(x.Z, y.Z) && agree(x.w, y.w) && agree(x.frame, y.frame), run.name);
    check(rows_agree(a, b), run.name);
  }
}

/// A method by its main settings: MAML with one step unless they say otherwise.
Method maml(int inner_steps = 1) { return {.1, .05, inner_steps, true, true, .04}; }
Method anil() { return {.1, .05, 2, false, true, .04}; }

std::vector<Case> methods() {
  Method first_order = maml(3), moves = maml(2), solved = anil(), ridge_rep = anil();
  first_order.exact = false;
  moves.contribution = Contribution::inner_moves;
  solved.solves_head = ridge_rep.solves_head = true;
  solved.inner_steps = ridge_rep.inner_steps = 1;
  solved.penalty = ridge_rep.penalty = .1;
  ridge_rep.contribution = Contribution::inner_gradient;
  ridge_rep.exact = false;
  Method clipped = maml(2), one = maml(2), per_entry = anil(), with_private = maml();
  clipped.clip = .3;
  one.step_sizes = StepSizes::one;
  per_entry.step_sizes = StepSizes::per_entry;
  one.beta_alpha = per_entry.beta_alpha = .01;
  with_private.private_head = true;
  with_private.private_weight = .5;
  Method momentum = maml(), orthonormal = anil(), average_risk = maml(0), frozen = maml();
  momentum.step.momentum = .5;
  momentum.step.average = true;
  orthonormal.step.orthonormal = true;
  frozen.adapt_head = false;
  Method attention{.1, .05, 1, false, true, .04};
  attention.contribution = Contribution::attention;
  return {{"maml", maml(2), {3, 3, 3}, 3},
          {"anil", anil(), {3, 2, 3}, 5},
          {"first-order", first_order, {2, 2, 2}, 9},
          {"moves", moves, {3, 0, 2}, 3},
          {"solved", solved, {3, 3, 3}, 4},
          {"ridge rep", ridge_rep, {3, 3, 3}, 3},
          {"clipped", clipped, {3, 3, 3}, 3},
          {"one step size", one, {3, 3, 3}, 5},
          {"step sizes", per_entry, {2, 4, 4}, 3},
          {"private", with_private, {3, 3, 3}, 3},
          {"momentum", momentum, {3, 3, 3}, 3},
          {"orthonormal", orthonormal, {3, 3, 3}, 6},
          {"average risk", average_risk, {3, 3, 3}, 3},
          {"frozen head", frozen, {3, 3, 3}, 3},
          {"attention", attention, {2, 2, 4}, 3},
          {"wide", maml(2), {2, 3, 4}, 5}};
}

void test_methods_have_the_results_of_the_cpu() {
  for (const Case& run : methods()) {
    compare(run, {{Record::dist}, 2}, 5);
    compare(run, {{Record::loss_in, Record::loss_out, Record::diversity_max, Record::eta}, 2}, 3);
  }
}

/// Tests odd shapes: one task, k = 1 and 33, more tasks than a piece, panels with an empty tail.
void test_shapes_have_the_results_of_the_cpu() {
  compare({"one of all", maml(), {1, 0, 1}, 1, 1}, {{Record::dist}, 1}, 4);
  compare({"k = 1", maml(), {1, 1, 1}, 3, 70}, {{Record::dist}, 1}, 4);
  compare({"many tasks", maml(), {2, 1, 2}, 33, 35}, {{Record::dist}, 3}, 4);
  compare({"k = 33", anil(), {33, 2, 33}, 2, 2}, {{}, 2}, 3);
  compare({"narrow", anil(), {3, 2, 2}, 3, 4}, {{Record::dist}, 1}, 3);
}

void test_all_heads_have_the_results_of_the_cpu() {
  using Kind = HeadLaw::Kind;
  for (const Kind kind : {Kind::sphere, Kind::table, Kind::given}) {
    compare({"heads", maml(), {3, 3, 3}, 5, 3, kind}, {{Record::dist}, 2}, 4);
    compare({"heads of gradients", maml(), {3, 3, 3}, 3, 3, kind}, {{Record::mu}, 1}, 2);
  }
}

/// Tests that trials end on the device in the same rounds and with the same statuses as on the CPU.
void test_trials_end_as_on_the_cpu() {
  Method diverging = maml(2);
  diverging.beta = 1e30;
  compare({"diverges", diverging, {3, 3, 3}, 3, 4}, {{Record::dist}, 1}, 20);
  Method fast = maml();
  fast.beta = 1.2;
  Plan converging{{Record::dist}, 2, 1e-2};
  compare({"converges", fast, {2, 2, 2}, 9, 40}, converging, 60);
  converging.records.clear();
  compare({"converges unseen", fast, {2, 2, 2}, 3, 4}, converging, 60);
  Plan by_loss{{Record::loss_out}, 3, 0, .5};
  compare({"small loss", fast, {2, 2, 2}, 9, 4}, by_loss, 20);
  const std::vector<double> factors{1, .5, .25, 2, 1, 1};
  compare({"schedule", maml(), {3, 3, 3}, 3, 3}, {{Record::dist}, 1, 0, 0, factors.data(), 0}, 6);
}

/// The device memory of a call of the interface, for the trials of a run.
struct OnDevice {
  OnDevice(const Case& run, const Trials& trials)
      : sizes{run.shape.k_star, run.shape.e, run.shape.k, run.n, false},
        columns((run.trials + 31) / 32 * 32),
        numbers(sizes.rows() * sizes.k),
        parameters(run.method.parameters(sizes.k)) {
    std::vector<double> Z(static_cast<std::size_t>(columns * numbers));
    std::vector<double> w(static_cast<std::size_t>(columns * parameters));
    std::vector<std::uint64_t> number(static_cast<std::size_t>(columns));
    for (Index i = 0; i < run.trials; ++i) {
      const auto state = engine_of(*trials[static_cast<std::size_t>(i)]).state();
      for (Index j = 0; j < numbers; ++j) at(Z, i, numbers, j) = state.Z.data()[j];
      for (Index j = 0; j < parameters; ++j) at(w, i, parameters, j) = state.w[j];
      number[static_cast<std::size_t>(i)] = static_cast<std::uint64_t>(3 * i);
    }
    Z_ = test::upload(Z);
    w_ = test::upload(w);
    number_ = test::upload(number);
    round_ = test::upload(std::vector<std::int64_t>(static_cast<std::size_t>(columns)));
    status_ = test::upload(std::vector<std::int32_t>(static_cast<std::size_t>(columns)));
    apart_ = test::upload(std::vector<std::int32_t>(static_cast<std::size_t>(columns)));
    heads.law.k_star = sizes.k_star;
    heads.seed = 7;
    heads.trials = number_.data();
    this->trials = {run.trials, Z_.data(), w_.data(), round_.data(), status_.data(), apart_.data()};
  }

  static double& at(std::vector<double>& panels, Index column, Index numbers, Index j) {
    return panels[static_cast<std::size_t>((column / 32 * numbers + j) * 32 + column % 32)];
  }

  cuda::PopulationSizes sizes;
  Index columns, numbers, parameters;
  cuda::DeviceArray<double> Z_, w_;
  cuda::DeviceArray<std::uint64_t> number_;
  cuda::DeviceArray<std::int64_t> round_;
  cuda::DeviceArray<std::int32_t> status_, apart_;
  cuda::PopulationHeads heads;
  cuda::PopulationTrials trials;
};

/// Returns the states after four rounds in launches of a shape.
std::vector<double> states_after(const Case& run, const cuda::LaunchShape& shape) {
  const Trials trials = make_trials(run);
  OnDevice memory(run, trials);
  cuda::Population& part = *cuda::module().population;
  const auto steps =
      test::upload(std::vector<double>(static_cast<std::size_t>(memory.parameters), .04));
  const cuda::DeviceArray<std::int32_t> rows(cuda::runtime(),
                                             static_cast<std::size_t>(memory.columns));
  const cuda::DeviceArray<double> dist(cuda::runtime(),
                                       static_cast<std::size_t>(memory.columns * 3));
  const cuda::DeviceArray<char> workspace(
      cuda::runtime(), part.advance_bytes(run.method, memory.sizes, run.trials, shape));
  cuda::PopulationRounds rounds{};
  rounds.most = rounds.end = 4;
  rounds.record_every = 2;
  rounds.records = rounds.measures = rounds.resolves = true;
  rounds.beta = rounds.longest = .05;
  rounds.steps = steps.data();
  rounds.dist = dist.data();
  rounds.most_rows = 3;
  rounds.rows = rows.data();
  part.advance(run.method, memory.sizes, memory.trials, memory.heads, rounds,
               {workspace.data(), nullptr, shape});
  std::vector<double> Z = test::download(memory.Z_);
  const std::vector<double> rows_of_all = test::download(dist);
  for (Index i = 0; i < run.trials; ++i) {
    for (Index row = 0; row < 2; ++row) {
      Z.push_back(rows_of_all[static_cast<std::size_t>((i / 32 * 3 + row) * 32 + i % 32)]);
    }
  }
  if (test::counts_bytes() && shape.full_panels == 1) {
    // The state crosses the memory of the device once in each direction, however many rounds run.
    const auto bytes = static_cast<std::uint64_t>(8 * run.trials * memory.numbers);
    check(test::bytes_read(memory.Z_) == bytes, "each state is read once");
    check(test::bytes_written(memory.Z_) == bytes, "each state is written once");
  }
  return Z;
}

/// Tests that the bits depend neither on the grid, nor on whether the pieces of a trial share a
/// thread, nor on where the columns are.
void test_bits_do_not_depend_on_the_launch() {
  for (const Case& run :
       {Case{"bits", maml(), {3, 3, 3}, 3, 100}, Case{"", maml(2), {2, 3, 2}, 19, 200},
        Case{"global memory", anil(), {12, 6, 12}, 19, 3}}) {
    const std::vector<double> once = states_after(run, {1, 0, 1});
    for (const cuda::LaunchShape& shape :
         {cuda::LaunchShape{1, 1, 1}, cuda::LaunchShape{3, 1, 1}, cuda::LaunchShape{1, 0, 1000},
          cuda::LaunchShape{3, 3, 1000}, cuda::LaunchShape{1, 2, 1000}}) {
      const std::vector<double> again = states_after(run, shape);
      bool equal = true;
      for (std::size_t i = 0; i < once.size(); ++i) {
        equal &= once[i] == again[i] || (std::isnan(once[i]) && std::isnan(again[i]));
      }
      check(equal, "the same bits from every launch");
    }
  }
}

/// Runs each kernel with three warps in three blocks, and tests that heads have the bits of the
/// CPU.
void test_heads_have_the_bits_of_the_cpu() {
  const Case run{"heads", maml(), {3, 3, 3}, 9, 300};
  const Trials trials = make_trials(run);
  OnDevice memory(run, trials);
  cuda::Population& part = *cuda::module().population;
  const auto columns = static_cast<std::size_t>(memory.columns);
  const cuda::DeviceArray<double> grad_B(cuda::runtime(), columns * 18);
  const cuda::DeviceArray<double> grad_w(cuda::runtime(), columns * 3);
  const cuda::DeviceArray<double> heads(cuda::runtime(), columns * 27);
  const cuda::LaunchShape shape{3, 0, 0};
  const cuda::DeviceArray<char> workspace(
      cuda::runtime(), part.gradient_bytes(run.method, memory.sizes, run.trials, shape));
  part.gradients(run.method, memory.sizes, memory.trials, memory.heads,
                 {grad_B.data(), grad_w.data(), nullptr, nullptr, heads.data()},
                 {workspace.data(), nullptr, shape});
  std::vector<double> drawn = test::download(heads);
  for (const Index i : {Index{0}, Index{31}, Index{64}, Index{299}}) {
    HeadLaw law;
    law.k_star = 3;
    HeadSource source(law, run.n, 7, static_cast<std::uint64_t>(3 * i));
    source.begin_round(0, nullptr);
    const Mat expected = source.rows(run.n);
    for (Index j = 0; j < 27; ++j) {
      check(OnDevice::at(drawn, i, 27, j) == expected.data()[j], "the bits of a head");
    }
  }
}

}  // namespace
}  // namespace metaspan

int main() {
  using namespace metaspan;
#if defined(METASPAN_CUDA_EMULATED)
  if (emulator::is_watched_for_races()) {  // threads of the system, which are slow
    return test::run_tests([] { test_bits_do_not_depend_on_the_launch(); });
  }
#endif
  return test::run_tests([] {
    test_methods_have_the_results_of_the_cpu();
    test_shapes_have_the_results_of_the_cpu();
    test_all_heads_have_the_results_of_the_cpu();
    test_trials_end_as_on_the_cpu();
    test_bits_do_not_depend_on_the_launch();
    test_heads_have_the_bits_of_the_cpu();
  });
}
