#include "metaspan/engines/collapsed.hpp"

#include <algorithm>
#include <cmath>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "collapsed_trial.hpp"
#include "copy_outputs.hpp"
#include "metaspan/algebra/outer_step.hpp"
#include "metaspan/algebra/task_algebra.hpp"
#include "metaspan/base/parallel.hpp"

namespace metaspan {
namespace {

using Design = CollapsedDesign;
constexpr int kWidth = Design::width;

/// Cost of drawing one random number, in flops.
constexpr double kFlopsOfNumber = 25;

/// A thread's memory: the samples of a panel, and the algebra on them.
struct Workspace {
  explicit Workspace(const CollapsedTrial& trial)
      : algebra(trial.method().without_privacy(), trial.k(),
                trial.samples().rows_of(trial.samples().inner), trial.most_out()),
        scratch(trial.method(), trial.samples(), trial.law().shared, trial.k()),
        heads(static_cast<std::size_t>(trial.heads().k_star() * kWidth)) {}
  TaskAlgebra<Design> algebra;
  Design::Scratch scratch;
  PanelSet inner, outer, xi;
  std::vector<double> heads;  // (k_star, width)
  std::vector<double> theta;  // (inside(), width)  with xi, (33)
  PanelParts parts;
};

}  // namespace

class PanelMemory {
 public:
  /// Returns a workspace that no trial uses; makes one if there is none.
  std::unique_ptr<Workspace> take(const CollapsedTrial& trial) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!free_.empty()) {
        std::unique_ptr<Workspace> last = std::move(free_.back());
        free_.pop_back();
        return last;
      }
      free_.reserve(++made_);  // so that give_back() allocates nothing
    }
    return std::make_unique<Workspace>(trial);
  }
  void give_back(std::unique_ptr<Workspace> workspace) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    free_.push_back(std::move(workspace));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Workspace>> free_;
  std::size_t made_ = 0;
};

std::shared_ptr<PanelMemory> make_panel_memory() { return std::make_shared<PanelMemory>(); }

namespace {

/// The workspaces that a trial has borrowed, one for each thread.
class Loan {
 public:
  Loan(PanelMemory& memory, const CollapsedTrial& trial, Index threads) : memory_(memory) {
    for (Index i = 0; i < threads; ++i) borrowed_.push_back(memory.take(trial));
  }
  ~Loan() {
    // In reverse, so that a thread gets the same workspace in the next round.
    for (auto last = borrowed_.rbegin(); last != borrowed_.rend(); ++last) {
      memory_.give_back(std::move(*last));
    }
  }
  Loan(const Loan&) = delete;
  Loan& operator=(const Loan&) = delete;
  Workspace& operator[](int thread) const { return *borrowed_[static_cast<std::size_t>(thread)]; }

 private:
  PanelMemory& memory_;
  std::vector<std::unique_ptr<Workspace>> borrowed_;
};

/// Fresh samples in every round, (16)-(19), on the CPU. In the span of the state, the algebra runs
/// on a CollapsedDesign for each panel of tasks. Off the span, the contributions of the tasks are
/// summed in law, by frames (17) or as one Gaussian matrix (18). No array has size d.
class Collapsed final : public CollapsedTrial {
 public:
  template <class... Arguments>
  explicit Collapsed(std::shared_ptr<PanelMemory> memory, Arguments&&... of_trial)
      : CollapsedTrial(std::forward<Arguments>(of_trial)...), memory_(std::move(memory)) {}

  /// Computes the round's gradient in the span, (10), and the new rows of R off the span. Each
  /// piece has sums of its own, and the number of panels alone decides the pieces. The memory for a
  /// panel's samples is larger than the sums of a piece, so each thread has one such memory and
  /// reuses it for every panel.
  void gradient(Index round, const double* heads, TaskOutputs& tasks, int threads,
                Cancel* cancel) override {
    begin_round(round, heads, tasks);
    if (flops() < kSerialFlops) threads = 1;
    const Loan workspaces(*memory_, *this, std::min<Index>(threads, pieces()));
    parallel_for(threads, pieces(), cancel, [&](Index i, int thread) {
      Piece& sums = piece(i);
      Workspace& workspace = workspaces[thread];
      sums.clear(k());
      std::fill(workspace.scratch.G.begin(), workspace.scratch.G.end(), 0.0);
      // A piece is a range of consecutive panels, so its frames are added in the order of the
      // tasks.
      const Index last = first_panel(i + 1);
      for (Index p = first_panel(i); p < last; ++p) {
        run_panel(workspace, sums, p * kWidth, tasks);
        if (cancel == nullptr) continue;
        cancel->poll();
        if (cancel->requested()) return;
      }
      sums.G = ConstMat(workspace.scratch.G.data(), samples().D, padded(k())).leftCols(k());
    });
    throw_if_requested(cancel);
    end_round();
  }

 private:
  /// The factors of a panel, which the design computes for all tasks side by side.
  class DesignFactors final : public PanelFactors {
   public:
    DesignFactors(Design& design, Index k) : design_(design), k_(k) {}
    Index select(TermGroup group) override {
      factor_ = design_.off_span(group);
      return factor_.rows;
    }
    void copy(Index t, double* A) const override {
      for (Index i = 0; i < factor_.rows * k_; ++i) A[i] = factor_.values[i * kWidth + t];
    }

   private:
    Design& design_;
    Index k_;
    Design::Factor factor_{};
  };

  /// Processes one panel: heads, samples, the algebra (5)-(10), and the sums. Inner samples are
  /// drawn only if inner steps, losses or a shared outer set read them. Outer samples are drawn
  /// only if the gradient or the losses read them. grad_w is added task by task, in order.
  void run_panel(Workspace& workspace, Piece& piece, Index first, TaskOutputs& outputs) const {
    const Index tasks = std::min<Index>(kWidth, n() - first);
    heads().panel(first, tasks, kWidth, workspace.heads.data());
    const bool with_inner = method().inner_steps > 0 || law().shared || outputs.want_losses;
    const bool with_outer = method().has_outer_part() || outputs.want_losses;
    draw_samples(samples_key(), law(), samples(), first, tasks, with_inner, with_outer,
                 workspace.inner, workspace.outer);
    const double* theta = workspace.heads.data();
    Index known = heads().k_star();
    if (law().spread > 0) {
      draw_theta(samples_key(), law(), samples(), first, tasks, theta, known, workspace.xi,
                 workspace.theta);
      theta = workspace.theta.data();
      known = samples().inside();
    }
    Design design({Z(), theta, known, tasks, law().noise, samples(), workspace.inner,
                   workspace.outer, law().shared, clips()},
                  workspace.scratch, workspace.algebra);
    workspace.algebra.gradient(design, w().data(), outputs.want_losses);
    const double* omega = workspace.algebra.grad_w();
    DesignFactors factors(design, k());
    PanelParts& parts = workspace.parts;
    double squares[kWidth];
    if (clips()) add_squares(design, omega, squares);
    find_parts(factors, first, tasks, squares, parts);
    if (clips()) design.add_scaled(parts.factors);
    for (Index i = 0; i < piece.g_w.size(); ++i) {
      for (Index t = 0; t < tasks; ++t) {
        piece.g_w[i] += parts.factors[t] * omega[i * kWidth + t];
      }
    }
    add_off_span(factors, parts, first, tasks, piece);
    double added[3];
    noise_of_losses(added);
    copy_panel_outputs(workspace.algebra, workspace.heads.data(), added, first, tasks, outputs);
  }

  /// Computes the squared norms of a panel's contributions in the basis and in w, (29).
  void add_squares(Design& design, const double* omega, double* squares) const {
    design.squares(squares);
    for (Index i = 0; i < w().size() * kWidth; ++i) {
      squares[i % kWidth] += omega[i] * omega[i];
    }
  }

  std::shared_ptr<PanelMemory> memory_;  // of all trials of the run
};

// Measured costs that a round has in addition to the products of a population round. The first
// four are in kernel calls: setting up the design of a panel and adding its outputs, with samples
// and without, drawing a single number, and adding a task's frame. kNumbersOfRoot is in random
// numbers: the cost of a chi-square root beyond that of the normal it replaces. The last four are
// in operations for each flop: of products, of passes over rows, of inner products and of
// factorisations.
constexpr double kCallsOfPanel = 100;
constexpr double kCallsOfBarePanel = 10;  // if no samples are drawn
constexpr double kCallsOfDraw = 2;
constexpr double kCallsOfFrame = 25;
constexpr double kNumbersOfRoot = .2;
constexpr double kProduct = 1.5, kPass = 2, kDot = 5, kFactor = 1.7;

/// Returns how many passes a round makes over the outer set of a task.
double outer_passes_of(const Method& method, const RoundSizes& sizes) {
  return method.has_outer_part() ? method.outer_terms() : sizes.losses;
}

/// Counts the work of drawing the samples and of the task algebra on them. Incomplete panels count
/// as full, except for their normals. A product with inner rows reads each row for its residual and
/// again for X^T r, which takes 4 operations for each entry.
Work work_of_panels(const Method& method, const SampleLaw& law, const SampleShape& shape,
                    const RoundSizes& sizes) {
  const auto count = [](const auto& items) { return static_cast<double>(items.size()); };
  const auto entries = [](const SetShape& set) {
    double sum = 0;
    for (const RowShape& row : set.rows) sum += static_cast<double>(row.end - row.begin);
    return sum;
  };
  const SetShape& outer = law.shared ? shape.inner : shape.outer;
  const AlgebraCounts counts = algebra_counts(method, sizes.losses);
  const double J = method.inner_steps, outer_passes = outer_passes_of(method, sizes);
  // A method that solves for heads and has a gradient on the inner set reads Z again for X^T C.
  const double again = method.solves_head && method.has_inner_part() ? 1 : 0;
  const double inner_passes = counts.forward - outer_passes + again;
  const double D = static_cast<double>(sizes.rows), K = static_cast<double>(sizes.k);
  const double panels = static_cast<double>(ceil_div(sizes.n, kWidth)), tasks = panels * kWidth;
  Work work = work_of_heads(sizes, tasks);
  for (const SetShape* set : {&shape.inner, &shape.outer}) {
    const bool inner = set == &shape.inner;
    if (inner ? J == 0 && !law.shared && sizes.losses == 0 : law.shared) continue;
    const double share = inner || method.has_outer_part() ? 1 : sizes.losses;
    work.numbers += share * (static_cast<double>(sizes.n) * static_cast<double>(set->numbers) +
                             tasks * kNumbersOfRoot * count(set->roots));
  }
  work.numbers += static_cast<double>(sizes.n) * static_cast<double>(shape.spread.numbers) +
                  tasks * kNumbersOfRoot * count(shape.spread.roots);
  const double rows = inner_passes * count(shape.inner.rows) + outer_passes * count(outer.rows);
  const double met = inner_passes * entries(shape.inner) + outer_passes * entries(outer);
  const double products =
      K * (counts.forward + counts.back) + static_cast<double>(padded(sizes.k)) * counts.added;
  work.operations = tasks * (kProduct * 2 * D * products + kPass * 4 * met +
                             kPass * 2 * static_cast<double>(shape.columns()) * counts.moves);
  const bool bare = shape.inner.infinite && shape.outer.infinite;
  work.calls += panels * ((bare ? kCallsOfBarePanel : kCallsOfPanel) + counts.forward +
                          counts.back + counts.added + counts.moves + 2 * rows);
  return work;
}

/// Adds the cost of the sums off the span: small QR factorisations, counted in flops, and numbers
/// drawn one by one, counted in kernel calls. There is a factorisation for each task in (17), and
/// one for each full RowStack in (18). The part of a clipped task of (18), or of a task with xi,
/// (33), is drawn for this task alone and added as in (17).
void add_off_span(const Method& method, const SampleLaw& law, const SampleShape& shape,
                  const RoundSizes& sizes, Work& work) {
  if (shape.off_span == OffSpan::none) return;
  const double n = static_cast<double>(sizes.n), K = static_cast<double>(sizes.k);
  const double terms = method.terms();
  const double pieces = static_cast<double>(pieces_of_collapsed(ceil_div(sizes.n, kWidth)));
  const auto in = static_cast<double>(law.m_in), out = static_cast<double>(law.m_out);
  const bool drawn = shape.off_span == OffSpan::gaussian && method.clips();
  const bool along_xi = shape.off_span == OffSpan::along_xi;
  const bool frames = shape.off_span == OffSpan::frames || drawn || along_xi;
  double length = std::max(std::min(in, out), 1.0);
  if (drawn) length = in + out;
  if (shape.off_span == OffSpan::frames) length = static_cast<double>(shape.columns() - shape.D);
  work.operations += kDot * n * 2 * terms * terms * length;
  // The factorisation of the step has the columns of all blocks that the outer step remembers.
  const double width = static_cast<double>(method.step.blocks()) * K;
  double flops = 4 * K * K * K * pieces + 4 * width * width * (width + K) / 2, draws = K * K / 2,
         columns = K * (1 + pieces);
  if (frames) {
    const double r = along_xi ? std::min(terms + 1, K) : std::min({terms, length, K});
    if (std::min(terms, length) > K) columns += n * K;
    flops += (n + pieces) * (K + r) * (2 * r * r + 4 * r * K + 2 * K * K);
    draws += n * (K * r + r * r / 2 + r) + pieces * 2 * K * K;
    work.calls += n * kCallsOfFrame * (drawn ? 2 : 1);
    if (drawn) {
      draws += n * (r * r / 2 + r);
      flops += n * 2 * r * K * (terms + r);
    }
    if (along_xi) {
      flops += n * 2 * K * K * terms;
      draws += n * terms * terms / 2;
    }
  } else {
    flops += n * terms / 64 * 2 * K * K * (64 + K);
  }
  work.operations += kFactor * flops;
  work.calls += kCallsOfDraw * draws + columns;
}

}  // namespace

/// Estimates the cost of a round from the shape of the samples: the flops of the tasks, with
/// kFlopsOfNumber flops for each random number, the bytes of the pieces and of a thread, and the
/// work. d enters only through `law`.
RoundCost collapsed_cost(const Method& method, const SampleLaw& law, const RoundSizes& sizes) {
  const SampleShape shape = sample_shape(method, law, sizes.rows);
  const double columns = static_cast<double>(shape.columns());
  const double D = static_cast<double>(sizes.rows), K = static_cast<double>(sizes.k);
  const auto numbers_of = [](const SetShape& set) { return static_cast<double>(set.numbers); };
  const double inner = numbers_of(shape.inner);
  const double outer = law.shared ? inner : numbers_of(shape.outer);
  const double drawn = inner + (law.shared ? 0 : outer) + numbers_of(shape.spread);
  const double passes = method.inner_passes();
  const double terms = method.slots(), passes_out = method.outer_terms();
  // Draws, passes over rows and products with [M; R], and the terms off the span.
  double flops = kFlopsOfNumber * drawn;
  flops += 4 * (passes * inner + std::max(passes_out, 1.0) * outer);
  flops += (passes + terms + 2) * 2 * D * K;
  flops += 2 * terms * terms * columns;
  if (shape.off_span == OffSpan::frames || shape.off_span == OffSpan::along_xi) {
    flops += 8 * (K + terms) * K * (K + terms);
  }
  flops *= static_cast<double>(sizes.n);
  const auto rows = [](const SetShape& set) { return static_cast<double>(set.rows.size()); };
  const double most = std::max({columns, rows(shape.inner), rows(shape.outer)});
  const double panel = drawn + (terms + 1) * (columns + most + 2 * K) + terms * rows(shape.inner);
  const Index pieces = pieces_of_collapsed(ceil_div(sizes.n, kWidth));
  const auto blocks = static_cast<double>(method.step.blocks());
  const double bytes =
      8 * (static_cast<double>(pieces) * (D + 70 + K) * K + (4 + 2 * blocks) * D * K);
  Work work = work_of_panels(method, law, shape, sizes);
  add_off_span(method, law, shape, sizes, work);
  if (method.multiplier > 0) {  // (30): entries in the span, and one R-factor off the span
    work.numbers += D * K + static_cast<double>(method.parameters(sizes.k));
    work.calls += kCallsOfDraw * 1.5 * K * K;
  }
  add_outer_step(method.step, D, K, work);
  return {flops, bytes, 8 * kWidth * panel, flops < kSerialFlops ? 1 : pieces, work};
}

std::unique_ptr<CollapsedEngine> make_collapsed(const Method& method, const SampleLaw& law,
                                                CollapsedEngine::State state, HeadSource heads,
                                                Index n, std::uint64_t seed, std::uint64_t trial,
                                                std::shared_ptr<PanelMemory> memory) {
  return std::make_unique<Collapsed>(std::move(memory), method, law, std::move(state),
                                     std::move(heads), n, seed, trial);
}

}  // namespace metaspan
