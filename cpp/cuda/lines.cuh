// Products of tall matrices by tiles in shared memory. A block of threads computes a tile of a
// product sum_c left_c right_c^T: line c of its shared memory has the numbers left_c and right_c.
// The sweeps differ only in how they fill the lines and where they write the tile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "launch.hpp"
#include "metaspan/cuda/sweeps.hpp"
#include "sweep_plan.hpp"

namespace metaspan::cuda {

template <class T>
__device__ inline T lesser(T a, T b) {
  return b < a ? b : a;
}
template <class T>
__device__ inline T greater(T a, T b) {
  return a < b ? b : a;
}

/// Divides numbers of at most 12 bits by 1 <= divisor <= 256 without a division.
struct Divisor {
  std::uint32_t divisor, inverse;

  __device__ explicit Divisor(int number)
      : divisor(static_cast<std::uint32_t>(number)),
        inverse(((1u << 20) + divisor - 1) / divisor) {}
  __device__ int quotient(int number) const {
    return static_cast<int>((static_cast<std::uint32_t>(number) * inverse) >> 20);
  }
};

/// The part of a tile that a thread computes: two pairs of rows and two pairs of columns, so that
/// the threads of a warp read neighbouring pairs from shared memory, without bank conflicts. If a
/// tile has fewer than kThreads / 2 such parts, groups of threads share the lines: group g computes
/// the lines g, g + groups, ...
struct Quad {
  int rows, columns;          // of the tile, in units of four
  int row_pair, column_pair;  // the first ones; the second ones are `rows` and `columns` further
  int group, groups;
  bool has_work;
};

__device__ inline Quad quad_of_thread(int rows, int columns) {
  const int count = rows * columns, thread = static_cast<int>(threadIdx.x);
  const int groups = kThreads / count, quad = thread % count;
  return {rows,           columns, quad / columns,         quad % columns,
          thread / count, groups,  thread < groups * count};
}

/// Adds the products of `count` lines to the 4 x 4 sums of a thread. `left` and `right` are the
/// places, in a line, of the pairs of the thread. Four loads of pairs serve 16 products.
__device__ inline void multiply_lines(const double* lines, int count, int stride, const Quad& quad,
                                      const int (&left)[2], const int (&right)[2],
                                      double (&sums)[4][4]) {
  if (!quad.has_work) return;
  const double* line = lines + quad.group * stride;
  const int step = quad.groups * stride;
#pragma unroll 1
  for (int c = quad.group; c < count; c += quad.groups, line += step) {
    const double2 a = *reinterpret_cast<const double2*>(line + left[0]);
    const double2 b = *reinterpret_cast<const double2*>(line + left[1]);
    const double2 u = *reinterpret_cast<const double2*>(line + right[0]);
    const double2 v = *reinterpret_cast<const double2*>(line + right[1]);
    const double x[4] = {a.x, a.y, b.x, b.y}, y[4] = {u.x, u.y, v.x, v.y};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) sums[i][j] += x[i] * y[j];
    }
  }
}

/// Adds the sums of the groups in order, and calls write(row, column, sum) for every element of the
/// tile. Neighbouring threads write neighbouring columns. `scratch` may be the lines; all threads
/// of the block must call this function, and it ends with a barrier.
template <class Write>
__device__ inline void finish_tile(const Quad& quad, const double (&sums)[4][4], double* scratch,
                                   Write&& write) {
  const int count = quad.rows * quad.columns, thread = static_cast<int>(threadIdx.x);
  const int part = quad.row_pair * quad.columns + quad.column_pair;
  __syncthreads();
  if (quad.has_work) {
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      scratch[(quad.group * 16 + i) * count + part] = sums[i / 4][i % 4];
    }
  }
  __syncthreads();
  const Divisor by_width(4 * quad.columns), by_rows(quad.rows), by_columns(quad.columns);
  for (int e = thread; e < 16 * count; e += kThreads) {
    const int row = by_width.quotient(e), column = e - row * 4 * quad.columns;
    const int lower = by_rows.quotient(row / 2), right = by_columns.quotient(column / 2);
    const int i = 2 * lower + row % 2, j = 2 * right + column % 2;
    const int source = (i * 4 + j) * count + (row / 2 - lower * quad.rows) * quad.columns +
                       column / 2 - right * quad.columns;
    double sum = 0;
    for (int g = 0; g < quad.groups; ++g) sum += scratch[g * 16 * count + source];
    write(row, column, sum);
  }
  __syncthreads();
}

/// Reads number `index` of an array of a type that is known at run time, as a double.
__device__ inline double load_real(const void* data, Real type, std::ptrdiff_t index) {
  return type == Real::float64
             ? load_global(static_cast<const double*>(data) + index)
             : static_cast<double>(load_global(static_cast<const float*>(data) + index));
}
__device__ inline void store_real(void* data, Real type, std::ptrdiff_t index, double value) {
  if (type == Real::float64) {
    store_global(static_cast<double*>(data) + index, value);
  } else {
    store_global(static_cast<float*>(data) + index, static_cast<float>(value));
  }
}

/// Returns the address of element number `index` of a matrix.
__device__ inline const void* element(const TallMatrix& matrix, std::ptrdiff_t index) {
  const std::ptrdiff_t bytes = matrix.type == Real::float64 ? 8 : 4;
  return static_cast<const char*>(matrix.data) + index * bytes;
}

/// A column of the matrices [A, B] side by side. A matrix fills a whole number of quads of columns;
/// the columns beyond its k are zeros.
struct FactorColumn {
  const void* data;  // element of the first row; null for zeros
  Real type;
  int k;

  __device__ FactorColumn(const TallMatrix& A, const TallMatrix& B, int task, int place) {
    const int width = (A.k + 3) / 4 * 4;
    const bool is_first = place < width;
    const int column = is_first ? place : place - width;
    k = is_first ? A.k : B.k;
    type = is_first ? A.type : B.type;
    data = column >= k ? nullptr
           : is_first  ? element(A, task * A.step + column)
                       : element(B, task * B.step + column);
  }
  __device__ double load(std::ptrdiff_t row) const {
    return data != nullptr ? load_real(data, type, row * k) : 0.0;
  }
};

/// The numbers of a tile that a thread loads: one in each of its `lines`, at distance `step`, all
/// in column `column` of 2^bits columns. Number e of a thread's stage counts from `first`, a
/// multiple of the size of a warp.
struct ThreadColumn {
  int column, line, step;

  __device__ ThreadColumn(int first, int bits) {
    const int number = static_cast<int>(threadIdx.x) - first;
    column = number & ((1 << bits) - 1);
    line = number >> bits;
    step = kThreads >> bits;
  }
  /// Returns the line of number i of the stage.
  __device__ int line_of(int i) const { return line + i * step; }
};

/// The numbers of the next tile that a thread has requested while the block multiplies a tile.
/// Numbers keep their type until the thread writes them to shared memory, since a conversion waits
/// for the memory.
struct Stage {
  std::uint64_t bits[kStages];

  template <class T>
  __device__ void put(int i, T value) {
    bits[i] = 0;
    memcpy(&bits[i], &value, sizeof(T));
  }
  template <class T>
  __device__ T get(int i) const {
    T value;
    memcpy(&value, &bits[i], sizeof(T));
    return value;
  }
};

}  // namespace metaspan::cuda
