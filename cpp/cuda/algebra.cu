// The task algebra on panels of tasks. run_tasks() runs (5)-(10), a team of threads for each task;
// add_factors() then writes the factors C and C' of the second sweep.
#include <algorithm>
#include <cmath>

#include "errors.hpp"
#include "gram_column.cuh"
#include "metaspan/algebra/attention_impl.hpp"
#include "metaspan/algebra/contributions_impl.hpp"
#include "metaspan/algebra/task_algebra_impl.hpp"
#include "parts.hpp"

namespace metaspan::cuda {
namespace {

/// The design is local to this file, so that the compiler inlines its functions and keeps the
/// members of the algebra in registers.
struct TaskDesign final : GramColumn {
  using GramColumn::GramColumn;
};
using TaskColumn = PanelAlgebra<TaskDesign>;

constexpr int kWarps = 4;            // of a block of add_factors()
constexpr int kTileRow = 33;         // of a transposed tile; 33 avoids conflicts of banks
constexpr Index kMostBlocks = 4096;  // of a launch; each block then takes several panels

/// The arguments of both kernels.
struct Run {
  TaskPanels tasks;
  TaskResults results;
  Method method;
  AlgebraLayout layout;
  SlotProducts products;
  double* workspace;  // (panels, layout.rows + products.rows, 32)
  bool adapts;        // run only the inner loop

  __host__ __device__ Index panels() const { return ceil_div(tasks.in.n, kPanelColumns); }
  __host__ __device__ Index rows() const { return layout.rows + products.rows; }
};

/// Runs the algebra on the tasks of a panel, a team of threads for each task and a block for each
/// panel. The threads of a warp read and write neighbouring columns, so a warp moves 32 adjacent
/// numbers at a time.
__global__ void __launch_bounds__(kRanks * 32, 2) run_tasks(const Run run, const double* w) {
  using Columns = TaskDesign::Columns;
  const Index lane = Columns::lane(), parameters = run.layout.parameters;
  const TaskPanels& tasks = run.tasks;
  const Index k = tasks.k, most_in = tasks.in.most, most_out = tasks.out.most;
  for (Index panel = blockIdx.x; panel < run.panels(); panel += gridDim.x) {
    const Index i = panel * kPanelColumns + lane;
    const bool is_task = i < tasks.in.n, has_outer = is_task && tasks.out.n > 0;
    const auto column = [=](const double* elements, Index count) {
      return elements == nullptr ? nullptr : elements + panel * count * kPanelColumns + lane;
    };
    double* workspace = run.workspace + panel * run.rows() * kPanelColumns + lane;
    TaskDesign design(
        {is_task, is_task ? tasks.in.sets[i].m : 0, has_outer ? tasks.out.sets[i].m : 0, most_in,
         most_out, k, column(tasks.Z_in, most_in * k), column(tasks.Z_out, most_out * k),
         column(tasks.y_in, most_in), column(tasks.y_out, most_out),
         column(tasks.K, most_in * most_in), column(tasks.K_cross, most_out * most_in),
         column(tasks.K_outer, most_out * most_out)},
        run.method, run.layout, run.products, workspace);
    TaskColumn algebra(run.method, run.layout, workspace);
    if (run.adapts) {
      algebra.adapt(design, w);
    } else {
      algebra.gradient(design, w, run.results.losses != nullptr);
    }
    const auto put = [=](const double* from, Index rows, double* to, Index step) {
      Columns::each(rows, [=](Index e) {
        if (is_task) store_global(to + e / kPanelColumns * step, from[e]);
      });
    };
    double *grad_w = run.results.grad_w, *losses = run.results.losses;
    put(algebra.adapted(), k, run.results.adapted + i * k, 1);
    if (run.adapts) continue;
    put(algebra.grad_w(), parameters, grad_w + i * parameters, 1);
    if (losses != nullptr) put(algebra.loss(TaskColumn::before), 3, losses + i, tasks.in.n);
  }
}

/// Computes element (row, j) of the factor C or C' of a task, (10): the sum over the terms in their
/// order. For adapt() the terms are r_l w_l^T of the moves, (25).
__device__ double factor_element(const Run& run, const TaskColumn& algebra, const double* workspace,
                                 bool outer, Index row, Index j) {
  const int steps = run.method.inner_steps;
  const int moves = run.method.adapt_B ? steps : 0;
  const int terms = run.adapts ? moves : run.method.terms();
  double sum = 0;
  for (int t = 0; t < terms; ++t) {
    const TaskColumn::Pair term =
        run.adapts ? TaskColumn::Pair{t, algebra.head(t)} : algebra.term(t);
    if (is_outer_slot(term.slot, steps) != outer) continue;
    const double* s = workspace + run.layout.of_slot(term.slot) * kPanelColumns;
    sum += s[row * kPanelColumns] * term.c[j * kPanelColumns];
  }
  return sum;
}

/// Writes the factors C (m, k) of all tasks, row-major. A warp takes 32 elements of each task of a
/// panel: thread t computes those of task t, where reads are coalesced, and they pass through a
/// tile of shared memory, so that the writes to each task's rows are coalesced too.
__global__ void __launch_bounds__(kWarps * 32)
    add_factors(const Run run, const SampleBlock block, bool outer, const double* w, double* C) {
  METASPAN_SHARED(double, tiles);
  const Index lane = threadIdx.x % 32, k = run.tasks.k;
  double* tile = tiles + threadIdx.x / 32 * 32 * kTileRow;
  const Index chunks = ceil_div(block.most * k, 32), items = run.panels() * chunks;
  Index item = blockIdx.x * kWarps + threadIdx.x / 32;
  for (; item < items; item += gridDim.x * kWarps) {
    const Index panel = item / chunks, first = item % chunks * 32;
    const Index i = panel * kPanelColumns + lane;
    const int m = i < block.n ? block.sets[i].m : 0;
    double* workspace = run.workspace + panel * run.rows() * kPanelColumns + lane;
    const TaskColumn algebra(run.method, run.layout, workspace);
    const bool learned = run.method.step_sizes == StepSizes::one;
    double scale = run.adapts ? -(learned ? w[k] : run.method.alpha) : 1;
    if (m > 0) scale /= sqrt(static_cast<double>(m));
    if (m > 0 && !run.adapts && run.results.shares != nullptr) scale *= run.results.shares[i];
    for (Index e = 0; e < 32; ++e) {
      const Index row = (first + e) / k, j = (first + e) % k;
      if (row >= m) break;
      tile[e * kTileRow + lane] = scale * factor_element(run, algebra, workspace, outer, row, j);
    }
    __syncwarp();
    for (Index t = 0; t < 32 && panel * kPanelColumns + t < block.n; ++t) {
      const SampleSet& set = block.sets[panel * kPanelColumns + t];
      if (first + lane >= set.m * k) continue;
      store_global(C + set.first_row * k + first + lane, tile[lane * kTileRow + t]);
    }
    __syncwarp();
  }
}

/// The algebra on the device of the module.
class DeviceAlgebra final : public Algebra {
 public:
  std::size_t workspace(const TaskPanels& tasks, const Method& method) const override {
    const Run run = run_of(tasks, method, {}, nullptr);
    return static_cast<std::size_t>(run.panels() * run.rows() * kPanelColumns) * sizeof(double);
  }

  void gradient(const TaskPanels& tasks, const Method& method, const double* w,
                const TaskResults& results, void* workspace, Stream stream) override {
    const Run run = run_of(tasks, method, results, workspace);
    launch(run, w, stream);
    if (method.has_inner_part()) launch_factors(run, tasks.in, false, w, results.C_in, stream);
    if (method.has_outer_part()) launch_factors(run, tasks.out, true, w, results.C_out, stream);
  }

  void adapt(const TaskPanels& tasks, const Method& method, const double* w,
             const TaskResults& results, void* workspace, Stream stream) override {
    Run run = run_of(tasks, method, results, workspace);
    run.adapts = true;
    run.results.losses = nullptr;
    launch(run, w, stream);
    if (results.C_in == nullptr) return;
    launch_factors(run, tasks.in, false, w, results.C_in, stream);
  }

 private:
  static Run run_of(const TaskPanels& tasks, const Method& method, const TaskResults& results,
                    void* workspace) {
    const Index most_in = tasks.in.most, most_out = tasks.out.n > 0 ? tasks.out.most : 0;
    return {tasks,
            results,
            method,
            AlgebraLayout(method, tasks.k, most_in, most_out),
            SlotProducts(method, most_in, most_out),
            static_cast<double*>(workspace),
            false};
  }
  static unsigned grid(Index blocks) {
    return static_cast<unsigned>(std::min(kMostBlocks, blocks));
  }
  static void launch(const Run& run, const double* w, Stream stream) {
    if (run.panels() == 0) return;
    METASPAN_LAUNCH(run_tasks, grid(run.panels()), kRanks * 32, 0, stream)(run, w);
    require_launch("run_tasks");
  }
  static void launch_factors(const Run& run, const SampleBlock& block, bool outer, const double* w,
                             double* C, Stream stream) {
    const Index items = run.panels() * ceil_div(block.most * run.tasks.k, 32);
    if (items == 0) return;
    const std::size_t shared = kWarps * 32 * kTileRow * sizeof(double);
    METASPAN_LAUNCH(add_factors, grid(ceil_div(items, kWarps)), kWarps * 32, shared, stream)
    (run, block, outer, w, C);
    require_launch("add_factors");
  }
};

}  // namespace

Algebra& algebra() {
  static auto* const device_algebra = new DeviceAlgebra;
  return *device_algebra;
}

}  // namespace metaspan::cuda
