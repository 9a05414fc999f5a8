#include "metaspan/in_law/collapsed_design.hpp"

#include <algorithm>
#include <cmath>

#include "metaspan/base/sizes.hpp"
#include "metaspan/in_law/off_span_impl.hpp"
#include "metaspan/in_law/row_radii.hpp"
#include "metaspan/in_law/sample_passes_impl.hpp"

namespace metaspan {
namespace {

constexpr int kWidth = CollapsedDesign::width;
static_assert(kWidth == kPanelTasks);
constexpr std::uint32_t kInner = 0, kOuter = 1, kXi = 2;  // sets, as words of the counter

/// Returns how many numbers a panel of `rows` rows has; each of its kWidth columns is a task.
std::size_t panel_of(Index rows) { return static_cast<std::size_t>(rows * kWidth); }

/// Returns a view of the numbers of a set.
CollapsedDesign::Numbers numbers_of(const PanelSet& set) {
  return {set.numbers.data(), set.radii.empty() ? nullptr : set.radii.data(), set.beyond.data()};
}

/// Draws the numbers of a set for `tasks` tasks starting at `first`, (numbers, kWidth): first
/// normals in all places, then square roots of chi-squares in the places that the shape lists. The
/// numbers of task i are functions of the counters of task i, so these numbers do not depend on
/// panels, pieces or threads. The noise is drawn even if sigma is zero, so that the place of every
/// number depends on the shape alone.
void draw_set(Key key, const SampleLaw& law, const SetShape& shape, Index first, Index tasks,
              std::uint32_t set, PanelSet& out) {
  constexpr std::ptrdiff_t kSome = 64;  // roots at a time
  if (shape.infinite) return;
  const auto task = static_cast<std::uint32_t>(first);
  out.numbers.resize(panel_of(shape.numbers));
  kernels::normal_panel<kernels::kTasks>(key.words, task, set, tasks, shape.numbers,
                                         out.numbers.data());
  double dof[kSome], x[kSome * kWidth];
  const auto count = static_cast<Index>(shape.roots.size());
  // The places of the roots are scattered among the numbers. Up to kSome rows of the panel at a
  // time are gathered from these places, transformed by a kernel, and put back.
  for (Index begin = 0; begin < count; begin += kSome) {
    const Index some = std::min(kSome, count - begin);
    const RootShape* roots = shape.roots.data() + begin;
    for (Index i = 0; i < some; ++i) {
      dof[i] = roots[i].dof;
      std::copy_n(out.numbers.data() + roots[i].at * kWidth, kWidth, x + i * kWidth);
    }
    kernels::chi_square_panel(key.words, task, set, tasks, begin, some, dof, x);
    for (Index i = 0; i < some; ++i) {
      double* root = out.numbers.data() + roots[i].at * kWidth;
      for (int t = 0; t < kWidth; ++t) root[t] = std::sqrt(x[i * kWidth + t]);
    }
  }
  if (law.features != FeatureLaw::Kind::gaussian) {
    out.radii.resize(panel_of(static_cast<Index>(shape.rows.size())));
    scale_rows<TaskColumns::Columns>(radius_law(law), shape.view(), out.numbers.data(),
                                     out.radii.data());
  }
  if (shape.beyond < 0) return;
  const double* beyond = out.numbers.data() + shape.beyond * kWidth;
  out.beyond.assign(beyond, beyond + kWidth);
}

}  // namespace

/// Draws the sets of a panel of tasks, (16). A word of the counter distinguishes the inner set from
/// the outer set, so the samples of each set do not depend on whether the other set is drawn.
void draw_samples(Key key, const SampleLaw& law, const SampleShape& shape, Index first, Index tasks,
                  bool with_inner, bool with_outer, PanelSet& inner, PanelSet& outer) {
  if (with_inner) draw_set(key, law, shape.inner, first, tasks, kInner, inner);
  if (with_outer && !law.shared) draw_set(key, law, shape.outer, first, tasks, kOuter, outer);
}

/// Draws theta of (33). xi has a set of counters of its own, so samples are those of a run without
/// xi wherever both have the same layout. The entry aside is the length of xi off the span, since
/// the basis has a vector along that part.
void draw_theta(Key key, const SampleLaw& law, const SampleShape& shape, Index first, Index tasks,
                const double* heads, Index k_star, PanelSet& xi, std::vector<double>& theta) {
  draw_set(key, law, shape.spread, first, tasks, kXi, xi);
  const double scale = law.spread / std::sqrt(law.d);
  theta.resize(xi.numbers.size());
  for (std::size_t i = 0; i < theta.size(); ++i) theta[i] = scale * xi.numbers[i];
  for (std::size_t i = 0; i < panel_of(k_star); ++i) theta[i] += heads[i];
}

/// Allocates a thread's memory for panels of one shape: the slots, as vectors in the basis, (slots,
/// columns, width), and the most memory that the terms off the span can need. Each term off the
/// span is a vector with one entry for each column of the basis or for each row of a set.
CollapsedDesign::Scratch::Scratch(const Method& method, const SampleShape& shape, bool shared,
                                  Index k)
    : G(static_cast<std::size_t>(shape.D * padded(k))),
      method_(method),
      padded_(padded(k)),
      u_(panel_of(shape.columns())),
      vectors_(panel_of(method.slots() * shape.columns())),
      transposed_(panel_of(padded(k))),
      scaled_(panel_of(k)) {
  const Index terms = method.slots();
  basis_.resize(panel_of(std::max(terms * longest_off_span(shape.view(), shared), k)));
  products_.resize(panel_of(terms * terms));
  factor_.resize(panel_of(terms * k));
}

/// Passes the arrays of the panel and of the scratch memory to SampleDesign.
CollapsedDesign::CollapsedDesign(const Panel& panel, Scratch& scratch,
                                 const PanelAlgebra<CollapsedDesign>& algebra)
    : SampleDesign(
          scratch.method_,
          {panel.Z.data(), panel.Z.cols(), panel.theta, panel.known, panel.tasks, panel.noise,
           panel.shape.view(), numbers_of(panel.inner), numbers_of(panel.outer), panel.shared},
          {scratch.u_.data(), scratch.vectors_.data(), scratch.basis_.data(),
           scratch.products_.data(), scratch.factor_.data()},
          algebra.layout(), algebra.workspace()),
      defers_(panel.defers),
      scratch_(scratch) {}

/// Adds the deferred terms to G with their clipping factors, (29), in the order of add().
void CollapsedDesign::add_scaled(const double* factors) {
  double* scaled = scratch_.scaled_.data();
  for (int i = 0; i < term_count(); ++i) {
    const OffTerm deferred = term(i);
    for (Index j = 0; j < panel().k * width; ++j) scaled[j] = factors[j % width] * deferred.c[j];
    add_in_span(deferred.slot, scaled);
  }
}

/// Adds to G, (D, padded), the part in the span of the term slot c^T of (10). A product with the
/// transposed C sums over the tasks of the panel in their order.
void CollapsedDesign::add_in_span(int slot, const double* C) {
  kernels::transpose<width>(panel().k, C, scratch_.padded_, scratch_.transposed_.data());
  kernels::product<true>(panel().shape.D, width, scratch_.padded_, vector(slot), width, 1,
                         scratch_.transposed_.data(), scratch_.G.data());
}

template class SampleDesign<TaskColumns>;

}  // namespace metaspan
