// Steps and Gram matrices of tall matrices (d, k) such as B.
#include "device_sweeps.hpp"
#include "errors.hpp"
#include "lines.cuh"

namespace metaspan::cuda {
namespace {

/// Returns B - beta grad in the type of B.
template <class Scalar>
__device__ Scalar stepped(const Scalar* B, const Scalar* grad, Scalar beta, std::ptrdiff_t i) {
  return load_global(B + i) - beta * load_global(grad + i);
}

/// Sets the flag if a number of B - beta grad is not finite.
template <class Scalar>
__global__ void __launch_bounds__(kThreads)
    check_step(const Scalar* B, const Scalar* grad, Scalar beta, std::ptrdiff_t count, int* flag) {
  const std::ptrdiff_t step = static_cast<std::ptrdiff_t>(gridDim.x) * kThreads;
  bool is_finite = true;
  for (std::ptrdiff_t i = static_cast<std::ptrdiff_t>(blockIdx.x) * kThreads + threadIdx.x;
       i < count; i += step) {
    is_finite &= stepped(B, grad, beta, i) * Scalar{0} == Scalar{0};
  }
  if (!is_finite) atomicOr(flag, 1);
}

/// Computes B <- B - beta grad.
template <class Scalar>
__global__ void __launch_bounds__(kThreads)
    take_step(Scalar* B, const Scalar* grad, Scalar beta, std::ptrdiff_t count) {
  const std::ptrdiff_t step = static_cast<std::ptrdiff_t>(gridDim.x) * kThreads;
  for (std::ptrdiff_t i = static_cast<std::ptrdiff_t>(blockIdx.x) * kThreads + threadIdx.x;
       i < count; i += step) {
    store_global(B + i, stepped<Scalar>(B, grad, beta, i));
  }
}

/// The numbers that a block loads for a tile of a Gram matrix: the rows of the columns of its left
/// side, then, off the diagonal, of its right side.
struct GramTile {
  int lines, side, numbers, stride;
  int lefts, rights;   // columns of the sides
  ThreadColumn place;  // of this thread; the right side begins at a multiple of the threads
  FactorColumn left, right;

  __device__ GramTile(const TallMatrix& A, const TallMatrix& B, const GramPlan& plan, int row,
                      int rows, int column, int columns)
      : lines(plan.lines()),
        side(plan.lines() << plan.column_bits),
        numbers(row == column ? side : 2 * side),
        stride(4 * (rows + (row == column ? 0 : columns)) + 2),
        lefts(4 * rows),
        rights(4 * columns),
        place(0, plan.column_bits),
        left(A, B, 0, 4 * row + place.column),
        right(A, B, 0, 4 * column + place.column) {}

  /// Requests `count` rows, starting at row `first`.
  __device__ void request(std::ptrdiff_t first, int count, Stage& stage) const {
#pragma unroll
    for (int i = 0; i < kStages; ++i) {
      const int e = i * kThreads + static_cast<int>(threadIdx.x), line = place.line_of(i);
      if (e < side) {
        stage.put(i, line < count && place.column < lefts ? left.load(first + line) : 0.0);
      } else if (e < numbers) {
        const bool exists = line - lines < count && place.column < rights;
        stage.put(i, exists ? right.load(first + line - lines) : 0.0);
      }
    }
  }

  /// Writes the requested numbers to the lines.
  __device__ void keep(const Stage& stage, double* out) const {
#pragma unroll
    for (int i = 0; i < kStages; ++i) {
      const int e = i * kThreads + static_cast<int>(threadIdx.x), line = place.line_of(i);
      if (e < side) {
        if (place.column < lefts) out[line * stride + place.column] = stage.get<double>(i);
      } else if (e < numbers && place.column < rights) {
        out[(line - lines) * stride + lefts + place.column] = stage.get<double>(i);
      }
    }
  }
};

/// Computes the tiles on and below the diagonal of [A, B]^T [A, B], piece by piece of the d rows. A
/// tile on the diagonal loads its columns once. The sums go to `parts` (pieces, width, width).
__global__ void __launch_bounds__(kThreads, 2)
    multiply_columns(TallMatrix A, TallMatrix B, std::ptrdiff_t d, GramPlan plan, double* parts) {
  METASPAN_SHARED(double, lines);
  const int tiles = plan.tiles * plan.tiles;
  for (std::ptrdiff_t index = blockIdx.x; index < static_cast<std::ptrdiff_t>(tiles) * plan.pieces;
       index += gridDim.x) {
    const int tile = static_cast<int>(index % tiles), piece = static_cast<int>(index / tiles);
    const int row = tile / plan.tiles * plan.tile, column = tile % plan.tiles * plan.tile;
    if (column > row) continue;
    const int rows = lesser(plan.tile, plan.quads - row),
              columns = lesser(plan.tile, plan.quads - column);
    const GramTile sides(A, B, plan, row, rows, column, columns);
    const std::ptrdiff_t begin = piece * plan.piece, end = lesser(d, begin + plan.piece);
    const Quad quad = quad_of_thread(rows, columns);
    const int base = row == column ? 0 : 4 * rows;
    const int of_rows[2] = {2 * quad.row_pair, 2 * (quad.row_pair + rows)};
    const int of_columns[2] = {base + 2 * quad.column_pair,
                               base + 2 * (quad.column_pair + columns)};
    double sums[4][4] = {};
    Stage stage;
    const auto request = [&](std::ptrdiff_t first) {
      sides.request(first, static_cast<int>(lesser<std::ptrdiff_t>(end - first, plan.lines())),
                    stage);
    };
    request(begin);
    for (std::ptrdiff_t first = begin; first < end; first += plan.lines()) {
      sides.keep(stage, lines);
      __syncthreads();
      if (first + plan.lines() < end) request(first + plan.lines());
      multiply_lines(lines, plan.lines(), sides.stride, quad, of_rows, of_columns, sums);
      __syncthreads();
    }
    double* part = parts + static_cast<std::ptrdiff_t>(piece) * plan.width() * plan.width();
    finish_tile(quad, sums, lines, [&](int i, int j, double sum) {
      store_global(part + (4 * row + i) * plan.width() + 4 * column + j, sum);
    });
  }
}

/// Adds the pieces of a Gram matrix in order, and copies the elements below the diagonal to those
/// above it.
__global__ void __launch_bounds__(kThreads)
    add_gram_parts(GramPlan plan, int first_k, int k, const double* parts, double* out) {
  const int c = first_k + k, step = static_cast<int>(gridDim.x) * kThreads;
  const int padding = (first_k + 3) / 4 * 4 - first_k;
  for (int e = static_cast<int>(blockIdx.x * kThreads + threadIdx.x); e < c * c; e += step) {
    const int i = greater(e / c, e % c), j = lesser(e / c, e % c);
    const double* part =
        parts + (i < first_k ? i : i + padding) * plan.width() + (j < first_k ? j : j + padding);
    double sum = 0;
    for (int piece = 0; piece < plan.pieces; ++piece) {
      sum += load_global(part + static_cast<std::ptrdiff_t>(piece) * plan.width() * plan.width());
    }
    store_global(out + e, sum);
  }
}

/// Checks all of B, and then takes the step.
template <class Scalar>
bool step_checked(Runtime& runtime, void* B, const void* grad, double beta, std::ptrdiff_t count,
                  int* flag, unsigned blocks, Stream stream) {
  auto* numbers = static_cast<Scalar*>(B);
  const auto* slope = static_cast<const Scalar*>(grad);
  const auto size = static_cast<Scalar>(beta);
  int is_bad = 0;
  runtime.clear(flag, sizeof(int), stream);
  METASPAN_LAUNCH((check_step<Scalar>), blocks, kThreads, 0, stream)
  (numbers, slope, size, count, flag);
  require_launch("check_step");
  runtime.copy(&is_bad, flag, sizeof(int), Copy::to_host, stream);
  runtime.synchronise(stream);
  if (is_bad != 0) return false;
  METASPAN_LAUNCH((take_step<Scalar>), blocks, kThreads, 0, stream)(numbers, slope, size, count);
  require_launch("take_step");
  return true;
}

}  // namespace

bool DeviceSweeps::step(void* B, const void* grad, double beta, std::ptrdiff_t count, Real type,
                        int* flag, Stream stream) {
  const unsigned blocks = grid(count, 4 * kThreads);
  return type == Real::float64
             ? step_checked<double>(runtime_, B, grad, beta, count, flag, blocks, stream)
             : step_checked<float>(runtime_, B, grad, beta, count, flag, blocks, stream);
}

std::size_t DeviceSweeps::gram_workspace(const TallMatrix& A, const TallMatrix& B,
                                         std::ptrdiff_t d) const {
  const GramPlan plan = plan_gram(A, B, d);
  return sizeof(double) * static_cast<std::size_t>(plan.pieces) *
         static_cast<std::size_t>(plan.width() * plan.width());
}

void DeviceSweeps::gram(const TallMatrix& A, const TallMatrix& B, std::ptrdiff_t d, double* out,
                        void* workspace, Stream stream) {
  const GramPlan plan = plan_gram(A, B, d);
  auto* parts = static_cast<double*>(workspace);
  const int first_k = A.data == nullptr ? 0 : A.k;
  const unsigned blocks = grid(std::ptrdiff_t{plan.tiles} * plan.tiles * plan.pieces);
  METASPAN_LAUNCH(multiply_columns, blocks, kThreads, kSharedNumbers * sizeof(double), stream)
  (A, B, d, plan, parts);
  require_launch("multiply_columns");
  const std::ptrdiff_t c = first_k + B.k;
  METASPAN_LAUNCH(add_gram_parts, grid(c * c, kThreads), kThreads, 0, stream)
  (plan, first_k, B.k, parts, out);
  require_launch("add_gram_parts");
}

}  // namespace metaspan::cuda
