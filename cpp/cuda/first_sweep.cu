// The first sweep over samples, (5): Z = X B and Gram matrices, from one pass over X.
#include "device_sweeps.hpp"
#include "errors.hpp"
#include "lines.cuh"
#include "row_source.cuh"

namespace metaspan::cuda {
namespace {

/// An item of work: a tile of the results of a task, and a piece of the columns of X. Numbers of
/// quads count from the first quad of the task's rows or columns.
struct FirstItem {
  std::ptrdiff_t begin, end;  // columns of X
  int task, piece;
  int first_row, rows;        // quads of the tile's rows
  int first_column, columns;  // quads of the tile's columns
  int first_right, rights;    // quads of samples that are columns of the tile, unless in its rows
  int factors;                // quads of the tile's columns that belong to B or `more`

  __device__ int loaded_rows() const { return 4 * (rows + rights); }
  __device__ int stride() const { return 4 * (rows + rights + factors) + 2; }
  /// Returns the place, in a line, of pair number `pair` of the tile's columns.
  __device__ int place_of_column(int pair, bool is_single) const {
    if (pair < 2 * factors) return loaded_rows() + 2 * pair;
    return (is_single ? 0 : 4 * rows) + 2 * (pair - 2 * factors);
  }
};

/// Returns item number `index`. The tiles of a piece come one after another, so that they find X in
/// a cache. The item has no rows if its tile is not needed: if the tile lies beyond the samples of
/// the task, or above the diagonal of the Gram matrix of all samples.
__device__ FirstItem locate_item(const FirstSweep& sweep, const FirstPlan& plan,
                                 std::ptrdiff_t index) {
  FirstItem item{};
  const int tiles = plan.row_tiles * plan.column_tiles, tile = static_cast<int>(index % tiles);
  item.task = static_cast<int>(index / tiles / plan.pieces);
  item.piece = static_cast<int>(index / tiles % plan.pieces);
  item.begin = item.piece * plan.piece;
  item.end = lesser(sweep.d, item.begin + plan.piece);
  item.first_row = tile / plan.column_tiles * plan.tile_rows;
  item.first_column = tile % plan.column_tiles * plan.tile_columns;
  item.factors = greater(0, lesser(plan.factor_quads - item.first_column, plan.tile_columns));
  const bool has_factors_alone = item.factors > 0 && plan.first_sample > plan.factor_quads;
  item.columns = has_factors_alone
                     ? item.factors
                     : lesser(plan.tile_columns, plan.column_quads() - item.first_column);
  const int rows = lesser(plan.tile_rows, plan.row_quads() - item.first_row);
  const int in_rows = (sweep.in.sets[item.task].m + 3) / 4;
  const int out_rows = sweep.out.n > 0 ? (sweep.out.sets[item.task].m + 3) / 4 : 0;
  const bool has_rows = item.first_row < in_rows || (item.first_row + rows > plan.in_quads &&
                                                     item.first_row < plan.in_quads + out_rows);
  const int first_sample = item.first_column - plan.first_sample;
  if (!has_rows || (item.factors == 0 && first_sample >= item.first_row + rows)) return item;
  item.rows = rows;
  item.first_right = greater(0, first_sample);
  item.rights = plan.is_single() ? 0 : item.columns - item.factors;
  return item;
}

/// Writes the places of the rows that a tile loads: the rows of the tile, then the samples that are
/// its columns.
template <class Source>
__device__ void write_places(const FirstSweep& sweep, const FirstPlan& plan, const FirstItem& item,
                             typename Source::Place* places) {
  for (int i = static_cast<int>(threadIdx.x); i < item.loaded_rows(); i += kThreads) {
    const int row =
        i < 4 * item.rows ? 4 * item.first_row + i : 4 * item.first_right + i - 4 * item.rows;
    const bool is_inner = row < 4 * plan.in_quads;
    const SampleBlock& block = is_inner ? sweep.in : sweep.out;
    const SampleSet& set = block.sets[item.task];
    const int row_of_set = is_inner ? row : row - 4 * plan.in_quads;
    places[i] = row_of_set < set.m ? Source::place(block, set, row_of_set) : Source::no_place();
  }
}

/// The elements of a tile of X that a thread loads, `step` rows apart in one column: number e of
/// the tile is in cells of 8 columns of two rows. The threads of a half-warp load two segments of 8
/// numbers, and write them to shared memory without bank conflicts.
struct ThreadElements {
  int row, column, step;

  __device__ ThreadElements(int number, int line_bits) {
    const int cell = number >> 4, cells = line_bits - 3;
    row = 2 * (cell >> cells) + ((number >> 3) & 1);
    column = 8 * (cell & ((1 << cells) - 1)) + (number & 7);
    step = kThreads >> line_bits;
  }
};

/// The numbers of a tile: elements of X, then the rows of [B, more] that belong to its columns.
template <class Source>
struct FirstTile {
  const typename Source::Place* places;
  int samples, numbers;       // of X, and in all
  ThreadElements elements;    // of this thread
  ThreadColumn factor_place;  // of this thread
  FactorColumn factor;
  bool has_factor;

  __device__ FirstTile(const FirstSweep& sweep, const FirstPlan& plan, const FirstItem& item,
                       const typename Source::Place* rows)
      : places(rows),
        samples(item.loaded_rows() << plan.line_bits),
        numbers(samples + (item.factors == 0 ? 0 : 1 << (plan.line_bits + plan.factor_bits))),
        elements(static_cast<int>(threadIdx.x), plan.line_bits),
        factor_place(samples, plan.factor_bits),
        factor(sweep.B, sweep.more, item.task, 4 * item.first_column + factor_place.column),
        has_factor(factor_place.column < 4 * item.factors) {}

  /// Requests the tile whose first column of X is `first`, of which `count` columns exist.
  __device__ void request(std::ptrdiff_t first, int count, Stage& stage) const {
#pragma unroll
    for (int i = 0; i < kStages; ++i) {
      const int e = i * kThreads + static_cast<int>(threadIdx.x);
      if (e < samples) {
        if constexpr (Source::kInMemory) {
          const auto* row = places[elements.row + i * elements.step];
          const bool exists = row != nullptr && elements.column < count;
          stage.put(
              i, exists ? load_global(row + first + elements.column) : typename Source::Number{0});
        }
      } else if (e < numbers && has_factor) {
        const int line = factor_place.line_of(i);
        stage.put(i, line < count ? factor.load(first + line) : 0.0);
      }
    }
  }

  /// Writes the requested numbers to the lines.
  __device__ void keep(const FirstItem& item, const Stage& stage, double* lines) const {
    const int stride = item.stride();
#pragma unroll
    for (int i = 0; i < kStages; ++i) {
      const int e = i * kThreads + static_cast<int>(threadIdx.x);
      if (e < samples) {
        if constexpr (Source::kInMemory) {
          lines[elements.column * stride + elements.row + i * elements.step] =
              static_cast<double>(stage.get<typename Source::Number>(i));
        }
      } else if (e < numbers && has_factor) {
        lines[factor_place.line_of(i) * stride + item.loaded_rows() + factor_place.column] =
            stage.get<double>(i);
      }
    }
  }
};

/// Writes generated elements of a tile of X to the lines; a thread makes two columns of a row.
template <class Source>
__device__ void make_tile(const FirstSweep& sweep, const FirstPlan& plan, const FirstItem& item,
                          const typename Source::Place* places, std::ptrdiff_t first,
                          double* lines) {
  const int pairs = item.loaded_rows() << (plan.line_bits - 1), stride = item.stride();
  for (int e = static_cast<int>(threadIdx.x); e < pairs; e += kThreads) {
    const ThreadElements at(2 * e, plan.line_bits);
    const Pair x = Source::elements(sweep.in, places[at.row], first + at.column, item.end);
    lines[at.column * stride + at.row] = x.even;
    lines[(at.column + 1) * stride + at.row] = x.odd;
  }
}

/// Multiplies the rows [X; X'] of a task by its columns [B, more, X^T, X'^T], tile by tile of the
/// results and piece by piece of d. A block loads a tile of X while it multiplies the tile before.
/// The sums of a piece go to `parts` (n, pieces, rows, columns).
template <class Source>
__global__ void __launch_bounds__(kThreads, 2)
    multiply_samples(FirstSweep sweep, FirstPlan plan, double* parts) {
  METASPAN_SHARED(double, lines);
  auto* places = reinterpret_cast<typename Source::Place*>(lines + kSharedNumbers);
  const std::ptrdiff_t items =
      static_cast<std::ptrdiff_t>(sweep.in.n) * plan.pieces * plan.row_tiles * plan.column_tiles;
  for (std::ptrdiff_t index = blockIdx.x; index < items; index += gridDim.x) {
    const FirstItem item = locate_item(sweep, plan, index);
    if (item.rows == 0) continue;
    write_places<Source>(sweep, plan, item, places);
    __syncthreads();
    const FirstTile<Source> tile(sweep, plan, item, places);
    const Quad quad = quad_of_thread(item.rows, item.columns);
    const int left[2] = {2 * quad.row_pair, 2 * (quad.row_pair + item.rows)};
    const int right[2] = {item.place_of_column(quad.column_pair, plan.is_single()),
                          item.place_of_column(quad.column_pair + item.columns, plan.is_single())};
    double sums[4][4] = {};
    Stage stage;
    const auto request = [&](std::ptrdiff_t first) {
      const auto count = static_cast<int>(lesser<std::ptrdiff_t>(item.end - first, plan.lines()));
      tile.request(first, count, stage);
    };
    request(item.begin);
    for (std::ptrdiff_t first = item.begin; first < item.end; first += plan.lines()) {
      tile.keep(item, stage, lines);
      if constexpr (!Source::kInMemory) make_tile<Source>(sweep, plan, item, places, first, lines);
      __syncthreads();
      if (first + plan.lines() < item.end) request(first + plan.lines());
      multiply_lines(lines, plan.lines(), item.stride(), quad, left, right, sums);
      __syncthreads();
    }
    double* part = parts + (static_cast<std::ptrdiff_t>(item.task) * plan.pieces + item.piece) *
                               plan.part_numbers();
    finish_tile(quad, sums, lines, [&](int row, int column, double sum) {
      store_global(part + std::ptrdiff_t{4 * item.first_row + row} * 4 * plan.column_quads() +
                       4 * item.first_column + column,
                   sum);
    });
  }
}

/// A result of the sweep as a part of the matrix of a task's results.
struct PartResult {
  double* out;
  int rows, columns;            // of a task
  int first_row, first_column;  // in the matrix
  bool rows_are_outer;          // the rows are outer samples
  int gram;                     // 0: the columns are no samples; 1: inner samples; 2: outer samples
  std::ptrdiff_t before;        // elements of a task in the results before this one

  __device__ std::ptrdiff_t elements() const { return std::ptrdiff_t{rows} * columns; }
  __device__ bool is_symmetric() const { return gram == (rows_are_outer ? 2 : 1); }
};

/// All results of a sweep.
struct PartResults {
  PartResult list[7];
  int count;
  std::ptrdiff_t elements;  // of a task
};

/// Returns element e of a result of a task: the sum of its pieces in order, 0 beyond the samples of
/// the task. An element above the diagonal of a symmetric Gram matrix is that below the diagonal.
__device__ double add_pieces(const FirstSweep& sweep, const FirstPlan& plan, const double* parts,
                             const PartResult& result, int task, std::ptrdiff_t e) {
  auto row = static_cast<int>(e / result.columns), column = static_cast<int>(e % result.columns);
  const int m = (result.rows_are_outer ? sweep.out : sweep.in).sets[task].m;
  const int m_columns =
      result.gram == 0 ? m : (result.gram == 2 ? sweep.out : sweep.in).sets[task].m;
  if (row >= m || (result.gram != 0 && column >= m_columns)) return 0;
  if (result.is_symmetric() && column > row) {
    const int swapped = row;
    row = column;
    column = swapped;
  }
  const double* part = parts + task * plan.pieces * plan.part_numbers() +
                       std::ptrdiff_t{result.first_row + row} * 4 * plan.column_quads() +
                       result.first_column + column;
  double sum = 0;
  for (int piece = 0; piece < plan.pieces; ++piece) {
    sum += load_global(part + piece * plan.part_numbers());
  }
  if (sweep.layout == Layout::rows) return sum;
  const double scale = 1 / sqrt(static_cast<double>(m));
  return result.gram == 0 ? sum * scale : sum * scale / sqrt(static_cast<double>(m_columns));
}

/// Writes the results to panels of 32 tasks. A block takes 32 elements of the tasks of a panel:
/// it reads the elements of a task side by side, and writes those of all tasks side by side.
__global__ void __launch_bounds__(kThreads)
    write_panels(FirstSweep sweep, FirstPlan plan, PartResults results, const double* parts) {
  METASPAN_SHARED(double, square);  // (tasks, kPanelColumns + 1)
  constexpr int kStride = kPanelColumns + 1, kWarps = kThreads / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int panels = (sweep.in.n + kPanelColumns - 1) / kPanelColumns;
  for (int r = 0; r < results.count; ++r) {
    const PartResult& result = results.list[r];
    const std::ptrdiff_t chunks = (result.elements() + 31) / 32;
    for (std::ptrdiff_t item = blockIdx.x; item < panels * chunks; item += gridDim.x) {
      const int panel = static_cast<int>(item / chunks);
      const std::ptrdiff_t e = item % chunks * 32;
      for (int t = warp; t < kPanelColumns; t += kWarps) {
        const int task = panel * kPanelColumns + t;
        const bool exists = task < sweep.in.n && e + lane < result.elements();
        square[t * kStride + lane] =
            exists ? add_pieces(sweep, plan, parts, result, task, e + lane) : 0.0;
      }
      __syncthreads();
      for (int i = warp; i < 32 && e + i < result.elements(); i += kWarps) {
        store_global(result.out + (panel * result.elements() + e + i) * kPanelColumns + lane,
                     square[lane * kStride + i]);
      }
      __syncthreads();
    }
  }
}

/// Writes the results row by row: Z to the stacked rows, and a Gram matrix for each task.
__global__ void __launch_bounds__(kThreads)
    write_rows(FirstSweep sweep, FirstPlan plan, PartResults results, const double* parts) {
  const std::ptrdiff_t count = sweep.in.n * results.elements,
                       step = static_cast<std::ptrdiff_t>(gridDim.x) * kThreads;
  for (std::ptrdiff_t i = blockIdx.x * kThreads + threadIdx.x; i < count; i += step) {
    const int task = static_cast<int>(i / results.elements);
    const std::ptrdiff_t element = i % results.elements;
    int r = results.count - 1;
    while (results.list[r].before > element) --r;
    const PartResult& result = results.list[r];
    const std::ptrdiff_t e = element - result.before;
    const SampleSet& set = (result.rows_are_outer ? sweep.out : sweep.in).sets[task];
    if (result.gram == 0 && e / result.columns >= set.m) continue;
    const std::ptrdiff_t first =
        result.gram == 0 ? set.first_row * result.columns : task * result.elements();
    store_global(result.out + first + e, add_pieces(sweep, plan, parts, result, task, e));
  }
}

/// Lists the wanted results of a sweep.
PartResults list_results(const FirstSweep& sweep, const FirstPlan& plan) {
  PartResults results{};
  const auto add = [&](double* out, bool rows_are_outer, int columns, int first_column, int gram) {
    const int rows = rows_are_outer ? sweep.out.most : sweep.in.most;
    if (out == nullptr || rows == 0 || columns == 0) return;
    results.list[results.count++] = {
        out,          rows,           columns, rows_are_outer ? 4 * plan.in_quads : 0,
        first_column, rows_are_outer, gram,    results.elements};
    results.elements += std::ptrdiff_t{rows} * columns;
  };
  const int more = 4 * quads_of(sweep.B.k), inner = 4 * plan.first_sample;
  const int outer = inner + 4 * plan.in_quads;
  add(sweep.Z_in, false, sweep.B.k, 0, 0);
  add(sweep.Z_out, true, sweep.B.k, 0, 0);
  add(sweep.more_in, false, sweep.more.k, more, 0);
  add(sweep.more_out, true, sweep.more.k, more, 0);
  add(sweep.K, false, sweep.in.most, inner, 1);
  add(sweep.K_cross, true, sweep.in.most, inner, 1);
  add(sweep.K_outer, true, sweep.out.most, outer, 2);
  return results;
}

template <class Source>
void launch_first(const FirstSweep& sweep, const FirstPlan& plan, double* parts, unsigned blocks,
                  Stream stream) {
  const std::size_t bytes =
      kSharedNumbers * sizeof(double) + 4 * kMostLine * sizeof(typename Source::Place);
  METASPAN_LAUNCH((multiply_samples<Source>), blocks, kThreads, bytes, stream)(sweep, plan, parts);
  require_launch("multiply_samples");
}

}  // namespace

std::size_t DeviceSweeps::workspace(const FirstSweep& sweep) const {
  const FirstPlan plan = plan_first(sweep);
  return sizeof(double) * static_cast<std::size_t>(sweep.in.n * plan.pieces * plan.part_numbers());
}

void DeviceSweeps::run(const FirstSweep& sweep, void* workspace, Stream stream) {
  const FirstPlan plan = plan_first(sweep);
  auto* parts = static_cast<double*>(workspace);
  const std::ptrdiff_t n = sweep.in.n;
  const unsigned blocks = grid(n * plan.pieces * plan.tiles());
  if (sweep.in.is_made) {
    launch_first<MadeSource>(sweep, plan, parts, blocks, stream);
  } else if (sweep.in.type == Real::float64) {
    launch_first<DenseSource<double>>(sweep, plan, parts, blocks, stream);
  } else {
    launch_first<DenseSource<float>>(sweep, plan, parts, blocks, stream);
  }
  const PartResults results = list_results(sweep, plan);
  if (results.count == 0) return;
  if (sweep.layout == Layout::panels) {
    constexpr std::size_t kSquare = sizeof(double) * kPanelColumns * (kPanelColumns + 1);
    const unsigned squares = grid((n + 31) * results.elements, 32 * 32);
    METASPAN_LAUNCH(write_panels, squares, kThreads, kSquare, stream)(sweep, plan, results, parts);
    require_launch("write_panels");
  } else {
    const unsigned elements = grid(n * results.elements, kThreads);
    METASPAN_LAUNCH(write_rows, elements, kThreads, 0, stream)(sweep, plan, results, parts);
    require_launch("write_rows");
  }
}

}  // namespace metaspan::cuda
