#include "metaspan/sweeps/band_copies.hpp"

#include "metaspan/base/huge_pages.hpp"
#include "metaspan/base/parallel.hpp"

namespace metaspan {
namespace {

/// Copies a set (m, d) by bands of `width` columns. A counting sort groups the entries by band and
/// keeps their order within a band. An element of X B or X^T C is therefore summed in the same
/// order from the copy as from the rows of the set.
template <class Scalar>
BandedRows<Scalar> copy_set(const Samples<Scalar>& set, Index d, Index width) {
  const SparseRows<Scalar>& X = set.sparse();
  const Index bands = ceil_div(d, width), count = set.entries();
  BandedRows<Scalar> copy{width, {}, {}, {}, {}};
  copy.starts.assign(static_cast<std::size_t>(bands + 1), 0);
  for (Index p = X.starts[0]; p < X.starts[set.m]; ++p) {
    ++copy.starts[static_cast<std::size_t>(X.columns[p] / width + 1)];
  }
  for (std::size_t band = 1; band < copy.starts.size(); ++band) {
    copy.starts[band] += copy.starts[band - 1];
  }
  reserve_huge(copy.rows, count);
  reserve_huge(copy.columns, count);
  reserve_huge(copy.values, count);
  copy.rows.resize(static_cast<std::size_t>(count));
  copy.columns.resize(static_cast<std::size_t>(count));
  copy.values.resize(static_cast<std::size_t>(count));
  std::vector<Index> next(copy.starts.begin(), copy.starts.end() - 1);
  for (Index i = 0; i < set.m; ++i) {
    for (Index p = X.starts[i]; p < X.starts[i + 1]; ++p) {
      const Index band = X.columns[p] / width;
      const auto at = static_cast<std::size_t>(next[static_cast<std::size_t>(band)]++);
      copy.rows[at] = static_cast<std::int32_t>(i);
      copy.columns[at] = static_cast<std::uint16_t>(X.columns[p] - band * width);
      copy.values[at] = X.values[p];
    }
  }
  return copy;
}

}  // namespace

/// Copies the outer sets and, for a method with an inner loop, the inner sets. A set that serves
/// both loops is copied once.
template <class Scalar>
BandCopies<Scalar> copy_by_bands(const Method& method, Index k, TaskSet<Scalar>& tasks, int threads,
                                 Cancel* cancel) {
  std::vector<Samples<Scalar>*> sets;
  for (Index i = 0; i < tasks.size(); ++i) {
    const auto at = static_cast<std::size_t>(i);
    sets.push_back(&tasks.outer[at]);
    if (method.inner_steps > 0 && !tasks.shares(i)) sets.push_back(&tasks.inner[at]);
  }
  BandCopies<Scalar> copies(sets.size());
  parallel_for(threads, static_cast<Index>(sets.size()), cancel, [&](Index s, int) {
    const auto at = static_cast<std::size_t>(s);
    copies[at] = std::make_unique<const BandedRows<Scalar>>(
        copy_set(*sets[at], tasks.d, columns_of_band(k)));
    sets[at]->banded = copies[at].get();
  });
  throw_if_requested(cancel);
  for (Index i = 0; i < tasks.size(); ++i) {
    const auto at = static_cast<std::size_t>(i);
    if (tasks.shares(i)) tasks.inner[at].banded = tasks.outer[at].banded;
  }
  return copies;
}

template BandCopies<float> copy_by_bands(const Method&, Index, TaskSet<float>&, int, Cancel*);
template BandCopies<double> copy_by_bands(const Method&, Index, TaskSet<double>&, int, Cancel*);

}  // namespace metaspan
