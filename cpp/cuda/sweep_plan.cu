#include "sweep_plan.hpp"

#include <algorithm>

#include "device_sweeps.hpp"
#include "parts.hpp"

namespace metaspan::cuda {
namespace {

using Index = std::ptrdiff_t;

constexpr Index divide_up(Index a, Index b) { return (a + b - 1) / b; }

/// Returns the number of columns of a matrix, or 0 for a matrix without data.
int columns_of(const TallMatrix& matrix) { return matrix.data == nullptr ? 0 : matrix.k; }

/// Returns the exponent of the smallest power of two that is at least `count`.
int bits_of(int count) {
  int bits = 0;
  while (1 << bits < count) ++bits;
  return bits;
}

/// Returns the exponent of the largest power of two such that this number of lines of `numbers`
/// numbers fits in a tile. A tile has at most 128 lines, so that all numbers of X that a thread
/// loads for the tile are in one column.
int bits_of_lines(int numbers) {
  int bits = 4;
  while (bits < 7 && (numbers << (bits + 1)) <= kTileNumbers) ++bits;
  return bits;
}

/// Returns the length of the pieces of `length`, a multiple of `unit`, such that `items` items have
/// kItems pieces in all, unless pieces would be shorter than `least`.
Index piece_length(Index length, Index items, Index least, Index unit) {
  const Index wanted = divide_up(kItems, std::max<Index>(items, 1));
  const Index pieces = std::clamp<Index>(length / least, 1, wanted);
  return divide_up(divide_up(length, pieces), unit) * unit;
}

}  // namespace

/// Chooses tiles so that a task whose results fit one tile reads X once. Otherwise the products
/// cost more time than X: they have at least 40 operations for a number of X, and tiles of 16 x 16
/// quads need few loads. The samples then begin in a tile of their own if a tile with the end of B
/// would need too much memory. The partial sums of a piece are less than an eighth of its part of
/// X.
FirstPlan plan_first(const FirstSweep& sweep) {
  FirstPlan plan{};
  const bool has_cross = sweep.K_cross != nullptr, has_outer = sweep.K_outer != nullptr;
  plan.in_quads = quads_of(sweep.in.most);
  plan.out_quads = sweep.out.n > 0 ? quads_of(sweep.out.most) : 0;
  plan.factor_quads = quads_of(columns_of(sweep.B)) + quads_of(columns_of(sweep.more));
  plan.first_sample = plan.factor_quads;
  if (sweep.K != nullptr || has_cross) plan.sample_quads = plan.in_quads;
  if (has_outer) plan.sample_quads = plan.in_quads + plan.out_quads;
  const int rows = plan.row_quads();
  plan.tile_rows = rows;
  plan.tile_columns = plan.column_quads();
  int loaded = rows + quads_of(1 << bits_of(4 * plan.factor_quads));
  if (rows * plan.tile_columns > kMostQuads || loaded > kMostLine) {
    plan.tile_rows = std::min(16, rows);
    plan.tile_columns = plan.tile_rows <= 4 ? 32 : 16;
    const int last = plan.factor_quads % plan.tile_columns;
    const int padded = quads_of(1 << bits_of(4 * std::min(plan.factor_quads, plan.tile_columns)));
    loaded = plan.tile_rows + plan.tile_columns;
    if (last > 0 && loaded + padded - last <= kMostLine) {
      loaded += padded - last;
    } else {
      plan.first_sample =
          static_cast<int>(divide_up(plan.factor_quads, plan.tile_columns)) * plan.tile_columns;
    }
    plan.tile_columns = std::min(plan.tile_columns, plan.column_quads());
  }
  plan.factor_bits = bits_of(4 * std::min(plan.factor_quads, plan.tile_columns));
  plan.line_bits = bits_of_lines(4 * loaded);
  const int columns = plan.column_quads();
  plan.row_tiles = static_cast<int>(divide_up(rows, plan.tile_rows));
  plan.column_tiles = static_cast<int>(divide_up(columns, plan.tile_columns));
  const Index items = static_cast<Index>(sweep.in.n) * plan.row_tiles * plan.column_tiles;
  const Index least = std::max<Index>(512, 16 * 4 * std::min(columns, plan.tile_columns));
  plan.piece = piece_length(sweep.d, items, least, plan.lines());
  plan.pieces = static_cast<int>(divide_up(sweep.d, plan.piece));
  return plan;
}

namespace {

/// Chooses the tiles of a second sweep: 128 columns of X if C has at most 32, otherwise 64, so that
/// all threads have a part of a tile. The lines are a multiple of the groups of threads.
SecondPlan plan_tiles(Index d, int k) {
  SecondPlan plan{};
  const int quads = quads_of(k);
  plan.row_bits = quads <= 8 && d > 64 ? 7 : 6;
  plan.tile_columns = std::min(quads, kMostQuads / plan.tile_rows());
  plan.row_tiles = static_cast<int>(divide_up(d, Index{1} << plan.row_bits));
  plan.column_tiles = static_cast<int>(divide_up(quads, plan.tile_columns));
  plan.column_bits = bits_of(4 * plan.tile_columns);
  const int groups = kThreads / (plan.tile_rows() * plan.tile_columns);
  const int lines = kTileNumbers / ((1 << plan.row_bits) + (1 << plan.column_bits));
  plan.lines = lines / groups * groups;
  plan.pieces = 1;
  return plan;
}

double bytes_of(Real type) { return type == Real::float64 ? 8 : 4; }

/// Counts the rows of a tile that are samples: the quads [first, first + quads) of the rows of a
/// task with `most` samples in each set.
int samples_of_quads(const FirstSweep& sweep, const FirstPlan& plan, int first, int quads) {
  const int begin = 4 * first, end = 4 * (first + quads), outer = 4 * plan.in_quads;
  const int in_rows = std::max(0, std::min(end, sweep.in.most) - begin);
  const int out_rows =
      plan.out_quads == 0
          ? 0
          : std::max(0, std::min(end, outer + sweep.out.most) - std::max(begin, outer));
  return in_rows + out_rows;
}

/// Counts the bytes of a row of the columns [first, first + quads) of [B, more].
double factor_bytes(const FirstSweep& sweep, int first, int quads) {
  const int begin = 4 * first, end = 4 * (first + quads), more = 4 * quads_of(sweep.B.k);
  const int of_B = std::max(0, std::min(end, sweep.B.k) - begin);
  const int of_more =
      std::max(0, std::min(end, more + columns_of(sweep.more)) - std::max(begin, more));
  return of_B * bytes_of(sweep.B.type) + of_more * bytes_of(sweep.more.type);
}

/// Adds the work of one tile of one task.
void add_tile(const FirstSweep& sweep, const FirstPlan& plan, int row, int column,
              DeviceWork& work) {
  const auto d = static_cast<double>(sweep.d);
  const int rows = std::min(plan.tile_rows, plan.row_quads() - row);
  const int factors = std::clamp(plan.factor_quads - column, 0, plan.tile_columns);
  const int columns = factors > 0 && plan.first_sample > plan.factor_quads
                          ? factors
                          : std::min(plan.tile_columns, plan.column_quads() - column);
  const int sample = column - plan.first_sample;
  if (factors == 0 && sample >= row + rows) return;
  const int rights = plan.is_single() ? 0 : columns - factors;
  const int samples = samples_of_quads(sweep, plan, row, rows) +
                      samples_of_quads(sweep, plan, std::max(0, sample), rights);
  const double of_sample = sweep.in.is_made ? 0 : bytes_of(sweep.in.type);
  const double radius = sweep.in.is_made && sweep.in.laws[0].radii != nullptr ? 8 : 0;
  work.sample_bytes += samples * (d * of_sample + plan.pieces * radius);
  work.factor_bytes += d * factor_bytes(sweep, column, factors);
  work.part_bytes += 8.0 * 16 * rows * columns * plan.pieces;
  work.flops += 2.0 * 16 * rows * columns * d;
}

}  // namespace

SecondPlan plan_second(const SecondSweep& sweep) {
  SecondPlan plan = plan_tiles(sweep.d, sweep.k);
  const Index items = static_cast<Index>(plan.row_tiles) * plan.column_tiles;
  const Index least = std::max<Index>(64, 16 * sweep.k);
  plan.piece = piece_length(sweep.block.rows, items, least, plan.lines);
  plan.pieces = static_cast<int>(divide_up(sweep.block.rows, plan.piece));
  return plan;
}

SecondPlan plan_tasks(const TaskSweep& sweep) { return plan_tiles(sweep.d, sweep.k); }

GramPlan plan_gram(const TallMatrix& A, const TallMatrix& B, Index d) {
  GramPlan plan{};
  plan.quads = quads_of(columns_of(A)) + quads_of(columns_of(B));
  plan.tile = std::min(16, plan.quads);
  plan.tiles = static_cast<int>(divide_up(plan.quads, plan.tile));
  plan.column_bits = bits_of(4 * plan.tile);
  plan.line_bits = bits_of_lines((plan.tiles == 1 ? 1 : 2) << plan.column_bits);
  const Index items = plan.tiles * (plan.tiles + 1) / 2;
  plan.piece = piece_length(d, items, std::max<Index>(512, 16 * plan.width()), plan.lines());
  plan.pieces = static_cast<int>(divide_up(d, plan.piece));
  return plan;
}

/// Counts the work of a first sweep whose sets all have `most` rows.
DeviceWork DeviceSweeps::work(const FirstSweep& sweep) const {
  const FirstPlan plan = plan_first(sweep);
  DeviceWork work{};
  for (int row = 0; row < plan.row_quads(); row += plan.tile_rows) {
    for (int column = 0; column < plan.column_quads(); column += plan.tile_columns) {
      add_tile(sweep, plan, row, column, work);
    }
  }
  const double in = sweep.in.most, out = sweep.out.n > 0 ? sweep.out.most : 0;
  const double results =
      (sweep.Z_in != nullptr ? in * sweep.B.k : 0) +
      (sweep.Z_out != nullptr ? out * sweep.B.k : 0) +
      (sweep.more_in != nullptr ? in * sweep.more.k : 0) +
      (sweep.more_out != nullptr ? out * sweep.more.k : 0) + (sweep.K != nullptr ? in * in : 0) +
      (sweep.K_cross != nullptr ? out * in : 0) + (sweep.K_outer != nullptr ? out * out : 0);
  work.part_bytes += 8 * results * plan.pieces;
  const double tasks = sweep.in.n;
  work.sample_bytes *= tasks;
  work.factor_bytes *= tasks;
  work.part_bytes *= tasks;
  work.flops *= tasks;
  const double columns =
      sweep.layout == Layout::rows
          ? tasks
          : static_cast<double>(divide_up(sweep.in.n, kPanelColumns)) * kPanelColumns;
  work.result_bytes = 8 * results * columns;
  return work;
}

DeviceWork DeviceSweeps::work(const SecondSweep& sweep) const {
  const SecondPlan plan = plan_second(sweep);
  const auto d = static_cast<double>(sweep.d), rows = static_cast<double>(sweep.block.rows);
  const double numbers = d * sweep.k;
  DeviceWork work{};
  work.sample_bytes =
      sweep.block.is_made ? 0 : rows * d * bytes_of(sweep.block.type) * plan.column_tiles;
  work.factor_bytes = rows * sweep.k * 8 * plan.row_tiles;
  work.part_bytes = plan.pieces == 1 ? 0 : 2 * 8 * numbers * plan.pieces;
  work.result_bytes = numbers * bytes_of(sweep.type) * (sweep.start != nullptr ? 2 : 1);
  work.flops = 2 * rows * numbers;
  return work;
}

DeviceWork DeviceSweeps::work(const TaskSweep& sweep) const {
  const SecondPlan plan = plan_tasks(sweep);
  const auto d = static_cast<double>(sweep.d), rows = static_cast<double>(sweep.block.rows);
  const double numbers = sweep.block.n * d * sweep.k;
  DeviceWork work{};
  work.sample_bytes =
      sweep.block.is_made ? 0 : rows * d * bytes_of(sweep.block.type) * plan.column_tiles;
  work.factor_bytes = rows * sweep.k * 8 * plan.row_tiles;
  work.result_bytes = numbers * bytes_of(sweep.type);
  if (sweep.start.data != nullptr) work.result_bytes += numbers * bytes_of(sweep.start.type);
  work.flops = 2 * rows * d * sweep.k;
  return work;
}

unsigned DeviceSweeps::grid(Index items, Index at_a_time) const {
  return static_cast<unsigned>(std::clamp<Index>(divide_up(items, at_a_time), 1, blocks_));
}

Sweeps& sweeps() {
  constexpr int kMostBlocks = 4096;  // several for every multiprocessor
  static auto* const device_sweeps = new DeviceSweeps(runtime(), kMostBlocks);
  return *device_sweeps;
}

}  // namespace metaspan::cuda
