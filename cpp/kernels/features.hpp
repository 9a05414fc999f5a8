// The features X B of rows of X, as inner products of rows of X with rows of B^T. The functions are
// serial, take pointers and shapes, and allocate no memory.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "panel.hpp"
#include "sweep.hpp"

namespace metaspan::kernels {

/// A block of rows of X, and where their features are written.
template <class Scalar>
struct FeatureRows {
  const Scalar* X;  // (count, columns), rows `stride` apart
  std::ptrdiff_t count, stride;
  double* Z;  // (count, k) out
};
template <class Scalar>
FeatureRows(const Scalar*, std::ptrdiff_t, std::ptrdiff_t, double*) -> FeatureRows<Scalar>;

namespace detail {

constexpr int kMostColumns = 7;  // of B that are multiplied together
/// A tile holds part of B. A near tile has at most kNearTile numbers and kNearColumns columns of X,
/// so that an L1 cache holds both; a far tile has at most kFarTile numbers, for an L2 cache. With a
/// far tile the sums are longer, which pays where every register of B is multiplied by at least
/// four rows, as with AVX-512, and where at least kRowsOfFarTile rows use the tile.
constexpr std::ptrdiff_t kNearTile = 2560, kNearColumns = 256;
constexpr std::ptrdiff_t kFarTile = 1 << 14, kRowsOfFarTile = 12;

template <int value>
using Constant = std::integral_constant<int, value>;

/// Returns how many rows of X are multiplied together with `Columns` columns of B. The number is
/// chosen so that the sums leave a few registers free for X and B.
template <int Columns>
constexpr int rows_together() {
  constexpr int kSums = kLaneBytes == 64 ? 28 : 12;  // of 32 registers with AVX-512, else of 16
  constexpr int rows = kSums / Columns;
  return rows < 1 ? 1 : rows < kRows ? rows : kRows;
}

/// Copies `Columns` rows of a chunk of B^T to `tile`. For each group of kLane columns of X, the
/// tile has the registers of these rows side by side and aligned. Zeros fill the last register.
template <int Columns>
inline void pack(std::ptrdiff_t columns, const double* B_t, std::ptrdiff_t b_stride, double* tile) {
  for (int j = 0; j < Columns; ++j) {
    const double* row = B_t + j * b_stride;
    std::ptrdiff_t c = 0;
    for (; c + kLane <= columns; c += kLane) store(tile + c * Columns + j * kLane, load(row + c));
    for (std::ptrdiff_t i = 0; c < columns && i < kLane; ++i) {
      tile[c * Columns + j * kLane + i] = c + i < columns ? row[c + i] : 0;
    }
  }
}

/// The rows of X that are multiplied next, and are prefetched while others are multiplied: in one
/// register of columns in `every`, beginning with register `first`.
template <class Scalar>
struct Ahead {
  const Scalar* X = nullptr;
  std::ptrdiff_t stride = 0, first = -1, every = 1;  // a negative `first`: nothing
};

/// Computes sums += X B for `Rows` rows of X and `Columns` columns of B. Every element of the
/// result has a register of sums, to which the products of kLane columns of X are added at a time.
/// A register of X is used for all columns of B, and a register of B for all rows of X. Every
/// element of a register has work, whatever the number of columns of B. Rows are prefetched evenly
/// during the arithmetic, and into the L2 cache, since the L1 cache has no room for them beside the
/// tile.
template <int Rows, int Columns, class Scalar>
inline void add_features(std::ptrdiff_t columns, const Scalar* X, std::ptrdiff_t stride,
                         const double* tile,  // (columns / kLane, Columns, kLane)
                         const Ahead<Scalar>& ahead, double* sums, std::ptrdiff_t sums_stride) {
  Lane sum[Rows][Columns];
  for (int r = 0; r < Rows; ++r) {
    for (int j = 0; j < Columns; ++j) sum[r][j] = load(sums + r * sums_stride + j * kLane);
  }
  std::ptrdiff_t c = 0, wait = ahead.first;
  for (; c + kLane <= columns; c += kLane, --wait) {
    Lane x[Rows];
    for (int r = 0; r < Rows; ++r) x[r] = load_wide(X + r * stride + c);
    if (wait == 0) {
      for (int r = 0; r < Rows; ++r) {
        __builtin_prefetch(ahead.X + r * ahead.stride + c, 0, 2);
      }
      wait = ahead.every;
    }
    for (int j = 0; j < Columns; ++j) {
      Lane b = load(tile + c * Columns + j * kLane);
      if constexpr (kLaneBytes == 64) hold(b);
      for (int r = 0; r < Rows; ++r) sum[r][j] += x[r] * b;
    }
  }
  if (c < columns) {
    for (int r = 0; r < Rows; ++r) {
      const Lane x = load_first(columns - c, X + r * stride + c);
      for (int j = 0; j < Columns; ++j) sum[r][j] += x * load(tile + c * Columns + j * kLane);
    }
  }
  for (int r = 0; r < Rows; ++r) {
    for (int j = 0; j < Columns; ++j) store(sums + r * sums_stride + j * kLane, sum[r][j]);
  }
}

/// Computes sums += X B for any number of rows, `Rows` at a time. The remaining rows are processed
/// `Rows` / 2 at a time, and so on down to single rows. No sum depends on how rows are grouped.
template <int Rows, int Columns, class Scalar>
inline void add_features_of_rows(std::ptrdiff_t rows, std::ptrdiff_t columns, const Scalar* X,
                                 std::ptrdiff_t stride, const double* tile,
                                 const Ahead<Scalar>& ahead, double* sums,
                                 std::ptrdiff_t sums_stride) {
  std::ptrdiff_t i = 0;
  for (; i + Rows <= rows; i += Rows) {
    add_features<Rows, Columns>(columns, X + i * stride, stride, tile, ahead,
                                sums + i * sums_stride, sums_stride);
  }
  if constexpr (Rows > 1) {
    if (i == rows) return;
    add_features_of_rows<Rows / 2, Columns>(rows - i, columns, X + i * stride, stride, tile, {},
                                            sums + i * sums_stride, sums_stride);
  }
}

/// Returns how many columns of X are multiplied at a time, a multiple of kLane.
constexpr std::ptrdiff_t columns_at_once(std::ptrdiff_t rows, std::ptrdiff_t k) {
  const bool far = kLaneBytes == 64 && rows >= kRowsOfFarTile;
  const std::ptrdiff_t columns = (far ? kFarTile : kNearTile) / k;
  return std::clamp<std::ptrdiff_t>(columns / kLane * kLane, 8 * kLane,
                                    far ? kFarTile : kNearColumns);
}

/// Computes sums += X B for a chunk of columns, which begin at column `first` of all blocks. The
/// columns of B are divided into `strips` strips of `Widest` columns or one less. The chunk of B is
/// copied into the tile once and serves all blocks. A few rows of X at a time are multiplied by all
/// strips, while the same columns of the next rows are prefetched; the rows after the last block
/// are those of the first block in the next chunk, if there is one. The strips share the work of
/// prefetching.
template <int Widest, class Scalar>
inline void add_chunk(const FeatureRows<Scalar>* blocks, std::ptrdiff_t count, std::ptrdiff_t first,
                      std::ptrdiff_t columns, bool last, std::ptrdiff_t k, std::ptrdiff_t strips,
                      const double* B_t, std::ptrdiff_t b_stride,
                      double* tile,    // (k, columns rounded up to registers) scratch
                      double* sums) {  // (rows of all blocks, k, kLane)
  constexpr int kTogether = rows_together<Widest>();
  constexpr int kNarrow = Widest > 1 ? Widest - 1 : 1;
  const std::ptrdiff_t padded = (columns + kLane - 1) / kLane * kLane;
  const auto each_strip = [&](auto&& wide, auto&& narrow) {
    for (std::ptrdiff_t strip = 0; strip < strips; ++strip) {
      const std::ptrdiff_t begin = strip * k / strips, width = (strip + 1) * k / strips - begin;
      width == Widest ? wide(begin, strip) : narrow(begin, strip);
    }
  };
  const auto pack_strip = [&](auto width) {
    return [&](std::ptrdiff_t begin, std::ptrdiff_t) {
      pack<width>(columns, B_t + begin * b_stride + first, b_stride, tile + begin * padded);
    };
  };
  each_strip(pack_strip(Constant<Widest>{}), pack_strip(Constant<kNarrow>{}));
  for (std::ptrdiff_t b = 0; b < count; ++b) {
    const FeatureRows<Scalar>& block = blocks[b];
    const std::ptrdiff_t rows = block.count, stride = block.stride;
    const Scalar* X = block.X + first;
    for (std::ptrdiff_t i = 0; i < rows; i += kTogether) {
      Ahead<Scalar> ahead{X + (i + kTogether) * stride, stride, 0, strips};
      if (i + 2 * kTogether > rows && b + 1 < count) {
        ahead = {blocks[b + 1].X + first, blocks[b + 1].stride, 0, strips};
      } else if (i + 2 * kTogether > rows && !last) {
        ahead = {blocks[0].X + first + columns, blocks[0].stride, 0, strips};
      }
      const auto multiply = [&](auto width) {
        return [&](std::ptrdiff_t begin, std::ptrdiff_t strip) {
          ahead.first = strip;
          add_features_of_rows<kTogether, width>(
              rows - i < kTogether ? rows - i : kTogether, columns, X + i * stride, stride,
              tile + begin * padded, ahead, sums + (i * k + begin) * kLane, k * kLane);
        };
      };
      each_strip(multiply(Constant<Widest>{}), multiply(Constant<kNarrow>{}));
    }
    sums += rows * k * kLane;
  }
}

/// Calls body(Constant<count>) for 1 <= count <= Most.
template <int Most, class Body>
inline void with_constant(std::ptrdiff_t count, Body&& body) {
  if (count == Most) return body(Constant<Most>{});
  if constexpr (Most > 1) with_constant<Most - 1>(count, body);
}

}  // namespace detail

/// Doubles of scratch memory that sweep_features() needs for `rows` rows in all blocks: a tile, the
/// sums, and room to align them.
constexpr std::ptrdiff_t features_scratch(std::ptrdiff_t rows, std::ptrdiff_t k) {
  return detail::columns_at_once(rows, k) * k + rows * k * kLane + kLane;
}

/// Computes Z = X B from B^T for one or more blocks of rows. X is read in chunks of so few columns
/// that the part of B for a chunk stays in the L2 cache, and all blocks use it there. Every element
/// of Z has kLane sums. Sum l is over the columns l, l + kLane, l + 2 kLane and so on of X, in
/// order, and at the end the kLane sums are added in order. The bits of a row of Z depend on
/// `columns`, but neither on the blocks nor on k.
template <class Scalar>
inline void sweep_features(const FeatureRows<Scalar>* blocks, std::ptrdiff_t count,
                           std::ptrdiff_t columns, std::ptrdiff_t k,
                           const double* B_t,  // (k, columns), rows `b_stride` apart
                           std::ptrdiff_t b_stride,
                           double* scratch) {  // (features_scratch(rows of all blocks, k),)
  std::ptrdiff_t rows = 0;
  for (std::ptrdiff_t b = 0; b < count; ++b) rows += blocks[b].count;
  const std::ptrdiff_t chunk = detail::columns_at_once(rows, k);
  const std::ptrdiff_t strips = (k + detail::kMostColumns - 1) / detail::kMostColumns;
  const auto number = reinterpret_cast<std::uintptr_t>(scratch) / sizeof(double);
  double* tile = scratch + (kLane - static_cast<std::ptrdiff_t>(number % kLane)) % kLane;
  double* sums = tile + chunk * k;
  for (std::ptrdiff_t i = 0; i < rows * k * kLane; ++i) sums[i] = 0;
  detail::with_constant<detail::kMostColumns>((k + strips - 1) / strips, [&](auto widest) {
    for (std::ptrdiff_t c = 0; c < columns; c += chunk) {
      const std::ptrdiff_t width = columns - c < chunk ? columns - c : chunk;
      detail::add_chunk<widest>(blocks, count, c, width, c + width == columns, k, strips, B_t,
                                b_stride, tile, sums);
    }
  });
  for (std::ptrdiff_t b = 0; b < count; ++b) {
    detail::add_elements(blocks[b].count * k, sums, blocks[b].Z);
    sums += blocks[b].count * k * kLane;
  }
}

}  // namespace metaspan::kernels
