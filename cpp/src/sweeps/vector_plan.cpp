#include "metaspan/sweeps/vector_plan.hpp"

#include <algorithm>

namespace metaspan {
namespace {

constexpr Index kFewPanels = 8;  // a thread

/// Tasks that meet a piece of B together: more of them where that saves reading B, but no more
/// than keep their vectors in the cache.
Index tasks_together(Index d, Index k) {
  const double numbers = static_cast<double>(k) * static_cast<double>(d);
  const bool short_vectors = kPanelTasks * d <= kShortVectors;
  return short_vectors || numbers > kLargeB ? kPanelTasks : 1;
}

}  // namespace

VectorPlan::VectorPlan(const Method& method, Index d_, Index k_, Index tasks)
    : d(d_),
      k(k_),
      terms(method.terms()),
      inner(method.has_inner_part() ? 0 : method.inner_steps),
      panel(tasks_together(d, k)),
      most(std::min(panel, tasks)) {
  const double task_bytes = 8.0 * static_cast<double>(terms) * static_cast<double>(d);
  block = std::min(
      tasks, std::max(panel, static_cast<Index>(kVectorBlockBytes / task_bytes) / panel * panel));
}

Sharing sharing_of(const VectorPlan& plan, Index n, double task_bytes, bool sparse, int threads) {
  const Index panels = plan.panels(n);
  // Few panels of many entries leave a thread without one: their tasks are shared evenly.
  const bool uneven = sparse && panels % threads != 0 && panels < kFewPanels * threads &&
                      plan.panel > 1 && plan.panel % threads == 0;
  const double bytes = static_cast<double>(plan.panel) * task_bytes;
  const bool side_by_side = bytes <= (uneven ? kUnevenBytes : kPanelBytes) && panels > 1;
  return side_by_side ? Sharing{threads, 1} : Sharing{1, threads};
}

MadeRows made_rows(Index tasks, Index row_bytes, Index most_in, bool again, bool in_blocks) {
  const Index room = std::max<Index>(1, kMadeBytes / (row_bytes * tasks));
  const Index outer = in_blocks ? kRowsAtOnce : std::min(kRowsAtOnce, room);
  const bool stay = again && most_in <= room;
  return {stay ? most_in : outer, outer, stay};
}

double vector_bytes(const VectorPlan& plan, int groups) {
  const Index kept = plan.most * (1 + plan.inner);
  const double vectors = static_cast<double>(plan.k + 1 + plan.block * plan.terms + groups * kept);
  return 8 * vectors * static_cast<double>(plan.d);
}

double vector_memory(const Method& method, const VectorSizes& sizes, int threads) {
  const VectorPlan plan(method, sizes.d, sizes.k, sizes.all_tasks);
  const double task_bytes = sizes.row_bytes * (sizes.m_in + sizes.m_out);
  return vector_bytes(plan, sharing_of(plan, sizes.n, task_bytes, sizes.sparse, threads).groups);
}

SampledMemory sampled_memory(const Method& method, const VectorSizes& sizes, bool in_blocks,
                             int threads) {
  const VectorPlan plan(method, sizes.d, sizes.k, sizes.all_tasks);
  const double task_bytes = sizes.row_bytes * (sizes.m_in + sizes.m_out);
  const int groups = sharing_of(plan, sizes.n, task_bytes, sizes.sparse, threads).groups;
  const MadeRows made = made_rows(plan.most, static_cast<Index>(sizes.row_bytes),
                                  static_cast<Index>(sizes.m_in), method.passes_again(), in_blocks);
  const double rows = static_cast<double>(groups * plan.most * (made.inner + made.outer));
  return {vector_bytes(plan, groups), rows * sizes.row_bytes, made.stay};
}

}  // namespace metaspan
