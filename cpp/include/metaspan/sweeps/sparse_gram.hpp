// Inner products of sparse rows.
#pragma once

#include "metaspan/data/samples.hpp"
#include "sparse.hpp"

namespace metaspan {

/// One sparse row and the scalar that multiplies this row.
template <class Scalar>
struct SparseRow {
  const std::int32_t* columns;
  const Scalar* values;
  Index count;
  double scale;
};

/// Appends the rows of a set to `rows`, in order, and stores `scale` with each row as its factor.
template <class Scalar>
void append_rows(const Samples<Scalar>& set, double scale, std::vector<SparseRow<Scalar>>& rows) {
  const auto& [starts, columns, values] = set.sparse();
  for (Index i = 0; i < set.m; ++i) {
    const std::int64_t at = starts[i];
    rows.push_back({columns + at, values + at, starts[i + 1] - at, scale});
  }
}

/// A thread's memory for inner products of sparse rows: the entries of a block of rows, listed by
/// column.
class SparseProducts {
 public:
  /// Adds the inner product of row i of `a` and row j of `b` to out(i, j), for all i and j. A call
  /// takes one operation for each entry of `a` and of `b`, and one operation for each pair of an
  /// entry of `a` and an entry of `b` in the same column. The first call also takes O(d) time.
  template <class Scalar>
  void add(const SparseRow<Scalar>* a, Index a_rows, const SparseRow<Scalar>* b, Index b_rows,
           Index d,
           double* out,  // (a_rows, b_rows), rows `stride` apart
           Index stride);

 private:
  std::vector<std::int32_t> heads_;  // (d,)  -1 between calls
  std::vector<kernels::ListedEntry> entries_;
};

}  // namespace metaspan
