// Bands of columns, into which sweeps over sparse data are divided among threads.
#pragma once

#include <algorithm>

#include "metaspan/base/base.hpp"

namespace metaspan {

/// Cuts the columns 0 to d into `count` bands, each of which has about the same number of the
/// sampled columns, and returns the edges of the bands. The edges are found by selection, which
/// takes less time than sorting the sampled columns.
inline std::vector<Index> edges_at_equal_ranks(std::vector<Index> sampled, Index count, Index d) {
  std::vector<Index> edges{0};
  auto cut = sampled.begin();
  for (Index band = 1; band < count; ++band) {
    const auto next = sampled.begin() + band * static_cast<Index>(sampled.size()) / count;
    std::nth_element(cut, next, sampled.end());
    edges.push_back(*next);
    cut = next;
  }
  edges.push_back(d);
  return edges;
}

}  // namespace metaspan
