// The two sweeps, (5) and (10), over sparse data, at a cost of O(k) for each stored entry.
#pragma once

#include "metaspan/base/cancel.hpp"
#include "metaspan/random/round_choice.hpp"
#include "metaspan/sweeps/task_products.hpp"

namespace metaspan {

/// Approximate number of columns that the second sweep samples in order to cut the columns into
/// bands of about equal work.
constexpr Index kBandSamples = 4096;

/// Operations in X^T C for a sparse set: `of_a_term` for the vector X^T s of one term s c^T of C,
/// `of_rows` for one sweep over X that adds a multiple of a row of C for each entry of X.
struct TermWork {
  double of_a_term, of_rows;
};

inline TermWork term_work(double entries, Index d, Index k) {
  constexpr double kEntry = 4;  // work of an entry itself: as much as this many columns of B
  const auto width = static_cast<double>(padded(k));
  return {kEntry * entries + (width / 2 + 2) * static_cast<double>(d), (kEntry + width) * entries};
}

/// Computes on sparse data what first_sweep() computes on dense data. Computing a Gram matrix takes
/// at most one operation for each pair of entries in the same column.
template <class XScalar, class BScalar>
void sparse_first_sweep(const BScalar* B,  // (d, k)
                        Index k, const TaskSet<XScalar>& tasks, const TaskSelection& taken,
                        GramsNeeded needed, int threads, Cancel* cancel,
                        std::vector<TaskProducts>& products);  // out, >= taken.n

/// Computes on sparse data what second_sweep() computes on dense data. `parts` must not be empty,
/// and the X of every part must be sparse. The memory is O(d k + m k).
template <class XScalar, class BScalar>
void sparse_second_sweep(const std::vector<Part<XScalar>>& parts, Index d, Index k,
                         const BScalar* start,  // (d, k), or null; may be out
                         BScalar* out,          // (d, k)
                         int threads, Cancel* cancel);

}  // namespace metaspan
