// Population losses of many trials side by side, (13): the rounds of Population with trials,
// instead of tasks, in the columns of a panel.
#include <algorithm>
#include <cmath>

#include "copy_outputs.hpp"
#include "distance.hpp"
#include "metaspan/algebra/trial_columns.hpp"
#include "metaspan/engines/population.hpp"

namespace metaspan {
namespace {

constexpr Index kWidth = kernels::kTrials;

/// A panel of trials takes less time than the same trials one after another if there are at most
/// kMostTasks tasks, at most kMostNumbers numbers in a state and at least kLeastTrials trials. With
/// more tasks, panels of tasks fill the registers as well. With more numbers, the states of all
/// columns exceed the nearest cache.
constexpr Index kMostTasks = 32;
constexpr Index kMostNumbers = 128;
constexpr Index kLeastTrials = 8;

/// Cost of the heads and the step of a panel's round, in kernel calls, in addition to the calls of
/// the algebra.
constexpr double kCallsOfPanelRound = 12;

/// A panel of population trials with k <= k_star. The panel processes the tasks of a round one
/// after another, and grad_B and grad_w are sums in the order of the tasks, as in Population with a
/// single piece.
template <int OfTasks>
class PopulationTrials final : public TrialPanel {
 public:
  PopulationTrials(const Method& method, const Shape& shape, Index n, double noise)
      : method_(method),
        shape_(shape),
        n_(n),
        half_variance_(noise * noise / 2),
        engines_(static_cast<std::size_t>(kWidth), nullptr),
        Z_(panel(rows() * k())),
        w_(panel(k())),
        G_(panel(rows() * k())),
        g_w_(panel(k())),
        heads_(panel(n * HeadSource::rows_of_a_trial(shape.k_star))),
        scratch_(panel(kernels::distance_scratch(k(), shape.e))),
        terms_(static_cast<std::size_t>(std::min(n, panel_tasks(n)) * method.terms())) {
    const Index algebras = std::min(n, panel_tasks(n));
    algebras_.reserve(static_cast<std::size_t>(algebras));
    for (Index i = 0; i < algebras; ++i) algebras_.emplace_back(method, shape.k, rows(), rows());
  }

  Index width() const override { return kWidth; }

  void load(Index column, Engine& engine) override {
    auto& loaded = static_cast<PopulationEngine&>(engine);
    engines_[static_cast<std::size_t>(column)] = &loaded;
    put(loaded.coordinates(), column, Z_);
    put(loaded.head(), column, w_);
  }
  void store(Index column) override {
    const Eigen::InnerStride<> stride(kWidth);
    engines_[static_cast<std::size_t>(column)]->replace(
        Strided(Z_.data() + column, rows() * k(), stride),
        Strided(w_.data() + column, k(), stride));
  }
  void drop(Index column) override {
    engines_[static_cast<std::size_t>(column)] = nullptr;
    for (Panel* panel : {&Z_, &w_}) {
      for (std::size_t i = static_cast<std::size_t>(column); i < panel->size(); i += kWidth) {
        (*panel)[i] = 0;
      }
    }
  }

  /// Computes the gradients of a round, (10), task by task. Losses are computed in all columns if
  /// one column requests them, since they change no other number.
  void gradient(const Round* rounds) override {
    HeadSource::TrialRound sources[kWidth];
    bool losses = false, outputs = false;
    for (Index t = 0; t < kWidth; ++t) {
      if (rounds[t].outputs == nullptr) continue;
      PopulationEngine& engine = *engines_[static_cast<std::size_t>(t)];
      sources[t] = {&engine.heads(), rounds[t].number, rounds[t].heads};
      losses |= rounds[t].outputs->want_losses;
      outputs |= rounds[t].outputs->wanted();
      make_room(n_, k(), shape_.k_star, *rounds[t].outputs);
    }
    HeadSource::panels_of_trials(sources, n_, heads_.data());
    std::fill(G_.begin(), G_.end(), 0.0);
    std::fill(g_w_.begin(), g_w_.end(), 0.0);
    for (Index first = 0; first < n_; first += panel_tasks(n_)) {
      run_tasks(first, std::min(panel_tasks(n_), n_ - first), losses, outputs ? rounds : nullptr);
    }
    const double share = 1.0 / static_cast<double>(n_);
    for (Panel* sum : {&G_, &g_w_}) {
      for (double& x : *sum) x *= share;
    }
  }

  /// Takes the step of Population, (3), in all columns. A column whose next state would not be
  /// finite keeps its state.
  void step(const double* factors, bool* taken) override {
    double state[kWidth] = {}, gradient[kWidth] = {};
    kernels::raise_to_magnitudes<kWidth>(rows() * k(), Z_.data(), state);
    kernels::raise_to_magnitudes<kWidth>(k(), w_.data(), state);
    kernels::raise_to_magnitudes<kWidth>(rows() * k(), G_.data(), gradient);
    kernels::raise_to_magnitudes<kWidth>(k(), g_w_.data(), gradient);
    std::int64_t finite[kWidth];
    for (Index t = 0; t < kWidth; ++t) {
      const double longest = factors[t] * longest_step(method_);
      taken[t] = stays_finite(state[t], gradient[t], longest, (rows() + 1) * k());
      finite[t] = taken[t];
    }
    descend(method_.beta, factors, finite, G_, Z_);
    descend(method_.beta_head, factors, finite, g_w_, w_);
  }

  bool measures_distance() const override {
    return shape_.k == shape_.k_star && shape_.k <= kernels::kMostAngles;
  }
  void distances(double* dist) override {
    kernels::distances<kWidth>(k(), shape_.e, Z_.data(), scratch_.data(), dist);
  }

 private:
  using Design = TrialsDesign<TrialColumns<kWidth, OfTasks>>;
  using Panel = std::vector<double>;
  using Strided = PopulationEngine::Column;

  static Panel panel(Index numbers) { return Panel(static_cast<std::size_t>(numbers * kWidth)); }
  Index rows() const { return shape_.k_star + shape_.e; }
  Index k() const { return shape_.k; }

  /// Returns how many tasks Population puts into a panel.
  static Index panel_tasks(Index n) { return n <= kNarrow ? kNarrow : kWide; }

  /// Runs the algebra on the tasks that Population has in one panel, and adds their terms in the
  /// order of Population: the first term of every task, then the second term of every task, and so
  /// on. Every task has an algebra of its own, which holds its terms. `rounds` is null if no column
  /// requests outputs.
  void run_tasks(Index first, Index tasks, bool losses, const Round* rounds) {
    const Index stride = HeadSource::rows_of_a_trial(shape_.k_star) * kWidth;
    for (Index i = 0; i < tasks; ++i) {
      const double* heads = heads_.data() + (first + i) * stride;
      auto& algebra = algebras_[static_cast<std::size_t>(i)];
      Design design(rows(), k(), Z_.data(), heads, shape_.k_star, algebra.layout(),
                    algebra.workspace(), {terms_.data() + i, tasks});
      std::copy(w_.begin(), w_.end(), algebra.start());
      algebra.gradient(design, losses);
      const double* omega = algebra.grad_w();
      for (std::size_t j = 0; j < g_w_.size(); ++j) g_w_[j] += omega[j];
      if (rounds != nullptr) copy_outputs_of(first + i, algebra, heads, rounds);
    }
    kernels::add_trial_terms<kWidth>(rows(), k(), terms_.data(), tasks * method_.terms(),
                                     G_.data());
  }

  template <class Values>
  static void put(const Values& values, Index column, Panel& panel) {
    for (Index i = 0; i < values.size(); ++i) {
      panel[static_cast<std::size_t>(i * kWidth + column)] = values.data()[i];
    }
  }

  /// Computes x <- x - factors[t] beta g in every column t whose trial steps.
  static void descend(double beta, const double* factors, const std::int64_t* steps, const Panel& g,
                      Panel& x) {
    double sizes[kWidth];
    for (std::size_t t = 0; t < kWidth; ++t) sizes[t] = factors[t] * beta;
    for (std::size_t i = 0; i < x.size(); i += kWidth) {
      for (std::size_t t = 0; t < kWidth; ++t) {
        const double next = x[i + t] - sizes[t] * g[i + t];
        x[i + t] = steps[t] != 0 ? next : x[i + t];
      }
    }
  }

  /// Copies the outputs of task i that the columns request: losses, adapted heads and true heads.
  void copy_outputs_of(Index i, const TaskAlgebra<Design>& algebra, const double* heads,
                       const Round* rounds) const {
    using Loss = typename TaskAlgebra<Design>::Loss;
    for (Index t = 0; t < kWidth; ++t) {
      if (rounds[t].outputs == nullptr || !rounds[t].outputs->wanted()) continue;
      TaskOutputs& out = *rounds[t].outputs;
      for (int which = 0; out.want_losses && which < 3; ++which) {
        out.losses(which, i) = algebra.loss(static_cast<Loss>(which))[t] + half_variance_;
      }
      for (Index j = 0; out.want_adapted && j < k(); ++j) {
        out.adapted(i, j) = algebra.adapted()[j * kWidth + t];
      }
      for (Index j = 0; out.want_heads && j < shape_.k_star; ++j) {
        out.heads(i, j) = heads[j * kWidth + t];
      }
    }
  }

  Method method_;
  Shape shape_;
  Index n_;
  double half_variance_;
  std::vector<TaskAlgebra<Design>> algebras_;  // one for each task of a panel
  std::vector<PopulationEngine*> engines_;     // (width,)  null in an empty column
  Panel Z_;                                    // (D, k, width)  [M; R]
  Panel w_;                                    // (k, width)
  Panel G_, g_w_;                              // sums, then means, of the gradients
  Panel heads_;                                // (n, rows of a trial, width)
  Panel scratch_;                              // of the distances
  std::vector<kernels::TrialTerm> terms_;      // (terms, tasks)
};

}  // namespace

/// Returns whether trials run in panels. Panels pay if states are small and tasks are few, so that
/// the products of one trial fill at most a register or two, and if the trials fill most of a
/// panel. Trials with k > k_star do not run in panels, because the frame of (14) turns in every
/// step, by a factorisation that takes longer than the gradient. Panels hold w without parameters
/// that follow it, and measure the whole state.
bool population_fills_panels(const Method& method, const Shape& shape, Index n, Index trials) {
  return trials >= kLeastTrials && method.step.is_plain() && !method.learns_more() &&
         !method.clips() && !method.is_attention() && shape.k <= shape.k_star && n <= kMostTasks &&
         (shape.k_star + shape.e) * shape.k <= kMostNumbers;
}

/// Counts the work of one trial's round: the work of a round of all panels, by the rules of
/// population_cost(), divided by the number of trials. Empty columns of the last panel count like
/// columns with a trial.
Work work_of_panels(const Method& method, const RoundSizes& sizes) {
  const double D = static_cast<double>(sizes.rows), K = static_cast<double>(sizes.k);
  const double n = static_cast<double>(sizes.n), trials = static_cast<double>(sizes.trials);
  const double panels = static_cast<double>(ceil_div(sizes.trials, kWidth));
  const AlgebraCounts counts = algebra_counts(method, sizes.losses);
  Work work = work_of_heads(sizes, n * panels * static_cast<double>(kWidth) / trials);
  const double share = panels / trials;
  work.operations = share * 2 * D * n * static_cast<double>(kWidth) *
                    (K * (counts.forward + counts.back + counts.added) + counts.moves);
  work.calls += share * (n * (counts.forward + counts.back + counts.added + counts.moves) +
                         kCallsOfPanelRound);
  return work;
}

/// Splits inner products into the number of chains of sums that Population has for n tasks, so that
/// they have the same bits.
std::unique_ptr<TrialPanel> make_population_panel(const Method& method, const Shape& shape, Index n,
                                                  double noise) {
  if (n <= kNarrow) {
    return std::make_unique<PopulationTrials<kNarrow>>(method, shape, n, noise);
  }
  return std::make_unique<PopulationTrials<kWide>>(method, shape, n, noise);
}

}  // namespace metaspan
