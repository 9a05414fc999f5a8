// The index type and integer rounding. Device code includes this header, so the header does not
// include Eigen.
#pragma once

#include <cstddef>

#include "metaspan/base/host_device.hpp"

namespace metaspan {

/// Signed type of every size and index.
using Index = std::ptrdiff_t;

/// a / b rounded up, for a >= 0 and b > 0.
METASPAN_HD constexpr Index ceil_div(Index a, Index b) { return (a + b - 1) / b; }
/// The least multiple of `multiple` that is at least a.
METASPAN_HD constexpr Index round_up(Index a, Index multiple) {
  return ceil_div(a, multiple) * multiple;
}

}  // namespace metaspan
