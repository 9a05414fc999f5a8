// Rounds of the collapsed engine on a device, (16)-(18): the random numbers of all columns, the
// algebra on them, and the sums of the tasks in the span. See cuda/collapsed.hpp for the layout.
#include "metaspan/cuda/collapsed.hpp"

#include "collapsed_columns.cuh"
#include "errors.hpp"
#include "metaspan/algebra/attention_impl.hpp"
#include "metaspan/algebra/contributions_impl.hpp"
#include "metaspan/algebra/task_algebra_impl.hpp"
#include "metaspan/in_law/off_span_impl.hpp"
#include "metaspan/in_law/row_radii.hpp"
#include "metaspan/in_law/sample_passes_impl.hpp"
#include "normal.cuh"
#include "parts.hpp"

namespace metaspan::cuda {
namespace {

constexpr int kThreads = 64;  // of a block, which takes two panels at a time
constexpr Index kWarps = kThreads / kPanelColumns;
constexpr std::uint32_t kInner = 0, kOuter = 1, kXi = 2;  // sets, as words of the counter

using Design = SampleDesign<TaskColumn>;
using Algebra = PanelAlgebra<Design>;

/// The rows of a column of the workspace.
struct Rows {
  Index inner, outer, xi;                     // numbers of the sets
  Index inner_radii, outer_radii;             // radii of their rows
  Index theta;                                // (inside() or k_star)
  Index u, vectors, basis, products, factor;  // see SampleDesign::Memory
  Index algebra;                              // see AlgebraLayout
  Index count;
};

/// Returns the layout of the algebra of a part.
AlgebraLayout layout_of(const CollapsedPart& part) {
  const SampleView& shape = part.shape;
  return {part.method, part.k, shape.rows_of(shape.inner),
          shape.rows_of(part.shared ? shape.inner : shape.outer)};
}

Rows rows_of(const CollapsedPart& part) {
  const SampleView& shape = part.shape;
  const Index slots = part.method.slots(), k = part.k;
  const Index longest = longest_off_span(shape, part.shared);
  const bool scaled = part.radius.kind != RadiusLaw::Kind::none;
  Index next = 0;
  const auto take = [&next](Index count) {
    const Index first = next;
    next += count;
    return first;
  };
  Rows rows{};
  rows.inner = take(shape.inner.numbers);
  rows.outer = take(part.shared ? 0 : shape.outer.numbers);
  rows.xi = take(part.spread > 0 ? shape.spread.numbers : 0);
  rows.inner_radii = take(scaled ? shape.inner.row_count : 0);
  rows.outer_radii = take(scaled && !part.shared ? shape.outer.row_count : 0);
  rows.theta = take(part.spread > 0 ? shape.inside() : part.k_star);
  rows.u = take(shape.columns());
  rows.vectors = take(slots * shape.columns());
  rows.basis = take(slots * longest > k ? slots * longest : k);
  rows.products = take(slots * slots);
  rows.factor = take(slots * k);
  rows.algebra = take(layout_of(part).rows);
  rows.count = next;
  return rows;
}

/// One set of samples of all columns.
struct SetPart {
  SetView set;
  std::uint32_t number;
  Index numbers, radii;  // rows of the workspace
};

/// A column of a part: its trial and its task.
struct Column {
  Index trial, task;
  __device__ Column(const CollapsedPart& part, Index c)
      : trial(part.first_trial + c / part.tasks), task(part.first_task + c % part.tasks) {}
  __device__ Key key(const CollapsedPart& part) const {
    return {{part.keys[2 * trial], part.keys[2 * trial + 1]}};
  }
};

/// Draws the standard normals of a set, (16), with the counters of draw_set(): a warp draws one
/// pair of rows of a panel at a time.
__global__ void __launch_bounds__(kThreads)
    draw_normals(CollapsedPart part, SetPart set, Index rows, double* workspace) {
  const Index lane = threadIdx.x % kPanelColumns, pairs = (set.set.numbers + 1) / 2;
  const Index warps = gridDim.x * kWarps, panels = part.panels();
  for (Index item = blockIdx.x * kWarps + threadIdx.x / kPanelColumns; item < panels * pairs;
       item += warps) {
    const Index panel = item / pairs, pair = item % pairs, c = panel * kPanelColumns + lane;
    if (c >= part.columns()) continue;
    const Column column(part, c);
    const Pair normals = normals_of_panel(column.key(part), static_cast<std::uint32_t>(column.task),
                                          static_cast<std::uint32_t>(pair), set.number);
    double* out = workspace + (panel * rows + set.numbers + 2 * pair) * kPanelColumns + lane;
    out[0] = normals.even;
    if (2 * pair + 1 < set.set.numbers) out[kPanelColumns] = normals.odd;
  }
}

/// Replaces the normals at the places of the roots by the roots of chi-squares, as draw_set() does:
/// a warp replaces one row of a panel at a time.
__global__ void __launch_bounds__(kThreads)
    draw_roots(CollapsedPart part, SetPart set, Index rows, double* workspace) {
  const Index lane = threadIdx.x % kPanelColumns, roots = set.set.root_count;
  const Index warps = gridDim.x * kWarps, panels = part.panels();
  for (Index item = blockIdx.x * kWarps + threadIdx.x / kPanelColumns; item < panels * roots;
       item += warps) {
    const Index panel = item / roots, i = item % roots, c = panel * kPanelColumns + lane;
    if (c >= part.columns()) continue;
    const Column column(part, c);
    const RootShape root = set.set.roots[i];
    double* x = workspace + (panel * rows + set.numbers + root.at) * kPanelColumns + lane;
    const double chi_square =
        chi_square_of_panel(column.key(part), static_cast<std::uint32_t>(column.task),
                            static_cast<std::uint32_t>(i), set.number, root.dof, *x);
    *x = std::sqrt(chi_square);
  }
}

/// Returns the numbers of a set of a column, after multiplying the rows of elliptical features by
/// their radii, (19).
__device__ Design::Numbers scaled_numbers(const CollapsedPart& part, const SetPart& set,
                                          double* column) {
  double* numbers = column + set.numbers * kPanelColumns;
  double* radii = nullptr;
  if (part.radius.kind != RadiusLaw::Kind::none && !set.set.infinite) {
    radii = column + set.radii * kPanelColumns;
    scale_rows<TaskColumn::Columns>(part.radius, set.set, numbers, radii);
  }
  const double* beyond = set.set.beyond < 0 ? nullptr : numbers + set.set.beyond * kPanelColumns;
  return {numbers, radii, beyond};
}

/// Writes theta of a column, (33), and returns how many rows it has: the head and, with xi, its
/// coordinates.
__device__ Index write_theta(const CollapsedPart& part, const Column& column, const double* xi,
                             double* theta) {
  const double* head = part.heads + (column.trial * part.n + column.task) * part.k_star;
  const Index known = part.spread > 0 ? part.shape.inside() : part.k_star;
  for (Index i = 0; i < known; ++i) {
    const double part_of_xi = part.spread > 0 ? part.spread * xi[i * kPanelColumns] : 0;
    theta[i * kPanelColumns] = i < part.k_star ? part_of_xi + head[i] : part_of_xi;
  }
  return known;
}

/// Copies `count` rows of a column to the results.
__device__ void copy_rows(Index count, const double* from, double* to) {
  for (Index i = 0; i < count; ++i) to[i * kPanelColumns] = from[i * kPanelColumns];
}

/// Writes the results of a column after the algebra: the factors of its part off the span, the
/// squared norm of the rest, the losses and w_J.
__device__ void write_results(const CollapsedPart& part, const CollapsedResults& layout,
                              Design& design, const Algebra& algebra, double* results) {
  for (int i = 0; i < part.groups; ++i) {
    const Design::Factor factor = design.off_span(part.group[i]);
    copy_rows(factor.rows * part.k, factor.values, results + layout.factor[i] * kPanelColumns);
  }
  if (part.squares) {
    double square = 0, of_w = 0;
    design.squares(&square);
    TaskColumn::Columns::dot(part.method.parameters(part.k), algebra.grad_w(), algebra.grad_w(),
                             &of_w);
    results[layout.squares * kPanelColumns] = square + of_w;
  }
  for (int which = 0; part.losses && which < 3; ++which) {
    results[(layout.losses + which) * kPanelColumns] =
        *algebra.loss(static_cast<Algebra::Loss>(which));
  }
  if (part.adapted) {
    copy_rows(part.k, algebra.adapted(), results + layout.adapted * kPanelColumns);
  }
}

/// Runs the algebra, (5)-(10), on the samples of every column; a thread serves a column.
__global__ void __launch_bounds__(kThreads)
    run_columns(CollapsedPart part, Rows rows, AlgebraLayout layout, CollapsedResults places,
                double* workspace, double* results) {
  const Index lane = threadIdx.x % kPanelColumns, panels = part.panels();
  for (Index panel = blockIdx.x * kWarps + threadIdx.x / kPanelColumns; panel < panels;
       panel += gridDim.x * kWarps) {
    const Index c = panel * kPanelColumns + lane;
    if (c >= part.columns()) continue;
    double* own = workspace + panel * rows.count * kPanelColumns + lane;
    const auto at = [own](Index row) { return own + row * kPanelColumns; };
    const Column column(part, c);
    const SetPart inner{part.shape.inner, kInner, rows.inner, rows.inner_radii};
    const SetPart outer{part.shape.outer, kOuter, rows.outer, rows.outer_radii};
    const Index known = write_theta(part, column, at(rows.xi), at(rows.theta));
    Algebra algebra(part.method, layout, at(rows.algebra));
    Design design(
        part.method,
        {part.Z + column.trial * part.shape.D * part.k, part.k, at(rows.theta), known, 1,
         part.noise, part.shape, scaled_numbers(part, inner, own),
         part.shared ? Design::Numbers{} : scaled_numbers(part, outer, own), part.shared},
        {at(rows.u), at(rows.vectors), at(rows.basis), at(rows.products), at(rows.factor)}, layout,
        algebra.workspace());
    algebra.gradient(design, part.w + column.trial * layout.parameters, part.losses);
    write_results(part, places, design, algebra,
                  results + panel * places.rows * kPanelColumns + lane);
  }
}

/// The tasks of a piece of a trial that belong to a part, as columns [first, last) of the part.
struct PieceColumns {
  Index first, last;
  __device__ PieceColumns(const CollapsedPart& part, Index trial, Index piece, Index pieces) {
    constexpr Index kWidth = 8;  // tasks of a panel on the CPU; a piece has whole panels
    const Index panels = (part.n + kWidth - 1) / kWidth;
    const Index begin = piece * panels / pieces * kWidth;
    const Index end = (piece + 1) * panels / pieces * kWidth;
    const Index last_task = part.first_task + part.tasks;
    const Index from = begin > part.first_task ? begin : part.first_task;
    const Index to = end < last_task ? end : last_task;
    first = trial * part.tasks + from - part.first_task;
    last = from < to ? first + to - from : first;
  }
};

/// Returns the first row of the vector of a slot, see SampleDesign::vector().
__device__ Index row_of(const CollapsedPart& part, const Rows& rows, const AlgebraLayout& layout,
                        int slot) {
  const bool outer = is_outer_slot(slot, layout.steps) && !part.shared;
  const bool infinite = outer ? part.shape.outer.infinite : part.shape.inner.infinite;
  if (infinite) return rows.algebra + layout.of_slot(slot);
  return rows.vectors + slot * part.shape.columns();
}

/// Adds the tasks of the pieces in their order, (10): a thread adds the terms of one number of G,
/// or of g_w, task by task, and all terms of a task before those of the next. Therefore the bits do
/// not depend on how rounds are cut into parts.
__global__ void __launch_bounds__(kThreads)
    add_terms(CollapsedPart part, Rows rows, AlgebraLayout layout, const double* workspace,
              const double* scales, Index pieces, double* G, double* g_w) {
  const Index k = part.k, numbers = part.shape.D * k, terms = part.method.terms();
  const Index each = numbers + layout.parameters, items = part.trials * pieces * each;
  for (Index item = blockIdx.x * Index{kThreads} + threadIdx.x; item < items;
       item += gridDim.x * Index{kThreads}) {
    const Index number = item % each, piece = item / each % pieces, trial = item / each / pieces;
    const PieceColumns columns(part, trial, piece, pieces);
    if (columns.first >= columns.last) continue;
    const Index sums = (part.first_trial + trial) * pieces + piece;
    const bool in_B = number < numbers;
    const Index i = in_B ? number / k : 0, j = in_B ? number % k : number - numbers;
    double* out = in_B ? G + sums * numbers + number : g_w + sums * layout.parameters + j;
    double sum = load_global(out);
    for (Index c = columns.first; c < columns.last; ++c) {
      const double* column =
          workspace + c / kPanelColumns * rows.count * kPanelColumns + c % kPanelColumns;
      const auto value = [column](Index row) { return column[row * kPanelColumns]; };
      const double scale = scales == nullptr ? 1 : scales[c];
      for (Index t = 0; in_B && t < terms; ++t) {
        const AlgebraLayout::Term term = layout.term(part.method, static_cast<int>(t));
        sum += value(row_of(part, rows, layout, term.slot) + i) *
               (scale * value(rows.algebra + term.c + j));
      }
      if (!in_B) sum += scale * value(rows.algebra + layout.omega + j);
    }
    store_global(out, sum);
  }
}

/// Launches the kernels of the collapsed engine.
class DeviceCollapsed final : public Collapsed {
 public:
  Index workspace_rows(const CollapsedPart& part) const override { return rows_of(part).count; }

  void run(const CollapsedPart& part, double* workspace, double* results, Stream stream) override {
    const Rows rows = rows_of(part);
    const bool with_inner = part.method.inner_steps > 0 || part.shared || part.losses;
    const bool with_outer = !part.shared && (part.method.has_outer_part() || part.losses);
    if (with_inner) draw(part, {part.shape.inner, kInner, rows.inner, 0}, rows, workspace, stream);
    if (with_outer) draw(part, {part.shape.outer, kOuter, rows.outer, 0}, rows, workspace, stream);
    if (part.spread > 0) {
      draw(part, {part.shape.spread, kXi, rows.xi, 0}, rows, workspace, stream);
    }
    METASPAN_LAUNCH(run_columns, blocks(part, part.panels()), kThreads, 0, stream)
    (part, rows, layout_of(part), collapsed_results(part), workspace, results);
    require_launch("run_columns");
  }

  void add(const CollapsedPart& part, const double* workspace, const double* scales, Index pieces,
           double* G, double* g_w, Stream stream) override {
    const Index numbers = part.shape.D * part.k + part.method.parameters(part.k);
    const Index items = part.trials * pieces * numbers;
    METASPAN_LAUNCH(add_terms, blocks(part, (items + kPanelColumns - 1) / kPanelColumns), kThreads,
                    0, stream)
    (part, rows_of(part), layout_of(part), workspace, scales, pieces, G, g_w);
    require_launch("add_terms");
  }

 private:
  /// Returns the blocks of a launch for a number of warps.
  static int blocks(const CollapsedPart& part, Index warps) {
    constexpr Index kMost = 1 << 16;
    const Index most = part.most_blocks > 0 ? part.most_blocks : kMost;
    const Index needed = (warps + kWarps - 1) / kWarps;
    return static_cast<int>(needed < most ? needed : most);
  }

  static void draw(const CollapsedPart& part, const SetPart& set, const Rows& rows,
                   double* workspace, Stream stream) {
    if (set.set.infinite) return;
    METASPAN_LAUNCH(draw_normals, blocks(part, part.panels() * ((set.set.numbers + 1) / 2)),
                    kThreads, 0, stream)
    (part, set, rows.count, workspace);
    require_launch("draw_normals");
    if (set.set.root_count == 0) return;
    METASPAN_LAUNCH(draw_roots, blocks(part, part.panels() * set.set.root_count), kThreads, 0,
                    stream)
    (part, set, rows.count, workspace);
    require_launch("draw_roots");
  }
};

}  // namespace

Collapsed& collapsed() {
  static auto* const device_collapsed = new DeviceCollapsed;
  return *device_collapsed;
}

}  // namespace metaspan::cuda
