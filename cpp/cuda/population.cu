// Rounds of many trials on population losses, (13): the kernels and their launches.
#include <algorithm>
#include <limits>

#include "errors.hpp"
#include "parts.hpp"
#include "trial_column.cuh"

namespace metaspan::cuda {
namespace {

/// If a trial has more than kMostWarps pieces, they are spread over the grid as long as all trials
/// together have fewer panels than kFullPanels for each multiprocessor, and the sums of the pieces
/// have less than kMostSums bytes.
constexpr Index kFullPanels = 16;
constexpr std::size_t kMostSums = std::size_t{1} << 28;

constexpr int kMostThreads = 32 * kMostWarps;
constexpr int kBlocksAtOnce = 3;               // of a multiprocessor, whose registers they share
constexpr Index kMostBlocks = 32;              // of a multiprocessor
constexpr std::size_t kFreeShared = 48 << 10;  // of a block, without opting in
constexpr std::size_t kReserved = 1 << 10;     // of the shared memory of each block, by the device
constexpr std::size_t kRowBytes = kPanelColumns * sizeof(double);

/// Returns the memory of the thread's block, of `rows` rows, in shared or in device memory.
__device__ double* memory_of_block(const Job& job, double* shared, Index rows) {
  return job.columns == nullptr ? shared : job.columns + blockIdx.x * rows * kPanelColumns;
}

/// Returns the column of item `item` in a block whose warps do not work together.
__device__ Column column_alone(const Job& job, double* shared, Index trial) {
  const Index warp = threadIdx.x / kPanelColumns, warps = blockDim.x / kPanelColumns;
  const Index rows = job.layout.panel_rows + job.layout.own_rows;
  double* panel = memory_of_block(job, shared, warps * rows) + warp * rows * kPanelColumns +
                  threadIdx.x % kPanelColumns;
  return {job, trial, panel, panel + job.layout.panel_rows * kPanelColumns, 0, 1};
}

/// Returns the first item of the thread, and how many threads have items.
__device__ Index first_item() { return static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ Index all_threads() { return static_cast<Index>(gridDim.x) * blockDim.x; }

/// Computes the gradient of a round, (10), by all warps of a block: each takes a piece in turn, and
/// each adds a share of the rows in the order of the pieces. The results have the bits of
/// sum_pieces() and add_pieces(). Threads whose trial takes no round only pass the barriers.
__device__ void compute_gradient(const Column& column, bool is_active, Index round, Index index) {
  const Job& job = column.job;
  for (Index first = 0; first < job.pieces; first += column.warps) {
    const Index count = min_of(column.warps, job.pieces - first);
    if (is_active && column.warp < count) sum_piece(column, round, index, first + column.warp, {});
    __syncthreads();
    if (is_active) add_sums(column, first, count);
    if (first + count < job.pieces) __syncthreads();  // the memory of the sums is used again
  }
}

/// Lets the first warp of a block record the rows of its trials, and returns whether any trial of
/// the block takes its next round. Every warp keeps the progress of the trials.
__device__ bool begin_round(const Column& column, const PopulationRounds& rounds,
                            Progress& progress, bool& is_active) {
  __syncthreads();  // the step of the previous round is complete
  is_active = takes_round(progress, rounds);
  double* status = column.panel + column.job.layout.status * kPanelColumns;
  if (column.warp == 0 && is_active) {
    record(column, rounds, progress);
    *status = progress.status;
  }
  const bool is_live = progress.status == kLive;
  const bool any = __syncthreads_or(column.warp == 0 && is_active && is_live) != 0;
  if (is_active) progress.status = static_cast<std::int32_t>(*status);
  is_active = is_active && progress.status == kLive;
  return any;
}

/// Runs rounds of all trials, with 32 trials in each block. Their states stay in the memory of the
/// block between rounds.
__global__ void __launch_bounds__(kMostThreads, kBlocksAtOnce)
    advance_trials(const Job job, const PopulationRounds rounds) {
  METASPAN_SHARED(double, shared);
  const TrialLayout& layout = job.layout;
  const int warp = threadIdx.x / kPanelColumns, warps = blockDim.x / kPanelColumns;
  double* panel = memory_of_block(job, shared, layout.panel_rows + warps * layout.own_rows) +
                  threadIdx.x % kPanelColumns;
  double* own = panel + (layout.panel_rows + warp * layout.own_rows) * kPanelColumns;
  const Index panels = (job.trials.count + kPanelColumns - 1) / kPanelColumns;
  for (Index p = blockIdx.x; p < panels; p += gridDim.x) {
    const Column column{job,  p * kPanelColumns + threadIdx.x % kPanelColumns, panel, own, warp,
                        warps};
    Progress progress = load_progress(column);
    load_state(column);
    bool is_active = false;
    for (Index i = 0; i < rounds.most; ++i) {
      if (!begin_round(column, rounds, progress, is_active)) break;
      compute_gradient(column, is_active, progress.round, i);
      if (is_active) measure_magnitudes(column);
      __syncthreads();
      if (is_active) take_step(column, rounds, progress);
    }
    __syncthreads();
    store_state(column);
    if (warp == 0) store_progress(column, rounds, progress);
    __syncthreads();
  }
}

/// Computes the sums of all pieces of the trials that take round `index` of the call. Item c is
/// piece c % pieces of trial c / pieces.
__global__ void __launch_bounds__(kMostThreads, kBlocksAtOnce)
    sum_pieces(const Job job, const PopulationRounds rounds, const Index index,
               const PopulationGradients out) {
  METASPAN_SHARED(double, shared);
  for (Index c = first_item(); c < job.trials.count * job.pieces; c += all_threads()) {
    const Column column = column_alone(job, shared, c / job.pieces);
    const Progress progress = load_progress(column);
    if (!takes_round(progress, rounds)) continue;
    load_state(column);
    sum_piece(column, progress.round, index, c % job.pieces, out);
    const Index numbers = job.layout.gradient + job.layout.parameters;
    store_numbers(numbers, column.own + job.layout.sums * kPanelColumns,
                  job.sums + place_of(c, numbers));
  }
}

/// Adds the sums of the pieces in order and divides by n, one number of one trial in each thread.
__global__ void __launch_bounds__(kMostThreads, kBlocksAtOnce)
    add_pieces(const Job job, const PopulationRounds rounds, double* grad_B, double* grad_w) {
  const Index gradient = job.layout.gradient, parameters = job.layout.parameters;
  const Index numbers = gradient + parameters;
  const Index panels = (job.trials.count + kPanelColumns - 1) / kPanelColumns;
  const double share = 1.0 / static_cast<double>(job.sizes.n);
  for (Index item = first_item(); item < panels * numbers * kPanelColumns; item += all_threads()) {
    const Index row = item / kPanelColumns, number = row % numbers;
    const Index trial = row / numbers * kPanelColumns + item % kPanelColumns;
    if (!takes_round(load_progress({job, trial, nullptr, nullptr, 0, 1}), rounds)) continue;
    double sum = 0;
    for (Index piece = 0; piece < job.pieces; ++piece) {
      sum += load_global(job.sums + place_of(trial * job.pieces + piece, numbers) +
                         number * kPanelColumns);
    }
    double* out = number < gradient
                      ? grad_B + place_of(trial, gradient) + number * kPanelColumns
                      : grad_w + place_of(trial, parameters) + (number - gradient) * kPanelColumns;
    store_global(out, sum * share);
  }
}

/// Ends round `index` of a call, whose gradients have been computed.
__global__ void __launch_bounds__(kMostThreads, kBlocksAtOnce)
    finish_round(const Job job, const PopulationRounds rounds, const Index index,
                 const double* grad_B, const double* grad_w) {
  METASPAN_SHARED(double, shared);
  const TrialLayout& layout = job.layout;
  for (Index trial = first_item(); trial < job.trials.count; trial += all_threads()) {
    const Column column = column_alone(job, shared, trial);
    Progress progress = load_progress(column);
    progress.rows = index == 0 ? 0 : rounds.rows[trial];
    if (takes_round(progress, rounds)) {
      load_state(column);
      record(column, rounds, progress);
      if (progress.status == kLive) {
        double* total = column.panel + layout.total * kPanelColumns;
        load_numbers(layout.gradient, grad_B + place_of(trial, layout.gradient), total);
        load_numbers(layout.parameters, grad_w + place_of(trial, layout.parameters),
                     total + layout.gradient * kPanelColumns);
        measure_magnitudes(column);
        take_step(column, rounds, progress);
        store_state(column);
      }
    }
    store_progress(column, rounds, progress);
  }
}

/// How the work of a call is launched.
class Grid {
 public:
  Grid(const Method& method, const PopulationSizes& sizes, Index trials, const LaunchShape& shape)
      : layout(method, sizes),
        pieces((sizes.n + tasks_of_piece(sizes.n) - 1) / tasks_of_piece(sizes.n)),
        panels(panels_of(trials)),
        piece_panels(panels_of(trials * pieces)),
        shape_(shape) {
    const DeviceInfo info = runtime().info();
    most_blocks_ = shape.most_blocks > 0 ? shape.most_blocks : kMostBlocks * info.multiprocessors;
    const Index full =
        shape.full_panels > 0 ? shape.full_panels : kFullPanels * info.multiprocessors;
    splits_trials = pieces > kMostWarps && panels < full && sums() <= kMostSums;
    // Two blocks share a multiprocessor, which has kReserved bytes more than one block may take.
    most_shared_ = std::max(kFreeShared, (info.shared_bytes - kReserved) / 2);
  }

  /// A launch of one kernel.
  struct Blocks {
    unsigned blocks, threads;
    std::size_t bytes;  // of memory of a block
  };
  /// Blocks that share the panels of trials among their warps.
  Blocks together() const {
    const Index warps = std::min<Index>(pieces, kMostWarps);
    return blocks_of(panels, warps, layout.panel_rows + warps * layout.own_rows);
  }
  /// Blocks whose warps serve a panel each.
  Blocks alone(Index items) const {
    return blocks_of((items + shape_.warps - 1) / shape_.warps, shape_.warps,
                     shape_.warps * (layout.panel_rows + layout.own_rows));
  }
  /// Returns whether the memory of both kinds of blocks fits in shared memory.
  bool is_shared() const {
    return std::max(together().bytes, alone(piece_panels).bytes) <= most_shared_;
  }

  /// Bytes of the memory of all blocks, of the sums of the pieces, and of the gradients.
  std::size_t columns() const {
    const Blocks a = together(), b = alone(piece_panels);
    return is_shared() ? 0 : std::max(a.blocks * a.bytes, b.blocks * b.bytes);
  }
  std::size_t sums() const {
    return static_cast<std::size_t>(piece_panels * numbers()) * kRowBytes;
  }
  std::size_t gradients() const { return static_cast<std::size_t>(panels * numbers()) * kRowBytes; }
  /// Most bytes of shared memory of a block, the same in every grid.
  std::size_t most_shared() const { return most_shared_; }
  /// Numbers of a gradient.
  Index numbers() const { return layout.gradient + layout.parameters; }

  const TrialLayout layout;
  const Index pieces, panels, piece_panels;
  bool splits_trials;  // whether advance() spreads the pieces of a trial over the grid

 private:
  static Index panels_of(Index columns) { return (columns + kPanelColumns - 1) / kPanelColumns; }
  Blocks blocks_of(Index items, Index warps, Index rows) const {
    return {static_cast<unsigned>(std::min(items, most_blocks_)),
            static_cast<unsigned>(warps * kPanelColumns),
            static_cast<std::size_t>(rows) * kRowBytes};
  }

  LaunchShape shape_;
  Index most_blocks_;
  std::size_t most_shared_;
};

class CudaPopulation final : public Population {
 public:
  std::size_t advance_bytes(const Method& method, const PopulationSizes& sizes, Index trials,
                            const LaunchShape& shape) const override {
    const Grid grid(method, sizes, trials, shape);
    return grid.columns() + (grid.splits_trials ? grid.sums() + grid.gradients() : 0);
  }
  std::size_t gradient_bytes(const Method& method, const PopulationSizes& sizes, Index trials,
                             const LaunchShape& shape) const override {
    const Grid grid(method, sizes, trials, shape);
    return grid.columns() + grid.sums();
  }

  void advance(const Method& method, const PopulationSizes& sizes, const PopulationTrials& trials,
               const PopulationHeads& heads, const PopulationRounds& rounds,
               const PopulationLaunch& launch) override {
    const Grid grid(method, sizes, trials.count, launch.shape);
    const Job job = job_of(method, sizes, trials, heads, grid, launch);
    if (!grid.splits_trials) {
      const Grid::Blocks blocks = grid.together();
      const std::size_t shared = prepare(advance_trials, grid, blocks);
      METASPAN_LAUNCH(advance_trials, blocks.blocks, blocks.threads, shared, launch.stream)
      (job, rounds);
      return require_launch("advance_trials");
    }
    double* grad_B = job.sums + grid.sums() / sizeof(double);
    double* grad_w = grad_B + grid.panels * grid.layout.gradient * kPanelColumns;
    const Grid::Blocks blocks = grid.alone(grid.panels);
    const std::size_t shared = prepare(finish_round, grid, blocks);
    for (Index i = 0; i < rounds.most; ++i) {
      compute_gradients(job, rounds, i, {}, grad_B, grad_w, grid, launch);
      METASPAN_LAUNCH(finish_round, blocks.blocks, blocks.threads, shared, launch.stream)
      (job, rounds, i, grad_B, grad_w);
      require_launch("finish_round");
    }
  }

  void gradients(const Method& method, const PopulationSizes& sizes, const PopulationTrials& trials,
                 const PopulationHeads& heads, const PopulationGradients& gradients,
                 const PopulationLaunch& launch) override {
    const Grid grid(method, sizes, trials.count, launch.shape);
    PopulationRounds rounds{};  // every live trial takes the round
    rounds.end = std::numeric_limits<Index>::max();
    rounds.records = true;
    compute_gradients(job_of(method, sizes, trials, heads, grid, launch), rounds, 0, gradients,
                      gradients.grad_B, gradients.grad_w, grid, launch);
  }

 private:
  static Job job_of(const Method& method, const PopulationSizes& sizes,
                    const PopulationTrials& trials, const PopulationHeads& heads, const Grid& grid,
                    const PopulationLaunch& launch) {
    auto* columns = static_cast<double*>(launch.workspace);
    return {method,
            sizes,
            trials,
            heads,
            grid.layout,
            grid.pieces,
            grid.is_shared() ? nullptr : columns,
            columns + grid.columns() / sizeof(double)};
  }

  /// Computes the gradients of the trials that take round `index` of a call.
  static void compute_gradients(const Job& job, const PopulationRounds& rounds, Index index,
                                const PopulationGradients& out, double* grad_B, double* grad_w,
                                const Grid& grid, const PopulationLaunch& launch) {
    const Grid::Blocks blocks = grid.alone(grid.piece_panels);
    const std::size_t shared = prepare(sum_pieces, grid, blocks);
    METASPAN_LAUNCH(sum_pieces, blocks.blocks, blocks.threads, shared, launch.stream)
    (job, rounds, index, out);
    require_launch("sum_pieces");
    const Grid::Blocks adders = grid.alone(grid.panels * grid.numbers());
    METASPAN_LAUNCH(add_pieces, adders.blocks, adders.threads, 0, launch.stream)
    (job, rounds, grad_B, grad_w);
    require_launch("add_pieces");
  }

  /// Returns the shared memory of a launch, and lets the kernel have the most that any launch
  /// takes: another thread may be about to launch the kernel with more.
  template <class Kernel>
  static std::size_t prepare(Kernel kernel, const Grid& grid, const Grid::Blocks& blocks) {
    if (!grid.is_shared()) return 0;
    if (blocks.bytes > kFreeShared) {
      require_success(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                           static_cast<int>(grid.most_shared())),
                      "give a kernel its shared memory");
    }
    return blocks.bytes;
  }
};

}  // namespace

Population& population() {
  static auto* const device_population = new CudaPopulation;
  return *device_population;
}

}  // namespace metaspan::cuda
