#include "metaspan/in_law/collapsed_design.hpp"

#include <algorithm>
#include <cmath>

#include "cholesky.hpp"
#include "metaspan/base/sizes.hpp"
#include "panel.hpp"

namespace metaspan {
namespace {

constexpr int kWidth = CollapsedDesign::width;
static_assert(kWidth == kPanelTasks);
constexpr std::uint32_t kInner = 0, kOuter = 1, kXi = 2;  // sets, as words of the counter

/// Returns how many numbers a panel of `rows` rows has; each of its kWidth columns is a task.
std::size_t panel_of(Index rows) { return static_cast<std::size_t>(rows * kWidth); }

/// Multiplies the rows of elliptical features by their radii, (19), and keeps the radii, (rows,
/// tasks), for the terms off the span. On the sphere the radius of a row is sqrt(d) / |row|. The
/// magnitude of the last entry of a row is the length of the part of the row that the other entries
/// do not represent, so the sum of the squared entries is the squared length of the row in R^d.
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
  if (law.features != FeatureLaw::Kind::gaussian) scale_rows(law, shape, out);
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
      padded_(padded(k)),
      u_(panel_of(shape.columns())),
      vectors_(panel_of(method.slots() * shape.columns())),
      transposed_(panel_of(padded(k))),
      slots_(static_cast<std::size_t>(method.slots())) {
  const Index terms = method.slots();
  const auto rows = [](const SetShape& set) { return static_cast<Index>(set.rows.size()); };
  const Index most = std::max({shape.columns(), rows(shape.inner), shared ? 0 : rows(shape.outer)});
  members_.reserve(static_cast<std::size_t>(terms));
  terms_.reserve(static_cast<std::size_t>(terms));
  basis_.resize(panel_of(std::max(terms * most, k)));
  products_.resize(panel_of(terms * terms));
  factor_.resize(panel_of(terms * k));
  scaled_.resize(panel_of(k));
}

/// Computes u = B V + terms [- theta] in the basis, (columns, width). In B V, the first D rows are
/// [M; R] V and the rows of the frame are zero; the terms of (6) are added to all rows. Because
/// theta is subtracted here, X u is the residual except for the noise, and responses need not be
/// computed.
void CollapsedDesign::direction(const double* V, Terms<Columns> terms, bool less_truth) {
  const Mat& Z = panel_.Z;
  double* u = scratch_.u_.data();
  kernels::product<false>(Z.rows(), Z.cols(), width, Z.data(), Z.cols(), 1, V, u);
  std::fill(u + Z.rows() * width, u + columns() * width, 0.0);
  for (int t = 0; t < terms.count; ++t) {
    const double* vector = scratch_.slots_[static_cast<std::size_t>(terms.slot(t))].vector;
    kernels::add_columns<width>(columns(), 1.0, terms.factor(t), vector, u);
  }
  for (Index i = 0; less_truth && i < panel_.known * width; ++i) u[i] -= panel_.theta[i];
}

/// Computes r = X u - noise, (rows, width), and slot <- X^T r, (columns, width), (16), row by row.
/// Each row of X, multiplied by its residual, is added to the slot while the row is in the cache,
/// so X is read once and X X^T is never formed. Rows of triangular sets have entries in the columns
/// [begin, end) only. The columns of the panel from `absent` on have no task. The residuals in
/// these columns are set to zero, so that the columns add nothing to any sum.
void CollapsedDesign::pass(const SetShape& set, const PanelSet& numbers, double noise, int slot,
                           double* r) {
  const double* u = scratch_.u_.data();
  const Index absent = tasks();  // columns from here on have no task
  double* back = nullptr;
  if (slot != kNoSlot) {
    back = set.infinite ? r : scratch_.vectors_.data() + slot * columns() * width;
    scratch_.slots_[static_cast<std::size_t>(slot)] = {back, r};
  }
  // X / sqrt(m) is the identity, so both the residual and X^T r are u.
  if (set.infinite) {
    std::copy_n(u, panel_.shape.rows_of(set) * width, r);
    for (Index i = 0; absent < width && i < panel_.shape.rows_of(set); ++i) {
      std::fill(r + i * width + absent, r + (i + 1) * width, 0.0);
    }
    return;
  }
  if (back != nullptr) std::fill_n(back, columns() * width, 0.0);
  // With fresh steps, slot j keeps the rows of block j alone, see keep_block().
  const auto m = static_cast<Index>(set.rows.size());
  const bool cut = slot != kNoSlot && slot < panel_.outer_slot && panel_.blocks > 1;
  const Index first = cut ? slot * m / panel_.blocks : 0;
  const Index end = cut ? (slot + 1) * m / panel_.blocks : m;
  for (Index i = 0; i < m; ++i) {
    const RowShape& row = set.rows[static_cast<std::size_t>(i)];
    const Index entries = row.end - row.begin;
    const double* x = numbers.numbers.data() + row.at * width;
    kernels::dot_columns<width>(entries, x, u + row.begin * width, r);
    if (row.noise && noise != 0) {
      for (int t = 0; t < width; ++t) r[t] -= noise * x[entries * width + t];
    }
    const double kept = i < first || i >= end ? 0 : cut ? panel_.blocks : 1;
    for (int t = 0; t < width; ++t) r[t] *= kept * set.normalisation;
    std::fill(r + absent, r + width, 0.0);
    if (back != nullptr) {
      kernels::add_columns<width>(entries, set.normalisation, r, x, back + row.begin * width);
    }
    r += width;
  }
}

/// Computes the inner residual of (2), (m_in, width).
void CollapsedDesign::residual_in(const double* V, Terms<Columns> terms, int slot, double* r) {
  direction(V, terms, true);
  pass(panel_.shape.inner, panel_.inner, panel_.noise, slot, r);
}

/// Computes the outer residual of (7). The part of the outer rows that is orthogonal to the span
/// and to the frame adds a vector of length |s'| chi_{rest - q} to X'^T s', (17). The added vector
/// is orthogonal to all other vectors of the task, and its length is the last entry of the outer
/// slot. In every other slot the last entry is zero, so the algebra needs no special case.
void CollapsedDesign::residual_out(const double* V, Terms<Columns> terms, int slot, double* r) {
  direction(V, terms, true);
  const PanelSet& numbers = panel_.shared ? panel_.inner : panel_.outer;
  pass(outer_shape(), numbers, panel_.noise, slot, r);
  if (!panel_.shape.beyond || slot == kNoSlot) return;
  double* last = scratch_.vectors_.data() + ((slot + 1) * columns() - 1) * width;
  double* weight = scratch_.basis_.data();
  weights(slot, r, weight);
  kernels::dot_columns<width>(m_out(), weight, weight, last);
  for (int t = 0; t < width; ++t) last[t] = numbers.beyond[t] * std::sqrt(last[t]);
}

/// Computes X (B V + terms) of (9), without targets or noise, (m_in, width).
void CollapsedDesign::product_in(const double* V, Terms<Columns> terms, int slot, double* r) {
  direction(V, terms, false);
  pass(panel_.shape.inner, panel_.inner, 0.0, slot, r);
}

/// Computes Z^T Z and Z^T y of (26) by taking the rows x of X one after another. For each x, the
/// row of Z is z = [M; R]^T x, and the response is y = x . theta + noise. Entries of x along a
/// frame do not matter here, since B and theta are orthogonal to the frame.
void CollapsedDesign::normal_equations(double* G, double* b) {
  const Mat& Z = panel_.Z;
  const Index k = Z.cols(), D = Z.rows();
  const SetShape& set = panel_.shape.inner;
  std::fill_n(G, kernels::triangle(k) * width, 0.0);
  if (set.infinite) {
    kernels::spread_gram<width>(D, k, Z.data(), G);
    kernels::product<false>(k, std::min(panel_.known, D), width, Z.data(), 1, k, panel_.theta, b);
    return;
  }
  std::fill_n(b, k * width, 0.0);
  double* z = scratch_.basis_.data();
  for (const RowShape& row : set.rows) {
    const double* x = panel_.inner.numbers.data() + row.at * width;
    const Index end = std::min(row.end, D), inside = end - row.begin;
    if (inside <= 0) continue;  // the row of Z is zero
    kernels::product<false>(k, inside, width, Z.data() + row.begin * k, 1, k, x, z);
    double y[width] = {};
    for (Index i = row.begin; i < std::min(row.end, panel_.known); ++i) {
      for (int t = 0; t < width; ++t) {
        y[t] += x[(i - row.begin) * width + t] * panel_.theta[i * width + t];
      }
    }
    if (row.noise) {
      const double* noise = x + (row.end - row.begin) * width;
      for (int t = 0; t < width; ++t) y[t] += panel_.noise * noise[t];
    }
    kernels::add_outer<width>(k, z, G);
    kernels::add_columns<width>(k, 1.0, y, z, b);
  }
  const double share = set.normalisation * set.normalisation;
  for (Index i = 0; i < kernels::triangle(k) * width; ++i) G[i] *= share;
  for (Index i = 0; i < k * width; ++i) b[i] *= share;
}

/// Computes B^T slot, (k, width), as [M; R]^T times the first D rows of the slot, since B is
/// orthogonal to the frame.
void CollapsedDesign::features(int slot, double* out) const {
  const Mat& Z = panel_.Z;
  kernels::product<false>(Z.cols(), Z.rows(), width, Z.data(), 1, Z.cols(),
                          scratch_.slots_[static_cast<std::size_t>(slot)].vector, out);
}

/// Computes the inner product of the vectors of two slots for every task, (width,), from their
/// coordinates in the basis. In equations (6) and (9) these inner products are written with K and
/// K'.
void CollapsedDesign::dot(int a, int b, double* dots) const {
  const auto vector = [&](int slot) {
    return scratch_.slots_[static_cast<std::size_t>(slot)].vector;
  };
  kernels::dot_columns<width>(columns(), vector(a), vector(b), dots);
}

/// Adds the term slot c^T of (10) to G, unless terms are deferred. For the part off the span, the
/// pair (slot, c) is kept until off_span() is called.
void CollapsedDesign::add(int slot, const double* C) {
  if (!panel_.defers) add_in_span(slot, C);
  scratch_.terms_.push_back({slot, C});
}

/// Computes |sum_t v_t c_t^T|^2 = sum_st (v_s . v_t) (c_s . c_t), in which v is the part of a
/// slot's vector in the basis.
void CollapsedDesign::squares(double* out) {
  const Index k = panel_.Z.cols();
  const std::vector<Scratch::OffTerm>& terms = scratch_.terms_;
  double dots[width], products[width];
  std::fill_n(out, width, 0.0);
  for (std::size_t a = 0; a < terms.size(); ++a) {
    for (std::size_t b = 0; b <= a; ++b) {
      dot(terms[a].slot, terms[b].slot, dots);
      kernels::dot_columns<width>(k, terms[a].c, terms[b].c, products);
      const double count = a == b ? 1 : 2;
      for (int t = 0; t < width; ++t) out[t] += count * dots[t] * products[t];
    }
  }
}

/// Adds the deferred terms to G with their clipping factors, (29), in the order of add().
void CollapsedDesign::add_scaled(const double* factors) {
  double* scaled = scratch_.scaled_.data();
  for (const Scratch::OffTerm& term : scratch_.terms_) {
    for (Index i = 0; i < panel_.Z.cols() * width; ++i) scaled[i] = factors[i % width] * term.c[i];
    add_in_span(term.slot, scaled);
  }
}

/// Adds to G, (D, padded), the part in the span of the term slot c^T of (10). A product with the
/// transposed C sums over the tasks of the panel in their order.
void CollapsedDesign::add_in_span(int slot, const double* C) {
  const Mat& Z = panel_.Z;
  kernels::transpose<width>(Z.cols(), C, scratch_.padded_, scratch_.transposed_.data());
  kernels::product<true>(Z.rows(), width, scratch_.padded_,
                         scratch_.slots_[static_cast<std::size_t>(slot)].vector, width, 1,
                         scratch_.transposed_.data(), scratch_.G.data());
}

/// Off the basis, X^T r is a sum over the rows of X of a coefficient times a vector of standard
/// normals. Computes these coefficients, (rows, width): the residual of a row times 1 / sqrt(m) and
/// the radius of the row.
void CollapsedDesign::weights(int slot, const double* r, double* out) const {
  const bool outer = is_outer_slot(slot, panel_.outer_slot) && !panel_.shared;
  const SetShape& set = outer ? panel_.shape.outer : panel_.shape.inner;
  const std::vector<double>& radii = outer ? panel_.outer.radii : panel_.inner.radii;
  const auto count = static_cast<Index>(panel_of(static_cast<Index>(set.rows.size())));
  for (Index i = 0; i < count; ++i) {
    const double radius = radii.empty() ? 1.0 : radii[static_cast<std::size_t>(i)];
    out[i] = set.normalisation * radius * r[i];
  }
}

/// Returns whether the term of `slot` is in `group`. The parts off the span are summed within each
/// group of terms. If there is a frame, all terms of a task lie in the span of the frame and form
/// one group. Without a frame, the inner and the outer terms form two groups with independent
/// Gaussian sums, (18), unless both loops use the same samples.
bool CollapsedDesign::is_member(int slot, Group group) const {
  if (group == Group::frame || group == Group::both) return true;
  return is_outer_slot(slot, panel_.outer_slot) == (group == Group::outer);
}

/// Returns the factor A of a group's contribution off the span, (rows, k, width). Let the columns
/// of S be the vectors of the group's terms, and the rows of C their c_t. With the factorisation S
/// = Q R, the contribution is S C = Q (R C). Only R C is needed, since Q does not affect the
/// distribution of (17), which has a Haar-distributed frame, or of (18). Every task of a panel has
/// its own S, and one loop factors all of them, each in its task's column. If the group has at
/// least as many terms as S has rows, then S C has no more rows than R C, and S C is returned
/// instead of R C.
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
  // R is upper triangular, so the nonzero entries of its row `row` start at term `row`.
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

/// Computes the row of X^T C + X'^T C' of (10) along the direction of xi, (33): every slot holds
/// its component along that direction after the D columns of the state.
CollapsedDesign::Factor CollapsedDesign::along_xi() {
  const Index k = panel_.Z.cols(), D = panel_.shape.D;
  std::fill_n(scratch_.factor_.data(), k * width, 0.0);
  for (const Scratch::OffTerm& term : scratch_.terms_) {
    const double* vector = scratch_.slots_[static_cast<std::size_t>(term.slot)].vector;
    kernels::add_columns<width>(k, 1.0, vector + D * width, term.c, scratch_.factor_.data());
  }
  return {scratch_.factor_.data(), 1};
}

/// Computes the factor R of the first `count` vectors in basis_, (count, count, width), by the
/// modified Gram-Schmidt process, which overwrites the vectors. Only R is needed. If the vectors
/// are nearly dependent, this process does not give an orthogonal Q, but its R is still backward
/// stable. A zero vector, for example in a column without a task, gives a zero row of R.
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
