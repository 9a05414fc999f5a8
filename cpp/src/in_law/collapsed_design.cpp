#include "metaspan/in_law/collapsed_design.hpp"

#include <algorithm>
#include <cmath>

#include "metaspan/base/sizes.hpp"

namespace metaspan {
namespace {

constexpr int kWidth = CollapsedDesign::width;
static_assert(kWidth == kPanelTasks);
constexpr std::uint32_t kInner = 0, kOuter = 1;  // sets, as words of the counter

std::size_t panel_of(Index rows) { return static_cast<std::size_t>(rows * kWidth); }

/// Rows of the features' law: multiplied with a radius of their own.
void scale_rows(const SampleLaw& law, const SetShape& shape, PanelSet& set) {
  set.radii.resize(panel_of(static_cast<Index>(shape.rows.size())));
  for (std::size_t i = 0; i < shape.rows.size(); ++i) {
    const RowShape& row = shape.rows[i];
    const Index entries = row.end - row.begin;
    double* x = set.numbers.data() + row.at * kWidth;
    double* radius = set.radii.data() + i * kWidth;
    if (law.features == FeatureLaw::Kind::sphere) {
      kernels::dot_columns<kWidth>(entries, x, x, radius);
      for (int t = 0; t < kWidth; ++t) radius[t] = std::sqrt(law.d / radius[t]);
    } else {
      const double* root = set.numbers.data() + (shape.radii + static_cast<Index>(i)) * kWidth;
      for (int t = 0; t < kWidth; ++t) radius[t] = std::sqrt(law.features.dof - 2) / root[t];
    }
    for (Index j = 0; j < entries; ++j) {
      for (int t = 0; t < kWidth; ++t) x[j * kWidth + t] *= radius[t];
    }
  }
}

void draw_set(Key key, const SampleLaw& law, const SetShape& shape, Index first, std::uint32_t set,
              PanelSet& out) {
  constexpr std::ptrdiff_t kSome = 64;  // roots at a time
  if (shape.infinite) return;
  const auto task = static_cast<std::uint32_t>(first);
  out.numbers.resize(panel_of(shape.numbers));
  kernels::normal_panel(key.words, task, set, shape.numbers, out.numbers.data());
  double dof[kSome], x[kSome * kWidth];
  const auto count = static_cast<Index>(shape.roots.size());
  for (Index begin = 0; begin < count; begin += kSome) {
    const Index some = std::min(kSome, count - begin);
    const RootShape* roots = shape.roots.data() + begin;
    for (Index i = 0; i < some; ++i) {
      dof[i] = roots[i].dof;
      std::copy_n(out.numbers.data() + roots[i].at * kWidth, kWidth, x + i * kWidth);
    }
    kernels::chi_square_panel(key.words, task, set, begin, some, dof, x);
    for (Index i = 0; i < some; ++i) {
      double* root = out.numbers.data() + roots[i].at * kWidth;
      for (int t = 0; t < kWidth; ++t) root[t] = std::sqrt(x[i * kWidth + t]);
    }
  }
  if (law.features != FeatureLaw::Kind::gaussian) scale_rows(law, shape, out);
  if (shape.beyond < 0) return;
  const double* beyond = out.numbers.data() + shape.beyond * kWidth;
  out.beyond.assign(beyond, beyond + kWidth);
}

}  // namespace

void draw_samples(Key key, const SampleLaw& law, const SampleShape& shape, Index first,
                  bool with_inner, PanelSet& inner, PanelSet& outer) {
  if (with_inner) draw_set(key, law, shape.inner, first, kInner, inner);
  if (!law.shared) draw_set(key, law, shape.outer, first, kOuter, outer);
}

CollapsedDesign::Scratch::Scratch(const Method& method, const SampleShape& shape, bool shared,
                                  Index k)
    : G(static_cast<std::size_t>(shape.D * padded(k))),
      padded_(padded(k)),
      u_(panel_of(shape.columns())),
      vectors_(panel_of(slots_of(method.inner_steps) * shape.columns())),
      transposed_(panel_of(padded(k))),
      slots_(static_cast<std::size_t>(slots_of(method.inner_steps))) {
  const Index terms = slots_of(method.inner_steps);
  const auto rows = [](const SetShape& set) { return static_cast<Index>(set.rows.size()); };
  const Index most = std::max({shape.columns(), rows(shape.inner), shared ? 0 : rows(shape.outer)});
  members_.reserve(static_cast<std::size_t>(terms));
  terms_.reserve(static_cast<std::size_t>(terms));
  basis_.resize(panel_of(terms * most));
  products_.resize(panel_of(terms * terms));
  factor_.resize(panel_of(terms * k));
}

/// u = B V + terms [- theta], in the basis.
void CollapsedDesign::direction(const double* V, Terms<width> terms, bool less_truth) {
  const Mat& Z = panel_.Z;
  double* u = scratch_.u_.data();
  kernels::product<false>(Z.rows(), Z.cols(), width, Z.data(), Z.cols(), 1, V, u);
  std::fill(u + Z.rows() * width, u + columns() * width, 0.0);
  for (int t = 0; t < terms.count; ++t) {
    const Term<width>& term = terms.begin[t];
    kernels::add_columns<width>(columns(), 1.0, term.factor, scratch_.slots_[term.slot].vector, u);
  }
  for (Index i = 0; less_truth && i < panel_.k_star * width; ++i) u[i] -= panel_.heads[i];
}

/// r = X u - noise, and slot <- X^T r: rows one after the other, each while it is in the cache.
void CollapsedDesign::pass(const SetShape& set, const PanelSet& numbers, double noise, bool outer,
                           int slot, double* r) {
  const double* u = scratch_.u_.data();
  const Index absent = outer ? tasks() : width;  // columns from here on have no task
  double* back = nullptr;
  if (slot != kNoSlot) {
    back = set.infinite ? r : scratch_.vectors_.data() + slot * columns() * width;
    scratch_.slots_[static_cast<std::size_t>(slot)] = {back, r};
  }
  if (set.infinite) {
    std::copy_n(u, panel_.shape.rows_of(set) * width, r);
    for (Index i = 0; absent < width && i < panel_.shape.rows_of(set); ++i) {
      std::fill(r + i * width + absent, r + (i + 1) * width, 0.0);
    }
    return;
  }
  if (back != nullptr) std::fill_n(back, columns() * width, 0.0);
  for (const RowShape& row : set.rows) {
    const Index entries = row.end - row.begin;
    const double* x = numbers.numbers.data() + row.at * width;
    kernels::dot_columns<width>(entries, x, u + row.begin * width, r);
    if (row.noise && noise != 0) {
      for (int t = 0; t < width; ++t) r[t] -= noise * x[entries * width + t];
    }
    for (int t = 0; t < width; ++t) r[t] *= set.normalisation;
    std::fill(r + absent, r + width, 0.0);
    if (back != nullptr) {
      kernels::add_columns<width>(entries, set.normalisation, r, x, back + row.begin * width);
    }
    r += width;
  }
}

void CollapsedDesign::residual_in(const double* V, Terms<width> terms, int slot, double* r) {
  direction(V, terms, true);
  pass(panel_.shape.inner, panel_.inner, panel_.noise, false, slot, r);
}

void CollapsedDesign::residual_out(const double* V, Terms<width> terms, int slot, double* r) {
  direction(V, terms, true);
  const PanelSet& numbers = panel_.shared ? panel_.inner : panel_.outer;
  pass(outer_shape(), numbers, panel_.noise, true, slot, r);
  if (!panel_.shape.beyond || slot == kNoSlot) return;
  double* last = scratch_.vectors_.data() + ((slot + 1) * columns() - 1) * width;
  double* weight = scratch_.basis_.data();
  weights(slot, r, weight);
  kernels::dot_columns<width>(m_out(), weight, weight, last);
  for (int t = 0; t < width; ++t) last[t] = numbers.beyond[t] * std::sqrt(last[t]);
}

void CollapsedDesign::product_in(const double* V, Terms<width> terms, int slot, double* r) {
  direction(V, terms, false);
  pass(panel_.shape.inner, panel_.inner, 0.0, false, slot, r);
}

void CollapsedDesign::features(int slot, double* out) const {
  const Mat& Z = panel_.Z;
  kernels::product<false>(Z.cols(), Z.rows(), width, Z.data(), 1, Z.cols(),
                          scratch_.slots_[static_cast<std::size_t>(slot)].vector, out);
}

void CollapsedDesign::dot(int a, int b, double* dots) const {
  const auto vector = [&](int slot) {
    return scratch_.slots_[static_cast<std::size_t>(slot)].vector;
  };
  kernels::dot_columns<width>(columns(), vector(a), vector(b), dots);
}

void CollapsedDesign::add(int slot, const double* C) {
  const Mat& Z = panel_.Z;
  kernels::transpose<width>(Z.cols(), C, scratch_.padded_, scratch_.transposed_.data());
  kernels::product<true>(Z.rows(), width, scratch_.padded_,
                         scratch_.slots_[static_cast<std::size_t>(slot)].vector, width, 1,
                         scratch_.transposed_.data(), scratch_.G.data());
  scratch_.terms_.push_back({slot, C});
}

/// What the rows of X, of unit length off the basis, are combined with in X^T r.
void CollapsedDesign::weights(int slot, const double* r, double* out) const {
  const bool outer = slot == panel_.outer_slot && !panel_.shared;
  const SetShape& set = outer ? panel_.shape.outer : panel_.shape.inner;
  const std::vector<double>& radii = outer ? panel_.outer.radii : panel_.inner.radii;
  const auto count = static_cast<Index>(panel_of(static_cast<Index>(set.rows.size())));
  for (Index i = 0; i < count; ++i) {
    const double radius = radii.empty() ? 1.0 : radii[static_cast<std::size_t>(i)];
    out[i] = set.normalisation * radius * r[i];
  }
}

bool CollapsedDesign::is_member(int slot, Group group) const {
  if (group == Group::frame || group == Group::both) return true;
  return (slot == panel_.outer_slot) == (group == Group::outer);
}

/// The terms' vectors off the span, S, are brought to S = Q R by the modified Gram-Schmidt process:
/// what they add is Q (R C^T), with c_t the rows of C. Where there are fewer dimensions than terms,
/// it is S C^T itself.
CollapsedDesign::Factor CollapsedDesign::off_span(Group group) {
  const Index k = panel_.Z.cols(), D = panel_.shape.D;
  const bool frame = group == Group::frame;
  const Index length = frame ? columns() - D : group == Group::outer ? m_out() : m_in();
  double* basis = scratch_.basis_.data();
  std::vector<const double*>& C = scratch_.members_;
  C.clear();
  for (const Scratch::OffTerm& term : scratch_.terms_) {
    if (!is_member(term.slot, group)) continue;
    const Scratch::Slot& slot = scratch_.slots_[static_cast<std::size_t>(term.slot)];
    double* vector = basis + static_cast<Index>(C.size()) * length * width;
    if (frame) {
      std::copy_n(slot.vector + D * width, length * width, vector);
    } else {
      weights(term.slot, slot.residual, vector);
    }
    C.push_back(term.c);
  }
  const auto count = static_cast<Index>(C.size());
  const Index rows = std::min(count, length);
  if (count < length) orthogonalise(count, length);
  std::fill_n(scratch_.factor_.data(), rows * k * width, 0.0);
  for (Index row = 0; row < rows; ++row) {
    for (Index t = count < length ? row : 0; t < count; ++t) {
      const double* weight = count < length ? scratch_.products_.data() + (row * count + t) * width
                                            : basis + (t * length + row) * width;
      kernels::add_columns<width>(k, 1.0, weight, C[static_cast<std::size_t>(t)],
                                  scratch_.factor_.data() + row * k * width);
    }
  }
  return {scratch_.factor_.data(), rows};
}

/// R of the first `count` vectors of the basis, (count, count, width); they are lost.
void CollapsedDesign::orthogonalise(Index count, Index length) {
  for (Index a = 0; a < count; ++a) {
    double* v = scratch_.basis_.data() + a * length * width;
    double* R = scratch_.products_.data() + a * count * width;
    double* norm = R + a * width;
    kernels::dot_columns<width>(length, v, v, norm);
    double inverse[width];
    for (int t = 0; t < width; ++t) {
      norm[t] = std::sqrt(norm[t]);
      inverse[t] = norm[t] > 0 ? 1 / norm[t] : 0;
    }
    for (Index b = a + 1; b < count; ++b) {
      double* other = scratch_.basis_.data() + b * length * width;
      double* product = R + b * width;
      kernels::dot_columns<width>(length, v, other, product);
      double factor[width];
      for (int t = 0; t < width; ++t) {
        product[t] *= inverse[t];
        factor[t] = product[t] * inverse[t];
      }
      kernels::add_columns<width>(length, -1.0, factor, v, other);
    }
  }
}

}  // namespace metaspan
