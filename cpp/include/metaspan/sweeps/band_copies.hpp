// Copies of sparse sets. In a copy the entries are ordered by bands of columns, so that the sweeps
// address few rows of B and of the gradient at a time.
#pragma once

#include <algorithm>
#include <memory>

#include "metaspan/algebra/factors.hpp"
#include "metaspan/algebra/method.hpp"
#include "metaspan/base/cancel.hpp"
#include "metaspan/base/sizes.hpp"
#include "metaspan/data/samples.hpp"

namespace metaspan {

/// Returns the number of columns in a band if the gradient has the shape (d, k).
inline Index columns_of_band(Index k) {
  constexpr Index kMost = 1 << 16;  // columns of BandedRows have 16 bits
  return std::min(kMost, ceil_div(kBandBytes, 8 * padded(k)));
}

/// Returns whether B and the gradient, (d, k), are so large that a random access to one of their
/// rows takes longer than reading an entry of X a second time.
inline bool is_far(Index d, Index k) {
  constexpr Index kFewBands = 16;
  return ceil_div(d, columns_of_band(k)) > kFewBands;
}

/// Returns whether copies make the sweeps faster, for sets that have `entries` entries on average.
/// Copies make the sweeps faster if is_far() holds and if each band of a set has enough entries for
/// the loop over the band to be fast.
inline bool copies_pay(double entries, Index d, Index k) {
  constexpr double kFewEntries = 8;
  const auto bands = static_cast<double>(ceil_div(d, columns_of_band(k)));
  return is_far(d, k) && entries > kFewEntries * bands;
}

/// Returns the bytes of a copy of a set (m, d) with `entries` entries whose values have `number`
/// bytes each.
inline double bytes_of_copy(double entries, Index number, Index d, Index k) {
  const auto bands = static_cast<double>(ceil_div(d, columns_of_band(k)) + 1);
  return entries * static_cast<double>(sizeof(std::int32_t) + sizeof(std::uint16_t) + number) +
         bands * static_cast<double>(sizeof(Index));
}

/// Copies of the sets of a batch. The run owns the copies, and the sets refer to the copies.
template <class Scalar>
using BandCopies = std::vector<std::unique_ptr<const BandedRows<Scalar>>>;

/// Copies the sparse sets that a method uses, and sets the member `banded` of each of these sets to
/// the copy. The copies change the speed of the sweeps, but no bit of the results.
template <class Scalar>
BandCopies<Scalar> copy_by_bands(const Method& method, Index k, TaskSet<Scalar>& tasks, int threads,
                                 Cancel* cancel);

}  // namespace metaspan
