#include "metaspan/sweeps/vector_plan.hpp"

#include <algorithm>

#include "normal.hpp"

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

double vector_memory(const Method& method, const DataSizes& sizes, int threads) {
  const VectorPlan plan(method, sizes.d, sizes.k, sizes.all_tasks);
  const Sharing sharing = sharing_of(plan, sizes.n, sizes.task_bytes(), sizes.sparse, threads);
  return vector_bytes(plan, sharing.groups);
}

SampledCost sampled_cost(const Method& method, const DataSizes& sizes, bool in_blocks,
                         int threads) {
  constexpr double kCallsOfRow = 8;  // beside its numbers
  const VectorPlan plan(method, sizes.d, sizes.k, sizes.all_tasks);
  const int groups = sharing_of(plan, sizes.n, sizes.task_bytes(), sizes.sparse, threads).groups;
  const MadeRows made = made_rows(plan.most, static_cast<Index>(sizes.row_bytes()),
                                  static_cast<Index>(sizes.m_in), method.passes_again(), in_blocks);
  const double held = static_cast<double>(groups * plan.most * (made.inner + made.outer));
  // Rows are made for every pass over a set, unless they are still there.
  const int steps = method.inner_steps * (method.has_inner_part() ? 2 : 1);
  const double rows = (made.stay ? std::min(steps, 1) : steps) * sizes.samples_in() +
                      (sizes.shared && made.stay ? 0 : sizes.samples_out());
  const auto row = static_cast<double>(round_up(sizes.d, 2 * kernels::kPairsAtOnce));
  return {vector_bytes(plan, groups),
          held * sizes.row_bytes(),
          2 * 8.0 * static_cast<double>(sizes.d * sizes.k_star),
          made.stay,
          rows * row,
          rows * kCallsOfRow};
}

}  // namespace metaspan
