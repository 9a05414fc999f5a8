// Products with rows of which only entries are stored: their columns in rising order, and values.
// Everything but the values in double, in an order that the entries alone decide. Serial; pointers
// and shapes alone.
#pragma once

#include <type_traits>

#include "sweep.hpp"

namespace metaspan::kernels {

namespace detail {

constexpr int kStrip = 8;  // registers of a row of B or C at a time, at most

/// Sums that additions take turns at, so that they do not wait for each other.
constexpr int chains_of(int lanes) { return lanes > 6 ? 1 : lanes > 3 ? 12 / lanes : 4; }

/// Asks for the entries some way behind those of a row: where rows of B, or numbers of u, are
/// fetched from all over, hardware does not see that the entries come one after the other.
template <class Value>
inline void fetch_ahead(std::ptrdiff_t count, const std::int32_t* columns, const Value* values) {
  constexpr std::ptrdiff_t kAhead = 512;  // entries
  constexpr std::ptrdiff_t kLine = 64;    // bytes
  constexpr auto kValues = kLine / static_cast<std::ptrdiff_t>(sizeof(Value));
  constexpr auto kColumns = kLine / static_cast<std::ptrdiff_t>(sizeof *columns);
  for (std::ptrdiff_t p = 0; p < count; p += kValues) __builtin_prefetch(values + p + kAhead);
  for (std::ptrdiff_t p = 0; p < count; p += kColumns) __builtin_prefetch(columns + p + kAhead);
}

template <class Value>
inline Lane spread(Value value) {
  return static_cast<double>(value) - Lane{};
}

/// out = x^T B for `Lanes` registers of columns, of which the last one begins at `last`.
template <int Lanes, class Value, class Entry>
inline void times_entries(std::ptrdiff_t count, const std::int32_t* columns, const Value* values,
                          const Entry* B, std::ptrdiff_t b_row, std::ptrdiff_t last, double* out) {
  constexpr int kChains = chains_of(Lanes);
  fetch_ahead(count, columns, values);
  Lane sums[kChains][Lanes] = {};
  const auto add = [&](std::ptrdiff_t p, int chain) {
    const Lane v = spread(values[p]);
    const Entry* row = B + columns[p] * b_row;
    for (int c = 0; c < Lanes - 1; ++c) sums[chain][c] += v * load_wide(row + c * kLane);
    sums[chain][Lanes - 1] += v * load_wide(row + last);
  };
  std::ptrdiff_t p = 0;
  for (; p + kChains <= count; p += kChains) {
    for (int chain = 0; chain < kChains; ++chain) add(p + chain, chain);
  }
  for (; p < count; ++p) add(p, 0);
  for (int chain = 1; chain < kChains; ++chain) {
    for (int c = 0; c < Lanes; ++c) sums[0][c] += sums[chain][c];
  }
  for (int c = 0; c < Lanes - 1; ++c) store(out + c * kLane, sums[0][c]);
  store(out + last, sums[0][Lanes - 1]);
}

/// The same for fewer columns than a register holds.
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

/// How many of some rising columns are below `first`: a search whose steps do not depend on them.
inline std::ptrdiff_t count_below(std::ptrdiff_t count, const std::int32_t* columns,
                                  std::ptrdiff_t first) {
  if (count == 0) return 0;
  const std::int32_t* base = columns;
  for (; count > 1; count -= count / 2) base += base[count / 2 - 1] < first ? count / 2 : 0;
  return base - columns + (*base < first);
}

/// sum[column - first] += value c^T over the entries from p on with columns below `end`.
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

/// Calls body with the number of registers as a type, from 1 to kStrip.
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

/// out = X B, without the columns of `out` beyond k.
template <class Value, class Entry>
inline void sparse_times(std::ptrdiff_t rows,
                         const std::int64_t* starts,   // (rows + 1,) of rows in the next two
                         const std::int32_t* columns,  // within the rows of B
                         const Value* values,
                         const Entry* B,  // (columns, k)
                         std::ptrdiff_t k,
                         double* out,             // (rows, width)
                         std::ptrdiff_t width) {  // k up to a multiple of kLane
  if (k < kLane) return detail::times_narrow<1>(k, rows, starts, columns, values, B, out);
  constexpr std::ptrdiff_t kColumns = detail::kStrip * kLane;
  for (std::ptrdiff_t first = 0; first < k; first += kColumns) {
    const std::ptrdiff_t left = k - first < kColumns ? k - first : kColumns;
    detail::with_lanes((left + kLane - 1) / kLane, [&](auto lanes) {
      // The last register ends with the row, where the next to last may have been already.
      const std::ptrdiff_t last = left - kLane;
      for (std::ptrdiff_t i = 0; i < rows; ++i) {
        detail::times_entries<decltype(lanes)::value>(starts[i + 1] - starts[i],
                                                      columns + starts[i], values + starts[i],
                                                      B + first, k, last, out + i * width + first);
      }
    });
  }
}

/// out = X u.
template <class Value>
inline void sparse_times(std::ptrdiff_t rows,
                         const std::int64_t* starts,   // (rows + 1,) of rows in the next two
                         const std::int32_t* columns,  // of entries
                         const Value* values,          // of entries
                         const double* u,              // (d,)
                         double* out) {                // (rows,)
  constexpr int kChains = detail::chains_of(1);
  for (std::ptrdiff_t i = 0; i < rows; ++i) {
    const std::int32_t* own = columns + starts[i];
    const Value* value = values + starts[i];
    const std::ptrdiff_t count = starts[i + 1] - starts[i];
    detail::fetch_ahead(count, own, value);
    double sums[kChains] = {};
    const auto add = [&](std::ptrdiff_t p, int chain) {
      sums[chain] += static_cast<double>(value[p]) * u[own[p]];
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

/// sum += X^T C for the columns [first, end) of X.
template <class Value>
inline void sparse_combine(std::ptrdiff_t rows,
                           const std::int64_t* starts,   // (rows + 1,) of rows in the next two
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
        const std::int32_t* own = columns + starts[i];
        const std::ptrdiff_t count = starts[i + 1] - starts[i];
        const std::ptrdiff_t p = first == 0 ? 0 : detail::count_below(count, own, first);
        detail::add_entries<decltype(lanes)::value>(p, count, own, values + starts[i], first, end,
                                                    C + i * width + c, sum + c, width);
      }
    });
  }
}

/// sum += X^T s for the columns [first, end) of X.
template <class Value>
inline void sparse_combine(std::ptrdiff_t rows,
                           const std::int64_t* starts,   // (rows + 1,) of rows in the next two
                           const std::int32_t* columns,  // rising within a row
                           const Value* values, std::ptrdiff_t first, std::ptrdiff_t end,
                           const double* s,  // (rows,)
                           double* sum) {    // (end - first,)
  for (std::ptrdiff_t i = 0; i < rows; ++i) {
    const std::int32_t* own = columns + starts[i];
    const Value* value = values + starts[i];
    const std::ptrdiff_t count = starts[i + 1] - starts[i];
    const std::ptrdiff_t begin = first == 0 ? 0 : detail::count_below(count, own, first);
    const std::ptrdiff_t stop =
        count > 0 && own[count - 1] < end ? count : detail::count_below(count, own, end);
    const double factor = s[i];
    detail::fetch_ahead(stop - begin, own + begin, value + begin);
    for (std::ptrdiff_t p = begin; p < stop; ++p) {
      sum[own[p] - first] += factor * static_cast<double>(value[p]);
    }
  }
}

/// Whether columns rise from one to the next.
inline bool is_rising(std::ptrdiff_t count, const std::int32_t* columns) {
  bool falls = false;
  for (std::ptrdiff_t p = 1; p < count; ++p) falls |= columns[p] <= columns[p - 1];
  return !falls;
}

/// An entry of a row in the list of its column.
struct ListedEntry {
  double value;
  std::int32_t row, next;  // -1: the last one
};

/// Puts the entries of a row, `scale` times, before those that are in the lists of their columns.
/// Returns the number of the next entry.
template <class Value>
inline std::int32_t list_entries(std::ptrdiff_t count, const std::int32_t* columns,
                                 const Value* values, double scale, std::int32_t row,
                                 std::int32_t at, ListedEntry* entries,
                                 std::int32_t* heads) {  // by column, the first entry or -1
  for (std::ptrdiff_t p = 0; p < count; ++p, ++at) {
    entries[at] = {scale * static_cast<double>(values[p]), row, heads[columns[p]]};
    heads[columns[p]] = at;
  }
  return at;
}

/// out[j] += scale times the product of a row with each row j that is in the lists.
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
