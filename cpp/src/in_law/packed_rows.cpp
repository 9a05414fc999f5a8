#include "metaspan/in_law/packed_rows.hpp"

#include <algorithm>

#include "metaspan/base/huge_pages.hpp"
#include "metaspan/base/parallel.hpp"
#include "metaspan/base/sizes.hpp"
#include "panel.hpp"

namespace metaspan {
namespace {

constexpr Index kRows = kTriangleRows, kColumns = kTriangleColumns;
constexpr Index kAhead = 40;  // columns that are multiplied before as many others are fetched

/// Number of columns of the rows: those of the span, and at most one more for each row.
Index columns_of(Index N, Index D, double d) {
  const double rest = d - static_cast<double>(D);
  return D + (rest < static_cast<double>(N) ? static_cast<Index>(rest) : N);
}

/// Copies rows (kRows, length) to a panel, column by column. Squares of columns are copied, so that
/// the lines of both sides stay in the nearest cache.
void transpose_panel(Index length, const double* rows, double* panel) {
  constexpr Index kSquare = 16;
  for (Index c = 0; c < length; c += kSquare) {
    const Index end = std::min(c + kSquare, length);
    for (Index r = 0; r < kRows; ++r) {
      for (Index j = c; j < end; ++j) panel[j * kRows + r] = rows[r * length + j];
    }
  }
}

/// Prefetches `columns` columns of a panel into the L2 cache. A product reads short pieces one
/// after the other; they are too short for the hardware prefetcher to hide the memory latency.
void prefetch_columns(const double* panel, Index columns) {
  for (Index i = 0; i < columns * kRows; i += 64 / static_cast<Index>(sizeof(double))) {
    __builtin_prefetch(panel + i, 0, 2);
  }
}

}  // namespace

double PackedRows::bytes(Index N, Index D, double d) {
  const Index columns = columns_of(N, D, d);
  double count = 0;
  for (Index row = 0; row < N; row += kRows) {
    count += static_cast<double>(kRows * std::min(D + row + kRows, columns));
  }
  return count * sizeof(double);
}

/// Draws the panels in parallel. pooled_row() draws every row, which is then transposed into its
/// panel. Therefore the rows have the same bits as the pool of (24) with the same keys and the same
/// D.
PackedRows::PackedRows(const FeatureLaw& law, Key features, Key radii, double d, Index D, Index N,
                       int threads, Cancel* cancel)
    : N_(N), D_(D), columns_(columns_of(N, D, d)) {
  const Index panels = ceil_div(N, kRows);
  Index total = 0;
  for (Index panel = 0; panel < panels; ++panel) {
    starts_.push_back(total);
    total += kRows * length(panel);
  }
  values_.resize(total);
  prefer_huge_pages(values_.data(), total);
  parallel_for(threads, panels, cancel,
               [&](Index panel, int) { draw(law, features, radii, d, panel); });
  throw_if_requested(cancel);
}

Index PackedRows::length(Index panel) const { return std::min(D_ + (panel + 1) * kRows, columns_); }

/// Draws one panel of rows; in the last panel, zeros fill the places of missing rows.
void PackedRows::draw(const FeatureLaw& law, Key features, Key radii, double d, Index panel) {
  const Index columns = length(panel);
  thread_local std::vector<double> rows;
  rows.resize(static_cast<std::size_t>(kRows * columns));
  for (Index r = 0; r < kRows; ++r) {
    const Index row = panel * kRows + r;
    double* out = rows.data() + r * columns;
    if (row < N_) {
      pooled_row(law, features, radii, row, d, D_, columns, out);
    } else {
      std::fill(out, out + columns, 0.0);
    }
  }
  transpose_panel(columns, rows.data(), values_.data() + starts_[static_cast<std::size_t>(panel)]);
}

/// Computes Z = X B as Z^T += B^T X^T for groups of panels, one chunk of columns at a time. The
/// rows of B that belong to a chunk stay in a cache for all panels of the group, and the chunk of a
/// panel is contiguous in memory. Every element of Z is one sum over the columns in rising order,
/// whatever the groups are. Groups may therefore depend on the number of threads, and a call for
/// few panels has smaller groups.
void PackedRows::features(Index first, Index last, Index k, const double* B, int threads,
                          Cancel* cancel, double* Z) const {
  const Index begin = first / kRows, panels = ceil_div(last, kRows) - begin;
  const Index size = std::clamp<Index>(panels / (2 * threads), 1, kTrianglePanels);
  parallel_for(threads, ceil_div(panels, size), cancel, [&](Index group, int) {
    const Index from = begin + group * size, count = std::min(size, begin + panels - from);
    thread_local std::vector<double> sums;  // (count, k, kRows)
    sums.assign(static_cast<std::size_t>(count * k * kRows), 0.0);
    for (Index c = 0; c < length(from + count - 1); c += kColumns) {
      for (Index p = from; p < from + count; ++p) {
        const Index end = std::min(c + kColumns, length(p));
        const bool is_last = p + 1 == from + count;
        const double* next = panel_data(is_last ? from : p + 1) + (is_last ? kColumns * kRows : 0);
        for (Index j = c; j < end; j += kAhead) {
          const Index some = std::min(kAhead, end - j);
          prefetch_columns(next + j * kRows, some);
          kernels::product<true>(k, some, kRows, B + j * k, 1, k, panel_data(p) + j * kRows,
                                 sums.data() + (p - from) * k * kRows);
        }
      }
    }
    const Index end = std::min(last, (from + count) * kRows);
    for (Index row = std::max(first, from * kRows); row < end; ++row) {
      const double* sum = sums.data() + (row / kRows - from) * k * kRows + row % kRows;
      for (Index j = 0; j < k; ++j) Z[(row - first) * k + j] = sum[j * kRows];
    }
  });
  throw_if_requested(cancel);
}

/// Computes out += X^T C, one chunk of the columns of X per work item. The sums of a chunk stay in
/// the nearest cache while the rows of all panels are added in order, so threads have no partial
/// sums to combine. The columns of C and of the sums are padded to whole registers, and rows of C
/// outside the range count as zero.
void PackedRows::combine(Index first, Index last, Index k, const double* C, int threads,
                         Cancel* cancel, double* out) const {
  if (first >= last) return;
  const Index begin = first / kRows, panels = ceil_div(last, kRows) - begin;
  const Index width = round_up(k, kernels::kLane);
  Mat padded = Mat::Zero(panels * kRows, width);
  padded.block(first - begin * kRows, 0, last - first, k) = ConstMat(C, last - first, k);
  const Index columns = length(begin + panels - 1);
  parallel_for(threads, ceil_div(columns, kColumns), cancel, [&](Index item, int) {
    const Index c = item * kColumns, count = std::min(kColumns, columns - c);
    MutMat sums(out + c * k, count, k);
    thread_local std::vector<double> tile;
    tile.resize(static_cast<std::size_t>(count * width));
    MutMat tiled(tile.data(), count, width);
    tiled.leftCols(k) = sums;
    tiled.rightCols(width - k).setZero();
    for (Index p = 0; p < panels; ++p) {
      const Index end = std::min(c + count, length(begin + p));
      const double* next = panel_data(begin + std::min(p + 1, panels - 1));
      for (Index j = c; j < end; j += kAhead) {
        const Index some = std::min(kAhead, end - j);
        prefetch_columns(next + j * kRows, some);
        kernels::product<true>(some, kRows, width, panel_data(begin + p) + j * kRows, kRows, 1,
                               padded.data() + p * kRows * width, tile.data() + (j - c) * width);
      }
    }
    sums = tiled.leftCols(k);
  });
  throw_if_requested(cancel);
}

/// Computes K = X_i X_i^T for consecutive sets of m rows, one set per work item. K is a sum over
/// chunks of columns, each of which is first copied to a row-major matrix.
void PackedRows::grams(Index first, Index m, Index tasks, int threads, Cancel* cancel,
                       double* K) const {
  parallel_for(threads, tasks, cancel, [&](Index task, int) {
    const Index from = first + task * m, to = from + m;
    MutMat gram(K + task * m * m, m, m);
    gram.setZero();
    Mat chunk(m, kColumns);
    for (Index c = 0; c < length((to - 1) / kRows); c += kColumns) {
      copy(from, to, c, c + kColumns, chunk.data());
      gram.noalias() += chunk * chunk.transpose();
    }
  });
  throw_if_requested(cancel);
}

void PackedRows::copy(Index first, Index last, Index begin, Index end, double* out) const {
  for (Index row = first; row < last; ++row, out += end - begin) {
    const Index panel = row / kRows, stop = std::clamp(length(panel), begin, end);
    const double* from = panel_data(panel) + row % kRows;
    for (Index c = begin; c < stop; ++c) out[c - begin] = from[c * kRows];
    std::fill(out + (stop - begin), out + (end - begin), 0.0);
  }
}

}  // namespace metaspan
