// Products with sparse rows in compressed form: entry p has the column columns[p] and the value
// values[p], and row i has the entries [starts[i], starts[i + 1]), in rising order of columns. The
// type of the values is a template parameter. All other numbers are doubles, unless a template
// parameter names their type. The order of every sum depends on the entries alone. The functions
// are serial and take pointers and shapes.
#pragma once

#include <type_traits>

#include "sweep.hpp"

namespace metaspan::kernels {

/// How far B is from the processor in X B. `near`: B is in a cache. `beyond`: B is too large for
/// the caches. `far`: B is so large that sets may have copies by bands of columns. For a far B the
/// entries of a row are added one after the other into a single sum, as banded_times() adds them.
enum class Reach { near, beyond, far };

namespace detail {

constexpr int kStrip = 8;  // registers of a row of B or C processed together, at most

/// Returns the number of partial sums to which entries are added in turns, so that additions do not
/// wait for each other. The number is 4 if four partial sums take at most 12 registers; otherwise
/// it is the largest number of partial sums that take at most 12 registers, or 1.
constexpr int chains_of(int lanes) { return lanes > 6 ? 1 : lanes > 3 ? 12 / lanes : 4; }

/// For each of `count` entries of a row, prefetches the entry kAhead places later, one cache line
/// at a time. The hardware prefetcher does not detect that entries are read in sequence, since rows
/// of B or elements of u are read from scattered addresses between two entries.
template <class Value>
inline void fetch_ahead(std::ptrdiff_t count, const std::int32_t* columns, const Value* values) {
  constexpr std::ptrdiff_t kAhead = 512;  // entries
  constexpr std::ptrdiff_t kLine = 64;    // bytes
  constexpr auto kValues = kLine / static_cast<std::ptrdiff_t>(sizeof(Value));
  constexpr auto kColumns = kLine / static_cast<std::ptrdiff_t>(sizeof *columns);
  for (std::ptrdiff_t p = 0; p < count; p += kValues) __builtin_prefetch(values + p + kAhead);
  for (std::ptrdiff_t p = 0; p < count; p += kColumns) __builtin_prefetch(columns + p + kAhead);
}

/// Broadcasts a value to all elements of a register. Subtraction of zero changes no number, so the
/// compiler can omit it. Addition of zero could not be omitted, since it turns -0 into 0.
template <class Value>
inline Lane spread(Value value) {
  return static_cast<double>(value) - Lane{};
}

/// Prefetches a row of a matrix that fills `Lanes` registers of doubles. The last register begins
/// at column `last`.
template <int Lanes, class Entry>
inline void fetch_row(const Entry* row, std::ptrdiff_t last) {
  constexpr int kLine = 64 / static_cast<int>(sizeof(Entry));  // numbers
  for (int c = 0; c < Lanes * kLane; c += kLine) __builtin_prefetch(row + c);
  __builtin_prefetch(row + last + kLane - 1);  // the row may begin within a line
}

/// Computes out = x^T B for one sparse row x and a strip of `Lanes` registers of columns of B,
/// whose rows are b_row apart. The sums stay in registers while the entries of x select rows of B.
/// The last register begins at column `last` and may overlap the register before it, so that no row
/// of B is read beyond its end. Entries are added in turns to several partial sums, which are added
/// in order at the end. If B is not near, the row of B for an entry is prefetched kRowsAhead
/// entries earlier; the prefetches may also use the `after` entries that follow those of x. If B is
/// far, there is a single sum, since reading a row of B takes longer than adding it.
template <Reach kReach, int Lanes, class Value, class Entry>
inline void times_entries(std::ptrdiff_t count, std::ptrdiff_t after, const std::int32_t* columns,
                          const Value* values, const Entry* B, std::ptrdiff_t b_row,
                          std::ptrdiff_t last, double* out) {
  constexpr int kChains = kReach == Reach::far ? 1 : chains_of(Lanes);
  constexpr int kTurn = kReach == Reach::far ? 4 : kChains;  // entries
  constexpr std::ptrdiff_t kRowsAhead = 16;
  const std::ptrdiff_t fetched = kReach == Reach::near ? 0 : count + after - kRowsAhead - kTurn + 1;
  fetch_ahead(count, columns, values);
  Lane sums[kChains][Lanes] = {};
  const auto add = [&](std::ptrdiff_t p, int chain) {
    const Lane v = spread(values[p]);
    const Entry* row = B + columns[p] * b_row;
    for (int c = 0; c < Lanes - 1; ++c) sums[chain][c] += v * load_wide(row + c * kLane);
    sums[chain][Lanes - 1] += v * load_wide(row + last);
  };
  std::ptrdiff_t p = 0;
  for (; p + kTurn <= count; p += kTurn) {
    for (int turn = 0; p < fetched && turn < kTurn; ++turn) {
      fetch_row<Lanes>(B + columns[p + kRowsAhead + turn] * b_row, last);
    }
    for (int turn = 0; turn < kTurn; ++turn) add(p + turn, turn % kChains);
  }
  for (; p < count; ++p) add(p, 0);
  for (int chain = 1; chain < kChains; ++chain) {
    for (int c = 0; c < Lanes; ++c) sums[0][c] += sums[chain][c];
  }
  for (int c = 0; c < Lanes - 1; ++c) store(out + c * kLane, sums[0][c]);
  store(out + last, sums[0][Lanes - 1]);
}

/// Computes out = x^T B for one sparse row x and a contiguous B with fewer columns than a register
/// holds. Each column of B has two scalar sums, to which the entries of x are added in turns.
template <int Columns, class Value, class Entry>
inline void times_few(std::ptrdiff_t count, const std::int32_t* columns, const Value* values,
                      const Entry* B, double* out) {
  fetch_ahead(count, columns, values);
  double sums[2][Columns] = {};
  std::ptrdiff_t p = 0;
  const auto add = [&](int chain) {
    const auto v = static_cast<double>(values[p + chain]);
    const Entry* row = B + std::ptrdiff_t{columns[p + chain]} * Columns;
    for (int c = 0; c < Columns; ++c) sums[chain][c] += v * static_cast<double>(row[c]);
  };
  for (; p + 2 <= count; p += 2) {
    add(0);
    add(1);
  }
  if (p < count) add(0);
  for (int c = 0; c < Columns; ++c) out[c] = sums[0][c] + sums[1][c];
}

/// Returns how many of `count` column indices in rising order are below `first`, by a binary search
/// without branches that the processor cannot predict.
inline std::ptrdiff_t count_below(std::ptrdiff_t count, const std::int32_t* columns,
                                  std::ptrdiff_t first) {
  if (count == 0) return 0;
  const std::int32_t* base = columns;
  for (; count > 1; count -= count / 2) base += base[count / 2 - 1] < first ? count / 2 : 0;
  return base - columns + (*base < first);
}

/// Computes sum[column - first] += value c^T for the entries [p, count) of a row of X with columns
/// below `end`. The first row of `sum` is row `first` of X^T C, and the rows of `sum` are `width`
/// apart. The vector c, a part of a row of C, stays in `Lanes` registers, and one row of `sum` is
/// read and written for every entry.
template <int Lanes, class Value>
inline void add_entries(std::ptrdiff_t p, std::ptrdiff_t count, const std::int32_t* columns,
                        const Value* values, std::ptrdiff_t first, std::ptrdiff_t end,
                        const double* c, double* sum, std::ptrdiff_t width) {
  fetch_ahead(count - p, columns + p, values + p);
  Lane factor[Lanes];
  for (int lane = 0; lane < Lanes; ++lane) factor[lane] = load(c + lane * kLane);
  for (; p < count && columns[p] < end; ++p) {
    const Lane v = spread(values[p]);
    double* row = sum + (columns[p] - first) * width;
    for (int lane = 0; lane < Lanes; ++lane) {
      store(row + lane * kLane, load(row + lane * kLane) + v * factor[lane]);
    }
  }
}

/// Calls body with the number `lanes` of registers, from 1 to kStrip, as a std::integral_constant.
template <class Body>
inline void with_lanes(std::ptrdiff_t lanes, Body&& body) {
  switch (lanes) {
    case 1:
      return body(std::integral_constant<int, 1>{});
    case 2:
      return body(std::integral_constant<int, 2>{});
    case 3:
      return body(std::integral_constant<int, 3>{});
    case 4:
      return body(std::integral_constant<int, 4>{});
    case 5:
      return body(std::integral_constant<int, 5>{});
    case 6:
      return body(std::integral_constant<int, 6>{});
    case 7:
      return body(std::integral_constant<int, 7>{});
    default:
      return body(std::integral_constant<int, kStrip>{});
  }
}

/// Computes X B for a B with k < kLane columns by calling the function compiled for k columns.
/// Recursion from `Columns` upwards finds this function.
template <int Columns, class Value, class Entry>
inline void times_narrow(std::ptrdiff_t k, std::ptrdiff_t rows, const std::int64_t* starts,
                         const std::int32_t* columns, const Value* values, const Entry* B,
                         double* out) {
  if constexpr (Columns < kLane) {
    if (k > Columns) {
      return times_narrow<Columns + 1>(k, rows, starts, columns, values, B, out);
    }
    for (std::ptrdiff_t i = 0; i < rows; ++i) {
      times_few<Columns>(starts[i + 1] - starts[i], columns + starts[i], values + starts[i], B,
                         out + i * kLane);
    }
  }
}

}  // namespace detail

/// Computes out = X B; the columns of `out` beyond k are not written. B is row-major and
/// contiguous. Columns of B are processed in strips whose sums fit into registers. Each strip is
/// completed for all rows of X before the next strip.
template <Reach kReach, class Value, class Entry>
inline void sparse_times(std::ptrdiff_t rows,
                         const std::int64_t* starts,   // (rows + 1,) first entry of each row
                         const std::int32_t* columns,  // within the rows of B
                         const Value* values,
                         const Entry* B,  // (columns, k)
                         std::ptrdiff_t k,
                         double* out,             // (rows, width)
                         std::ptrdiff_t width) {  // k rounded up to a multiple of kLane
  if (k < kLane) return detail::times_narrow<1>(k, rows, starts, columns, values, B, out);
  constexpr std::ptrdiff_t kColumns = detail::kStrip * kLane;
  for (std::ptrdiff_t first = 0; first < k; first += kColumns) {
    const std::ptrdiff_t left = k - first < kColumns ? k - first : kColumns;
    detail::with_lanes((left + kLane - 1) / kLane, [&](auto lanes) {
      // The last register ends where the row of B ends, so this register may overlap the register
      // before it.
      const std::ptrdiff_t last = left - kLane;
      for (std::ptrdiff_t i = 0; i < rows; ++i) {
        detail::times_entries<kReach, decltype(lanes)::value>(
            starts[i + 1] - starts[i], starts[rows] - starts[i + 1], columns + starts[i],
            values + starts[i], B + first, k, last, out + i * width + first);
      }
    });
  }
}

/// Computes out = X u. The entries of a row are added in turns to four partial sums, which are then
/// added in order. The bits of an element of out do not depend on how the rows are split into
/// calls.
template <class Value>
inline void sparse_times(std::ptrdiff_t rows,
                         const std::int64_t* starts,   // (rows + 1,) first entry of each row
                         const std::int32_t* columns,  // of entries
                         const Value* values,          // of entries
                         const double* u,              // (d,)
                         double* out) {                // (rows,)
  constexpr int kChains = detail::chains_of(1);
  for (std::ptrdiff_t i = 0; i < rows; ++i) {
    const std::int32_t* row_columns = columns + starts[i];
    const Value* row_values = values + starts[i];
    const std::ptrdiff_t count = starts[i + 1] - starts[i];
    detail::fetch_ahead(count, row_columns, row_values);
    double sums[kChains] = {};
    const auto add = [&](std::ptrdiff_t p, int chain) {
      sums[chain] += static_cast<double>(row_values[p]) * u[row_columns[p]];
    };
    std::ptrdiff_t p = 0;
    for (; p + kChains <= count; p += kChains) {
      for (int chain = 0; chain < kChains; ++chain) add(p + chain, chain);
    }
    for (; p < count; ++p) add(p, 0);
    for (int chain = 1; chain < kChains; ++chain) sums[0] += sums[chain];
    out[i] = sums[0];
  }
}

/// Computes sum += X^T C for the columns [first, end) of X. Rows of X are processed in order, so
/// every element of `sum` is summed in the order of the rows, however rows and columns are split
/// into calls.
template <class Value>
inline void sparse_combine(std::ptrdiff_t rows,
                           const std::int64_t* starts,   // (rows + 1,) first entry of each row
                           const std::int32_t* columns,  // rising within a row
                           const Value* values, std::ptrdiff_t first, std::ptrdiff_t end,
                           const double* C,         // (rows, width)
                           double* sum,             // (end - first, width)
                           std::ptrdiff_t width) {  // a multiple of kLane
  constexpr std::ptrdiff_t kColumns = detail::kStrip * kLane;
  for (std::ptrdiff_t c = 0; c < width; c += kColumns) {
    const std::ptrdiff_t left = width - c < kColumns ? width - c : kColumns;
    detail::with_lanes(left / kLane, [&](auto lanes) {
      for (std::ptrdiff_t i = 0; i < rows; ++i) {
        const std::int32_t* row_columns = columns + starts[i];
        const std::ptrdiff_t count = starts[i + 1] - starts[i];
        const std::ptrdiff_t p = first == 0 ? 0 : detail::count_below(count, row_columns, first);
        detail::add_entries<decltype(lanes)::value>(p, count, row_columns, values + starts[i],
                                                    first, end, C + i * width + c, sum + c, width);
      }
    });
  }
}

/// Computes sum += X^T s for the columns [first, end) of X. Rows of X are processed in order, so
/// every element of `sum` is summed in the order of the rows, however rows and columns are split
/// into calls.
template <class Value>
inline void sparse_combine(std::ptrdiff_t rows,
                           const std::int64_t* starts,   // (rows + 1,) first entry of each row
                           const std::int32_t* columns,  // rising within a row
                           const Value* values, std::ptrdiff_t first, std::ptrdiff_t end,
                           const double* s,  // (rows,)
                           double* sum) {    // (end - first,)
  for (std::ptrdiff_t i = 0; i < rows; ++i) {
    const std::int32_t* row_columns = columns + starts[i];
    const Value* row_values = values + starts[i];
    const std::ptrdiff_t count = starts[i + 1] - starts[i];
    const std::ptrdiff_t begin = first == 0 ? 0 : detail::count_below(count, row_columns, first);
    const std::ptrdiff_t stop = count > 0 && row_columns[count - 1] < end
                                    ? count
                                    : detail::count_below(count, row_columns, end);
    const double factor = s[i];
    detail::fetch_ahead(stop - begin, row_columns + begin, row_values + begin);
    for (std::ptrdiff_t p = begin; p < stop; ++p) {
      sum[row_columns[p] - first] += factor * static_cast<double>(row_values[p]);
    }
  }
}

/// Computes out += X B for the entries of X in a band of columns, in the order of the entries.
/// Entry p is in row rows[p] of X and multiplies row columns[p] of B. If `out` is zero before the
/// first band, and the bands are processed in order, the bits equal those of sparse_times() for a
/// far B. Rows of B, which are in the L2 cache, and rows of `out`, which may be in any cache, are
/// prefetched.
template <class Value, class Entry>
inline void banded_times(std::ptrdiff_t count, const std::int32_t* rows,
                         const std::uint16_t* columns, const Value* values,
                         const Entry* B,  // (columns of the band, k), k >= kLane
                         std::ptrdiff_t k,
                         double* out,             // (rows of X, width)
                         std::ptrdiff_t width) {  // k rounded up to a multiple of kLane
  constexpr std::ptrdiff_t kColumns = detail::kStrip * kLane, kRowsAhead = 12;
  // The strips are about equally wide, so that each strip fills at least one register. No register
  // may extend into another strip, since the columns in both strips would be added twice.
  const std::ptrdiff_t strips = (k + kColumns - 1) / kColumns;
  for (std::ptrdiff_t strip = 0; strip < strips; ++strip) {
    const std::ptrdiff_t first = strip * k / strips, left = (strip + 1) * k / strips - first;
    detail::with_lanes((left + kLane - 1) / kLane, [&](auto lanes) {
      constexpr int kLanes = decltype(lanes)::value;
      // The last register ends where the strip ends, so this register may overlap the register
      // before it. All registers are therefore read before any register is written.
      const std::ptrdiff_t last = left - kLane;
      const auto column_of = [&](int lane) { return lane < kLanes - 1 ? lane * kLane : last; };
      for (std::ptrdiff_t p = 0; p < count; ++p) {
        if (p + kRowsAhead < count) {
          detail::fetch_row<kLanes>(B + columns[p + kRowsAhead] * k + first, last);
          detail::fetch_row<kLanes>(out + rows[p + kRowsAhead] * width + first, last);
        }
        const Lane v = detail::spread(values[p]);
        const Entry* row = B + columns[p] * k + first;
        double* sum = out + rows[p] * width + first;
        Lane sums[kLanes];
        for (int lane = 0; lane < kLanes; ++lane) {
          sums[lane] = load(sum + column_of(lane)) + v * load_wide(row + column_of(lane));
        }
        for (int lane = 0; lane < kLanes; ++lane) store(sum + column_of(lane), sums[lane]);
      }
    });
  }
}

/// Computes sum += X^T C for the entries of X in a band of columns, in the order of the entries.
/// Entry p is in row rows[p] of X and is added to row columns[p] of `sum`. If `s` is not null, C is
/// s c^T, and a row of C is computed for each entry, since this takes less time than reading the
/// row. The computed elements of C are rounded in the same way as elements of a C in memory. Rows
/// of `sum`, which are in the L2 cache, are prefetched.
template <class Value>
inline void banded_combine(std::ptrdiff_t count, const std::int32_t* rows,
                           const std::uint16_t* columns, const Value* values,
                           const double* s,         // (rows of X,)  or null
                           const double* C,         // (rows of X, width), or c (width,)
                           double* sum,             // (columns of the band, width)
                           std::ptrdiff_t width) {  // a multiple of kLane
  constexpr std::ptrdiff_t kColumns = detail::kStrip * kLane, kRowsAhead = 8;
  if (count == 0) return;
  for (std::ptrdiff_t first = 0; first < width; first += kColumns) {
    const std::ptrdiff_t left = width - first < kColumns ? width - first : kColumns;
    detail::with_lanes(left / kLane, [&](auto lanes) {
      constexpr int kLanes = decltype(lanes)::value;
      Lane c[kLanes];
      for (int lane = 0; lane < kLanes; ++lane) c[lane] = load(C + first + lane * kLane);
      for (std::ptrdiff_t p = 0; p < count; ++p) {
        if (p + kRowsAhead < count) {
          detail::fetch_row<kLanes>(sum + columns[p + kRowsAhead] * width + first,
                                    (kLanes - 1) * kLane);
        }
        const Lane v = detail::spread(values[p]);
        double* out = sum + columns[p] * width + first;
        if (s != nullptr) {
          const Lane scale = detail::spread(s[rows[p]]);
          for (int lane = 0; lane < kLanes; ++lane) {
            store(out + lane * kLane, load(out + lane * kLane) + v * (scale * c[lane]));
          }
        } else {
          const double* row = C + rows[p] * width + first;
          for (int lane = 0; lane < kLanes; ++lane) {
            store(out + lane * kLane, load(out + lane * kLane) + v * load(row + lane * kLane));
          }
        }
      }
    });
  }
}

/// Computes sum += X^T s for the entries of X in a band of columns, in the order of the entries.
/// Entry p is in row rows[p] of X and is added to element columns[p] of `sum`.
template <class Value>
inline void banded_combine(std::ptrdiff_t count, const std::int32_t* rows,
                           const std::uint16_t* columns, const Value* values,
                           const double* s,  // (rows of X,)
                           double* sum) {    // (columns of the band,)
  for (std::ptrdiff_t p = 0; p < count; ++p) {
    sum[columns[p]] += s[rows[p]] * static_cast<double>(values[p]);
  }
}

/// Whether columns are strictly increasing. The loop has no early exit, so that the compiler can
/// vectorise it.
inline bool is_rising(std::ptrdiff_t count, const std::int32_t* columns) {
  bool falls = false;
  for (std::ptrdiff_t p = 1; p < count; ++p) falls |= columns[p] <= columns[p - 1];
  return !falls;
}

/// An entry in the linked list of its column; see list_entries().
struct ListedEntry {
  double value;
  std::int32_t row, next;  // next is -1 at the end of a list
};

/// Inserts the entries of a row, multiplied by `scale`, at the heads of the linked lists of their
/// columns. The entries are stored in entries[at], entries[at + 1] and so on. Returns the index of
/// the next free element of `entries`. With these lists, inner products of sparse rows visit only
/// pairs of entries in the same column.
template <class Value>
inline std::int32_t list_entries(std::ptrdiff_t count, const std::int32_t* columns,
                                 const Value* values, double scale, std::int32_t row,
                                 std::int32_t at, ListedEntry* entries,
                                 std::int32_t* heads) {  // (d,)  first entry of each column, or -1
  for (std::ptrdiff_t p = 0; p < count; ++p, ++at) {
    entries[at] = {scale * static_cast<double>(values[p]), row, heads[columns[p]]};
    heads[columns[p]] = at;
  }
  return at;
}

/// Computes out[j] += scale times the inner product of the given row and row j, for every row j in
/// the lists. For each entry of the given row, the function follows the list of the entry's column,
/// so it takes one operation for each pair of entries in the same column.
template <class Value>
inline void listed_products(std::ptrdiff_t count, const std::int32_t* columns, const Value* values,
                            double scale, const ListedEntry* entries, const std::int32_t* heads,
                            double* out) {
  for (std::ptrdiff_t p = 0; p < count; ++p) {
    const double v = scale * static_cast<double>(values[p]);
    for (std::int32_t e = heads[columns[p]]; e >= 0; e = entries[e].next) {
      out[entries[e].row] += v * entries[e].value;
    }
  }
}

}  // namespace metaspan::kernels
