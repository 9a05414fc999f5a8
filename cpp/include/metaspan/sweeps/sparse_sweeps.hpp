// The two sweeps, (5) and (10), over data of which only the entries are stored: O(k) an entry.
#pragma once

#include "metaspan/base/cancel.hpp"
#include "metaspan/random/round_choice.hpp"
#include "metaspan/sweeps/task_products.hpp"

namespace metaspan {

/// X^T C of a sparse set, in operations: as a vector X^T s for a term of C, and by rows of C.
struct TermWork {
  double of_a_term, of_rows;
};

inline TermWork term_work(double entries, Index d, Index k) {
  constexpr double kEntry = 4;  // of an entry itself, in columns of B
  const auto width = static_cast<double>(padded(k));
  return {kEntry * entries + (width / 2 + 2) * static_cast<double>(d), (kEntry + width) * entries};
}

/// As first_sweep. Grams cost an operation for each pair of entries in the same column, at most.
template <class XScalar, class BScalar>
void sparse_first_sweep(const BScalar* B,  // (d, k)
                        Index k, const TaskSet<XScalar>& tasks, const TaskSelection& taken,
                        GramsNeeded needed, int threads, Cancel* cancel,
                        std::vector<TaskProducts>& products);  // out, >= taken.n

/// As second_sweep; the parts are sparse, at least one. Memory O(d k + m k).
template <class XScalar, class BScalar>
void sparse_second_sweep(const std::vector<Part<XScalar>>& parts, Index d, Index k,
                         const BScalar* start,  // (d, k), or null; may be out
                         BScalar* out,          // (d, k)
                         int threads, Cancel* cancel);

}  // namespace metaspan
