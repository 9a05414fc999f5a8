// Bands of columns that threads share in sweeps over sparse data.
#pragma once

#include <algorithm>

#include "metaspan/base/base.hpp"

namespace metaspan {

/// Returns the edges, from 0 to d, of `count` bands that hold about equally many of the sampled
/// columns. The edges are found by selection, which takes less time than sorting.
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
