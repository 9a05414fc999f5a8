// The rows of a sparse X, and copies of them in other orders.
#pragma once

#include <cstdint>
#include <vector>

#include "metaspan/base/index.hpp"

namespace metaspan {

/// The entries of a sparse X. Row i has the entries [starts[i], starts[i + 1]), sorted by column.
template <class Scalar>
struct SparseRows {
  const std::int64_t* starts;   // (m + 1,)
  const std::int32_t* columns;  // of the entries
  const Scalar* values;         // of the entries

  Index entries(Index m) const { return starts[m] - starts[0]; }
};

/// A copy of a sparse set (m, d) whose entries are grouped by bands of columns, and within a band
/// ordered by row. An L2 cache holds the rows of X^T C for one band.
template <class Scalar>
struct BandedRows {
  Index width;                         // columns of a band; the last one may have fewer
  std::vector<Index> starts;           // (bands + 1,)  first entry of each band
  std::vector<std::int32_t> rows;      // of the entries
  std::vector<std::uint16_t> columns;  // of the entries, counted from the first of their band
  std::vector<Scalar> values;          // of the entries
};

/// A copy of a sparse set (m, d) that is cut at the leaves of a Shard: for each leaf of this
/// process, the entries of the rows in its columns, which count from the first column of the leaf.
template <class Scalar>
struct LeafRows {
  std::vector<Index> begins;                      // (leaves + 1,)  columns at which leaves begin
  std::vector<std::vector<std::int64_t>> starts;  // (leaves, m + 1)
  std::vector<std::int32_t> columns;              // of the entries
  std::vector<Scalar> values;                     // of the entries

  Index count() const { return static_cast<Index>(starts.size()); }
  Index begin(Index leaf) const { return begins[static_cast<std::size_t>(leaf)]; }
  Index size(Index leaf) const { return begin(leaf + 1) - begin(leaf); }
  SparseRows<Scalar> rows(Index leaf) const {
    return {starts[static_cast<std::size_t>(leaf)].data(), columns.data(), values.data()};
  }
};

}  // namespace metaspan
