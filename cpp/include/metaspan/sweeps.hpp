// The two sweeps over the data of a round, (5) and (10), for as many columns as B has.
#pragma once

#include "metaspan/blocks.hpp"
#include "metaspan/cancel.hpp"
#include "metaspan/factors.hpp"

namespace metaspan {

/// Rows of a data set and the factors that they are combined with.
template <class XScalar>
struct Part {
  const Samples<XScalar>* set;
  const Factors* C;
};

/// What the algebra needs of one task on the Gram route.
struct TaskBlocks {
  Mat Z_in, Z_out;  // (m, padded)
  Mat K, K_cross;   // (m_in, m_in), (m_out, m_in): MAML
  Factors C_in, C_out;
};

/// Which Grams the first sweep is to supply.
struct Wanted {
  bool K, K_cross;
};

/// Pieces of d that the first sweep of a round of n tasks is cut into, by shape alone.
template <class XScalar>
Index pieces_of(const TaskSet<XScalar>& tasks, Index n);

/// The first sweep, (5), over tasks whose X is in memory: X B and the Grams, not normalised yet.
template <class XScalar, class BScalar>
std::vector<TaskBlocks> first_sweep(const BScalar* B,  // (d, k)
                                    Index k, const TaskSet<XScalar>& tasks, const Taken& taken,
                                    Wanted wanted, Index pieces, int threads, Cancel* cancel);

/// X B alone, of all tasks, wherever their X is.
template <class XScalar, class BScalar>
std::vector<TaskBlocks> features_of_all(const BScalar* B,  // (d, k)
                                        Index k, const TaskSet<XScalar>& tasks, int threads,
                                        Cancel* cancel);

/// The second sweep: out <- [start +] the sum over the parts of X^T C, (10), in their order.
template <class XScalar, class BScalar>
void second_sweep(const std::vector<Part<XScalar>>& parts, Index d, Index k,
                  const BScalar* start,  // (d, k), or null; may be out
                  BScalar* out,          // (d, k)
                  int threads, Cancel* cancel);

}  // namespace metaspan
