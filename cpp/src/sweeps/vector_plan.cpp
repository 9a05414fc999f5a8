#include "metaspan/sweeps/vector_plan.hpp"

#include <algorithm>

#include "metaspan/base/shard.hpp"
#include "normal.hpp"

namespace metaspan {
namespace {

/// With fewer panels for each thread than this, unequal numbers of panels leave some threads idle
/// for long.
constexpr Index kFewPanels = 8;

/// Returns how many tasks share one read of each piece of B^T, (11): kPanelTasks tasks, or one
/// task. A panel of several tasks saves reads of B if B is too large for a cache, and has no
/// disadvantage if its vectors of length d are short. In all other cases, the vectors of several
/// tasks would displace each other from the cache.
Index tasks_together(Index d, Index k) {
  const double numbers = static_cast<double>(k) * static_cast<double>(d);
  const bool short_vectors = kPanelTasks * d <= kShortVectors;
  return short_vectors || numbers > kLargeB ? kPanelTasks : 1;
}

/// Returns whether the inner loop is computed from Z = X B, (6), which takes one read of X instead
/// of one pass for each inner step. Z can be used if the inner loop does not move B, and saves time
/// if B has few columns for each pass that Z replaces. For an exact method, Z replaces two passes
/// for each inner step, but one further pass follows. If rows are short, the first pass takes about
/// as long as one read of X. If rows are long, every pass takes as long as two reads of X, since no
/// L2 cache keeps a row until its second use. A method that solves for the head, (26), always needs
/// Z.
bool takes_features(const Method& method, Index d, Index k, Index row_bytes) {
  if (method.solves_head) return true;
  if (method.adapt_B || method.is_attention() || row_bytes == 0 || d < kLeastLong) return false;
  const Index passes = method.inner_passes();
  if (row_bytes > kLongRow) return k <= kLongColumns * passes;
  const Index columns = row_bytes > kNearestBytes ? kLongColumns : kShortColumns;
  return k <= columns * (passes - (method.exact ? 2 : 1));
}

/// Returns the bytes of a dense row of X, or 0 if X is sparse or generated.
Index dense_row_bytes(const DataSizes& sizes) {
  return sizes.sparse || sizes.made ? 0 : static_cast<Index>(sizes.row_bytes());
}

}  // namespace

/// Plans the memory of the vector route for a method and the sizes of a batch. A block stores the
/// gradient terms v c^T, (10), of the tasks of one or more panels, up to kVectorBlockBytes, so that
/// one second sweep adds all of these terms to grad_B. If the gradient has an inner part, the
/// vectors of the inner loop are stored as terms. If the gradient has no inner part, these vectors
/// need separate memory, unless the inner loop is computed from Z. The plan depends on sizes only,
/// never on threads.
VectorPlan::VectorPlan(const Method& method, Index d_, Index k_, Index tasks, Index row_bytes)
    : d(d_),
      k(k_),
      terms(method.terms()),
      features(takes_features(method, d, k, row_bytes)),
      inner(method.has_inner_part() || features ? 0 : method.inner_steps),
      panel(tasks_together(d, k)),
      most(std::min(panel, tasks)) {
  const double task_bytes = 8.0 * static_cast<double>(terms) * static_cast<double>(d);
  block = std::min(
      tasks, std::max(panel, static_cast<Index>(kVectorBlockBytes / task_bytes) / panel * panel));
}

/// Decides whether each thread takes separate panels or all threads share each panel. Separate
/// panels need no synchronisation, but the tasks of several panels then compete for the caches, so
/// panels of large tasks are shared. Panels of sparse tasks are also shared if there are few panels
/// and their number is not a multiple of the number of threads, since the entries of each panel can
/// be divided evenly among threads. The bits do not depend on this choice.
Sharing sharing_of(const VectorPlan& plan, Index n, double task_bytes, bool sparse, int threads) {
  const Index panels = plan.panels(n);
  // If there are few panels and each has many entries, some threads would be idle, so all threads
  // share each panel.
  const bool uneven = sparse && panels % threads != 0 && panels < kFewPanels * threads &&
                      plan.panel > 1 && plan.panel % threads == 0;
  const double bytes = static_cast<double>(plan.panel) * task_bytes;
  const bool side_by_side = bytes <= (uneven ? kUnevenBytes : kPanelBytes) && panels > 1;
  return side_by_side ? Sharing{threads, 1} : Sharing{1, threads};
}

/// Returns how many rows of X, each of `whole_row` bytes over the columns of all processes, a pass
/// multiplies by u before it multiplies the same rows by their residuals. The rows are used twice,
/// for X u and for X^T r, and should still be in a cache at the second use. The cache is the L2
/// cache if kRowsAtOnce rows fit in half of it, otherwise a thread's share of the L3 cache. Rows
/// too long for any cache are read from memory twice. A thread that works alone takes fewer rows,
/// of which the L1 cache holds a part. Threads that share a pass take more rows, since they wait
/// for each other after every block of rows, and so do processes, which all take the same number. A
/// number below kRowsAtOnce affects the last bits of X u, so it depends on whole rows; sums in
/// single precision are over the rows of a block, so then no number depends on threads or
/// processes.
Index rows_at_a_time(Index whole_row, bool in_float32, Index ranks, int threads) {
  const Index near = kNearBytes / whole_row / kRowsAtOnce;
  for (Index rows = kRowsAtOnce; near == 0 && rows > 1; rows /= 2) {
    if (rows * whole_row > kFarBytes) continue;
    if (rows < kRowsAtOnce) return rows;
    break;
  }
  const bool alone = ranks == 1 && threads == 1;
  const Index room = alone && !in_float32 ? kNearestBytes : kNearBytes;
  const Index row = in_float32 ? whole_row : ceil_div(whole_row, ranks);
  return std::max(room / row / kRowsAtOnce * kRowsAtOnce, kRowsAtOnce);
}

/// Returns how many rows of X a task holds when rows are generated, (12). If the algebra passes
/// over an inner set more than once, and the whole inner sets of a panel fit in kMadeBytes, every
/// inner set is generated once and kept. In all other cases each pass generates the rows again, in
/// blocks. If a source supplies rows in blocks, a block has kRowsAtOnce rows even if these rows
/// take more than kMadeBytes.
HeldRows held_rows(Index tasks, Index row_bytes, Index most_in, bool again, bool in_blocks) {
  const Index room = std::max<Index>(1, kMadeBytes / (row_bytes * tasks));
  const Index outer = in_blocks ? kRowsAtOnce : std::min(kRowsAtOnce, room);
  const bool stay = again && most_in <= room;
  return {stay ? most_in : outer, outer, stay};
}

/// Returns the bytes of the vectors of length d that a route holds: B^T and B w, the terms of a
/// block, and for each group of threads the vectors u and the inner vectors of its largest panel.
double vector_bytes(const VectorPlan& plan, int groups) {
  const Index kept = plan.most * (1 + plan.inner);
  const double vectors = static_cast<double>(plan.k + 1 + plan.block * plan.terms + groups * kept);
  return 8 * vectors * static_cast<double>(plan.d);
}

VectorPlan plan_of(const Method& method, const DataSizes& sizes) {
  return {method, sizes.d, sizes.k, sizes.all_tasks, dense_row_bytes(sizes)};
}

/// Returns the bytes of the vectors for rounds on stored samples, computed from the same plan and
/// the same sharing that the route itself uses, so that the estimate equals the memory of the
/// route.
double vector_memory(const Method& method, const DataSizes& sizes, int threads) {
  const VectorPlan plan = plan_of(method, sizes);
  const Sharing sharing = sharing_of(plan, sizes.n, sizes.task_bytes(), sizes.sparse, threads);
  double bytes = vector_bytes(plan, sharing.groups);
  if (plan.features) {
    // Adds the memory for Z, and for the partial sums of Z for a block of rows.
    const double parts = std::min(sizes.m_in, static_cast<double>(kFeatureRows)) *
                         static_cast<double>(Shard(plan.d).pieces(kVectorPiece).count);
    bytes += 8 * static_cast<double>(sharing.groups * plan.most * plan.k) * (sizes.m_in + parts);
  }
  return bytes;
}

/// Returns the cost of generating rows for rounds on sampled tasks, (12), and the bytes that are
/// held. Measurements show that generating a row takes the time of kCallsOfRow kernel calls in
/// addition to drawing its random numbers. The number of random numbers is rounded up to a multiple
/// of how many a kernel draws at a time.
SampledCost sampled_cost(const Method& method, const DataSizes& sizes, bool in_blocks, int threads,
                         bool with_xi) {
  constexpr double kCallsOfRow = 8;
  const VectorPlan plan(method, sizes.d, sizes.k, sizes.all_tasks, 0);
  const int groups = sharing_of(plan, sizes.n, sizes.task_bytes(), sizes.sparse, threads).groups;
  const HeldRows made = held_rows(plan.most, static_cast<Index>(sizes.row_bytes()),
                                  static_cast<Index>(sizes.m_in), method.passes_again(), in_blocks);
  const double held = static_cast<double>(groups * plan.most * (made.inner + made.outer));
  // Rows are generated in every pass over a set, except rows that are still held from an earlier
  // pass.
  const int passes = method.inner_passes();
  double rows = (made.stay ? std::min(passes, 1) : passes) * sizes.samples_in() +
                (sizes.shared && made.stay ? 0 : sizes.samples_out());
  // xi is generated for every residual: once for all inner residuals if they are computed from Z.
  const int residuals =
      std::max(method.outer_terms(), 1) + (plan.features ? 1 : method.inner_steps);
  if (with_xi) rows += residuals * static_cast<double>(sizes.n);
  const auto row = static_cast<double>(round_up(sizes.d, 2 * kernels::kPairsAtOnce));
  double vectors = vector_bytes(plan, groups);
  // Adds the memory for Z and, for each row, its element of -X theta and its radius.
  if (plan.features) {
    vectors += 8 * static_cast<double>(groups * plan.most * (plan.k + 2)) * sizes.m_in;
  }
  return {vectors,
          held * sizes.row_bytes(),
          2 * 8.0 * static_cast<double>(sizes.d * sizes.k_star),
          made.stay,
          rows * row,
          rows * kCallsOfRow};
}

}  // namespace metaspan
