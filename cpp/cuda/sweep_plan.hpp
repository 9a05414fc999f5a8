// How the sweeps of a device cut their work. All decisions depend on shapes alone, because they
// determine the order of sums.
#pragma once

#include <cstddef>

#include "metaspan/base/host_device.hpp"
#include "metaspan/cuda/panels.hpp"
#include "metaspan/cuda/sweeps.hpp"

namespace metaspan::cuda {

constexpr int kThreads = 256;                     // of a block
constexpr int kStages = 9;                        // numbers that a thread loads for a tile
constexpr int kTileNumbers = kStages * kThreads;  // numbers of X, B or C in a tile
constexpr int kSharedNumbers = 16 * kThreads;     // doubles of shared memory
constexpr int kMostQuads = kThreads;              // 4 x 4 parts of a tile of results
constexpr int kMostLine = 36;                     // quads of numbers in a line
constexpr std::ptrdiff_t kItems = 2048;           // items of work that fill a large device

constexpr int quads_of(int count) { return (count + 3) / 4; }

/// The first sweep of a task computes a matrix of results: its rows are the inner samples followed
/// by the outer samples, its columns are those of B, of `more`, and the inner samples and the outer
/// samples again as far as Gram matrices need them. Each of these parts fills whole quads; quads
/// between the columns of B and the samples may be unused. A tile has `tile_rows` x `tile_columns`
/// quads. If one tile is the whole matrix, the samples are loaded once for both sides of the
/// product. The d columns of X are cut into pieces of `piece` columns.
struct FirstPlan {
  int in_quads, out_quads;
  int factor_quads;  // of B and `more`
  int factor_bits;   // a tile loads up to 2^factor_bits of their columns
  int first_sample;  // quad of the first column that is a sample
  int sample_quads;  // columns that are samples
  int tile_rows, tile_columns;
  int row_tiles, column_tiles;
  int line_bits;  // lines of a tile: 2^line_bits columns of X
  int pieces;
  std::ptrdiff_t piece;

  METASPAN_HD int row_quads() const { return in_quads + out_quads; }
  METASPAN_HD int column_quads() const { return first_sample + sample_quads; }
  METASPAN_HD bool is_single() const { return tiles() == 1; }
  METASPAN_HD int lines() const { return 1 << line_bits; }
  METASPAN_HD int tiles() const { return row_tiles * column_tiles; }
  /// Partial sums of a task and a piece.
  METASPAN_HD std::ptrdiff_t part_numbers() const {
    return std::ptrdiff_t{16} * row_quads() * column_quads();
  }
};

/// A second sweep: a tile has `tile_rows` quads of the d columns of X and `tile_columns` quads of
/// the k columns of C. A line of a tile has part of a row of X and of C. The sum over all rows is
/// cut into pieces of `piece` rows; the sum of a task is not cut.
struct SecondPlan {
  int row_bits;                   // a tile has 2^row_bits columns of X
  int tile_columns, column_bits;  // loads 2^column_bits columns of C
  int row_tiles, column_tiles;
  int lines;
  int pieces;
  std::ptrdiff_t piece;

  METASPAN_HD int tile_rows() const { return 1 << (row_bits - 2); }
  std::ptrdiff_t tiles() const { return std::ptrdiff_t{row_tiles} * column_tiles; }
};

/// The Gram matrix of a tall matrix: `tiles` rows of tiles of `tile` quads, on and below the
/// diagonal, and pieces of the rows of the tall matrix.
struct GramPlan {
  int quads;  // of the columns
  int tile, tiles;
  int column_bits;  // a side of a tile loads 2^column_bits columns
  int line_bits;
  int pieces;
  std::ptrdiff_t piece;

  METASPAN_HD int lines() const { return 1 << line_bits; }
  METASPAN_HD int width() const { return 4 * quads; }
};

FirstPlan plan_first(const FirstSweep& sweep);
SecondPlan plan_second(const SecondSweep& sweep);
SecondPlan plan_tasks(const TaskSweep& sweep);
GramPlan plan_gram(const TallMatrix& A, const TallMatrix& B, std::ptrdiff_t d);

}  // namespace metaspan::cuda
