#include "metaspan/sweeps/sparse_gram.hpp"

#include <limits>

#include "metaspan/base/error.hpp"

namespace metaspan {

/// Adds the inner products of the sparse rows `a` with the sparse rows `b` to `out`, (a_rows,
/// b_rows): blocks of K and K' of (5). First, the entries of `b` are put into lists, one list for
/// each column. Then, for each entry of a row of `a`, the list of the entry's column is followed,
/// so the cost is proportional to the number of pairs of an entry of `a` and an entry of `b` in the
/// same column. Row i of `out` is summed in the order of the entries of row i of `a`, so the bits
/// of `out` do not depend on the number of threads.
template <class Scalar>
void SparseProducts::add(const SparseRow<Scalar>* a, Index a_rows, const SparseRow<Scalar>* b,
                         Index b_rows, Index d, double* out, Index stride) {
  Index listed = 0;
  for (Index j = 0; j < b_rows; ++j) listed += b[j].count;
  // Entries are linked by 32-bit indices, so that an entry takes only 16 bytes.
  require(listed < std::numeric_limits<std::int32_t>::max(), "too many entries in a block of rows");
  heads_.resize(static_cast<std::size_t>(d), -1);
  entries_.resize(static_cast<std::size_t>(listed));
  std::int32_t at = 0;
  for (Index j = 0; j < b_rows; ++j) {
    at = kernels::list_entries(b[j].count, b[j].columns, b[j].values, b[j].scale,
                               static_cast<std::int32_t>(j), at, entries_.data(), heads_.data());
  }
  for (Index i = 0; i < a_rows; ++i) {
    kernels::listed_products(a[i].count, a[i].columns, a[i].values, a[i].scale, entries_.data(),
                             heads_.data(), out + i * stride);
  }
  // Only the heads of the lists that were used are reset, entry by entry. Resetting all d heads
  // would take more time than the inner products of a small block of rows.
  for (Index j = 0; j < b_rows; ++j) {
    for (Index p = 0; p < b[j].count; ++p) heads_[static_cast<std::size_t>(b[j].columns[p])] = -1;
  }
}

template void SparseProducts::add<float>(const SparseRow<float>*, Index, const SparseRow<float>*,
                                         Index, Index, double*, Index);
template void SparseProducts::add<double>(const SparseRow<double>*, Index, const SparseRow<double>*,
                                          Index, Index, double*, Index);

}  // namespace metaspan
