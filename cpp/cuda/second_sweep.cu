// The second sweep over samples, (10): X^T C over all stacked rows, or for each task alone.
#include <algorithm>

#include "device_sweeps.hpp"
#include "errors.hpp"
#include "lines.cuh"
#include "row_source.cuh"

namespace metaspan::cuda {
namespace {

/// The arguments of a second sweep of either form.
struct Combination {
  SampleBlock block;
  std::ptrdiff_t d;
  int k;
  bool is_by_task;
  const double* C;
  TallMatrix start;  // null data if the parts have no start, or if they are added later
  void* out;         // of type `type`: (d, k), (n, d, k) or partial sums (pieces, d, k)
  Real type;
};

/// Writes the place of every stacked row of the block; a warp takes the rows of a set.
template <class Source>
__global__ void __launch_bounds__(kThreads)
    locate_rows(SampleBlock block, typename Source::Place* places) {
  constexpr int kWarps = kThreads / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const std::ptrdiff_t base = block.sets[0].first_row;
  for (std::ptrdiff_t s = static_cast<std::ptrdiff_t>(blockIdx.x) * kWarps + warp; s < block.n;
       s += static_cast<std::ptrdiff_t>(gridDim.x) * kWarps) {
    const SampleSet& set = block.sets[s];
    for (int row = lane; row < set.m; row += 32) {
      places[set.first_row - base + row] = Source::place(block, set, row);
    }
  }
}

/// An item of work: a tile of the result, and the rows over which it is summed.
struct SecondItem {
  std::ptrdiff_t first_row;   // of the result: a column of X
  int first_column;           // of the result and of C
  int columns;                // quads of the tile
  std::ptrdiff_t begin, end;  // rows of the block
  std::ptrdiff_t result;      // which matrix of `out` has the tile
  int task;

  __device__ int stride(const SecondPlan& plan) const {
    return (1 << plan.row_bits) + 4 * columns + 2;
  }
};

__device__ SecondItem locate_second(const Combination& sweep, const SecondPlan& plan,
                                    std::ptrdiff_t index) {
  SecondItem item{};
  item.first_row = index % plan.row_tiles << plan.row_bits;
  index /= plan.row_tiles;
  const int tile = static_cast<int>(index % plan.column_tiles);
  const std::ptrdiff_t segment = index / plan.column_tiles;
  item.first_column = 4 * tile * plan.tile_columns;
  item.columns = lesser(plan.tile_columns, (sweep.k + 3) / 4 - tile * plan.tile_columns);
  if (sweep.is_by_task) {
    const SampleSet& set = sweep.block.sets[segment];
    item.begin = set.first_row - sweep.block.sets[0].first_row;
    item.end = item.begin + set.m;
    item.task = set.task;
    item.result = set.task;
  } else {
    item.begin = segment * plan.piece;
    item.end = lesser(sweep.block.rows, item.begin + plan.piece);
    item.result = segment;
  }
  return item;
}

/// The numbers of a tile: parts of rows of X, then parts of the rows of C.
template <class Source>
struct SecondTile {
  const typename Source::Place* places;
  const double* C;
  int k, samples, numbers, stride, width;
  ThreadColumn of_X, of_C;  // of this thread
  bool has_X, has_C, is_in_line;

  __device__ SecondTile(const Combination& sweep, const SecondPlan& plan, const SecondItem& item,
                        const typename Source::Place* rows)
      : places(rows),
        C(sweep.C + sweep.block.sets[0].first_row * sweep.k + item.first_column),
        k(sweep.k),
        samples(plan.lines << plan.row_bits),
        numbers(samples + (plan.lines << plan.column_bits)),
        stride(item.stride(plan)),
        width(1 << plan.row_bits),
        of_X(0, plan.row_bits),
        of_C(samples, plan.column_bits),
        has_X(item.first_row + of_X.column < sweep.d),
        has_C(item.first_column + of_C.column < sweep.k),
        is_in_line(of_C.column < 4 * item.columns) {}

  /// Requests `count` rows, starting at row `first` of the block, and column `column` of X.
  __device__ void request(std::ptrdiff_t first, int count, std::ptrdiff_t column,
                          Stage& stage) const {
#pragma unroll
    for (int i = 0; i < kStages; ++i) {
      const int e = i * kThreads + static_cast<int>(threadIdx.x);
      if (e < samples) {
        if constexpr (Source::kInMemory) {
          const int line = of_X.line_of(i);
          stage.put(i, has_X && line < count
                           ? load_global(places[first + line] + column + of_X.column)
                           : typename Source::Number{0});
        }
      } else if (e < numbers) {
        const int line = of_C.line_of(i);
        stage.put(i,
                  has_C && line < count ? load_global(C + (first + line) * k + of_C.column) : 0.0);
      }
    }
  }

  /// Writes the requested numbers to the lines.
  __device__ void keep(const Stage& stage, double* lines) const {
#pragma unroll
    for (int i = 0; i < kStages; ++i) {
      const int e = i * kThreads + static_cast<int>(threadIdx.x);
      if (e < samples) {
        if constexpr (Source::kInMemory) {
          lines[of_X.line_of(i) * stride + of_X.column] =
              static_cast<double>(stage.get<typename Source::Number>(i));
        }
      } else if (e < numbers && is_in_line) {
        lines[of_C.line_of(i) * stride + width + of_C.column] = stage.get<double>(i);
      }
    }
  }
};

/// Writes generated parts of the rows [first, first + lines) to the lines.
template <class Source>
__device__ void make_rows(const Combination& sweep, const SecondPlan& plan, const SecondItem& item,
                          const typename Source::Place* places, std::ptrdiff_t first,
                          double* lines) {
  const int pairs = plan.lines << (plan.row_bits - 1), width = 1 << (plan.row_bits - 1);
  for (int e = static_cast<int>(threadIdx.x); e < pairs; e += kThreads) {
    const int line = e >> (plan.row_bits - 1), column = 2 * (e & (width - 1));
    const Pair x = first + line < item.end ? Source::elements(sweep.block, places[first + line],
                                                              item.first_row + column, sweep.d)
                                           : Pair{0, 0};
    lines[line * item.stride(plan) + column] = x.even;
    lines[line * item.stride(plan) + column + 1] = x.odd;
  }
}

/// Computes tiles of X^T C, row by row of X in order. A block loads the next rows while it
/// multiplies a tile. Each number of X is read once if one tile has all columns of C.
template <class Source>
__global__ void __launch_bounds__(kThreads, 2)
    combine_samples(Combination sweep, SecondPlan plan, const typename Source::Place* places) {
  METASPAN_SHARED(double, lines);
  const std::ptrdiff_t segments = sweep.is_by_task ? sweep.block.n : plan.pieces;
  const std::ptrdiff_t items = segments * plan.row_tiles * plan.column_tiles;
  for (std::ptrdiff_t index = blockIdx.x; index < items; index += gridDim.x) {
    const SecondItem item = locate_second(sweep, plan, index);
    const SecondTile<Source> tile(sweep, plan, item, places);
    const Quad quad = quad_of_thread(plan.tile_rows(), item.columns);
    const int width = 1 << plan.row_bits;
    const int left[2] = {2 * quad.row_pair, 2 * (quad.row_pair + quad.rows)};
    const int right[2] = {width + 2 * quad.column_pair,
                          width + 2 * (quad.column_pair + quad.columns)};
    double sums[4][4] = {};
    Stage stage;
    const auto request = [&](std::ptrdiff_t first) {
      const auto count = static_cast<int>(lesser<std::ptrdiff_t>(item.end - first, plan.lines));
      tile.request(first, count, item.first_row, stage);
    };
    request(item.begin);
    for (std::ptrdiff_t first = item.begin; first < item.end; first += plan.lines) {
      tile.keep(stage, lines);
      if constexpr (!Source::kInMemory) make_rows<Source>(sweep, plan, item, places, first, lines);
      __syncthreads();
      if (first + plan.lines < item.end) request(first + plan.lines);
      multiply_lines(lines, plan.lines, item.stride(plan), quad, left, right, sums);
      __syncthreads();
    }
    const std::ptrdiff_t at = item.result * sweep.d;
    const void* start =
        sweep.start.data == nullptr ? nullptr : element(sweep.start, item.task * sweep.start.step);
    finish_tile(quad, sums, lines, [&](int i, int j, double sum) {
      const std::ptrdiff_t row = item.first_row + i, column = item.first_column + j;
      if (row >= sweep.d || column >= sweep.k) return;
      const std::ptrdiff_t place = row * sweep.k + column;
      if (start != nullptr) sum += load_real(start, sweep.start.type, place);
      store_real(sweep.out, sweep.type, at * sweep.k + place, sum);
    });
  }
}

/// Adds the partial sums of the pieces in order: out <- [start +] the sum of parts (pieces, count).
__global__ void __launch_bounds__(kThreads)
    add_parts(const double* parts, int pieces, std::ptrdiff_t count, const void* start, void* out,
              Real type) {
  const std::ptrdiff_t step = static_cast<std::ptrdiff_t>(gridDim.x) * kThreads;
  for (std::ptrdiff_t i = static_cast<std::ptrdiff_t>(blockIdx.x) * kThreads + threadIdx.x;
       i < count; i += step) {
    double sum = 0;
    for (int piece = 0; piece < pieces; ++piece) sum += load_global(parts + piece * count + i);
    if (start != nullptr) sum += load_real(start, type, i);
    store_real(out, type, i, sum);
  }
}

/// Bytes of the places of the rows of a block, rounded up so that doubles may follow.
std::size_t place_bytes(const SampleBlock& block) {
  const std::size_t size =
      block.is_made ? sizeof(MadeSource::Place) : sizeof(DenseSource<double>::Place);
  return (size * static_cast<std::size_t>(block.rows) + 15) / 16 * 16;
}

template <class Source>
void launch_second(const Combination& sweep, const SecondPlan& plan, void* workspace,
                   unsigned locating, unsigned combining, Stream stream) {
  auto* places = static_cast<typename Source::Place*>(workspace);
  METASPAN_LAUNCH((locate_rows<Source>), locating, kThreads, 0, stream)(sweep.block, places);
  require_launch("locate_rows");
  METASPAN_LAUNCH((combine_samples<Source>), combining, kThreads, kSharedNumbers * sizeof(double),
                  stream)(sweep, plan, places);
  require_launch("combine_samples");
}

/// Launches the kernels of a second sweep with `locating` and `combining` blocks.
void launch_second(const Combination& sweep, const SecondPlan& plan, void* workspace,
                   unsigned locating, unsigned combining, Stream stream) {
  if (sweep.block.is_made) {
    launch_second<MadeSource>(sweep, plan, workspace, locating, combining, stream);
  } else if (sweep.block.type == Real::float64) {
    launch_second<DenseSource<double>>(sweep, plan, workspace, locating, combining, stream);
  } else {
    launch_second<DenseSource<float>>(sweep, plan, workspace, locating, combining, stream);
  }
}

}  // namespace

std::size_t DeviceSweeps::workspace(const SecondSweep& sweep) const {
  const SecondPlan plan = plan_second(sweep);
  const std::size_t parts =
      plan.pieces == 1 ? 0 : static_cast<std::size_t>(plan.pieces * sweep.d * sweep.k);
  return place_bytes(sweep.block) + sizeof(double) * parts;
}

std::size_t DeviceSweeps::workspace(const TaskSweep& sweep) const {
  return place_bytes(sweep.block);
}

void DeviceSweeps::run(const SecondSweep& sweep, void* workspace, Stream stream) {
  const SecondPlan plan = plan_second(sweep);
  const std::ptrdiff_t count = sweep.d * sweep.k;
  const unsigned locating = grid(sweep.block.n, kThreads / 32);
  const unsigned combining = grid(plan.tiles() * plan.pieces);
  const TallMatrix start{sweep.start, sweep.type, sweep.k, 0};
  Combination whole{sweep.block, sweep.d, sweep.k, false, sweep.C, start, sweep.out, sweep.type};
  if (plan.pieces == 1) return launch_second(whole, plan, workspace, locating, combining, stream);
  auto* parts = reinterpret_cast<double*>(static_cast<char*>(workspace) + place_bytes(sweep.block));
  whole.start.data = nullptr;
  whole.out = parts;
  whole.type = Real::float64;
  launch_second(whole, plan, workspace, locating, combining, stream);
  METASPAN_LAUNCH(add_parts, grid(count, kThreads), kThreads, 0, stream)
  (parts, plan.pieces, count, sweep.start, sweep.out, sweep.type);
  require_launch("add_parts");
}

void DeviceSweeps::run(const TaskSweep& sweep, void* workspace, Stream stream) {
  const SecondPlan plan = plan_tasks(sweep);
  const Combination whole{sweep.block, sweep.d,     sweep.k,   true,
                          sweep.C,     sweep.start, sweep.out, sweep.type};
  launch_second(whole, plan, workspace, grid(sweep.block.n, kThreads / 32),
                grid(sweep.block.n * plan.tiles()), stream);
}

}  // namespace metaspan::cuda
