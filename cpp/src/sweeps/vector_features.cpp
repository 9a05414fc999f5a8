// The products of VectorDesign that the inner loop computes from Z = X B instead of X.
#include <algorithm>

#include "cholesky.hpp"
#include "features.hpp"
#include "sweep.hpp"
#include "vector.hpp"
#include "vector_design_impl.hpp"

namespace metaspan {
namespace {

/// Number of columns of X that are multiplied by two vectors of residuals at a time.
/// kCombinedColumns elements of each row of a set, and of the two results, stay in the L2 cache.
constexpr Index kCombinedColumns = 1024;

}  // namespace

/// Computes Z = X B of the inner sets, (5). Each set is read once, one block of rows at a time.
template <class XScalar>
void VectorDesign<XScalar>::project() {
  if (panel_.inner[0]->is_made()) {
    project_made();
  } else {
    for (Index begin = 0; begin < m_in_; begin += kFeatureRows) project_block(begin);
  }
  projected_ = true;
}

/// Computes Z of the rows [begin, begin + kFeatureRows) of all inner sets. An entry of Z is a sum
/// over d; each piece of columns gives a partial sum of every entry, and the partial sums are added
/// in order. A piece of B is prepared once for as many tasks as have their sums in a cache. If
/// there are few pieces, threads divide the tasks as well.
template <class XScalar>
void VectorDesign<XScalar>::project_block(Index begin) {
  constexpr Index kMostSums = 1 << 15;  // numbers of the sums that stay in an L2 cache
  const Index d = round_.d, k = round_.k, tasks = panel_.tasks;
  const auto rows = [&](Index t) {
    return std::clamp<Index>(panel_.inner[t]->m - begin, 0, kFeatureRows);
  };
  const Index sums = std::min(kFeatureRows, m_in_ - begin) * k * kernels::kLane;
  const Index pieces = round_.pieces.count;
  const Index least = pieces < kMany * round_.threads ? std::min<Index>(tasks, round_.threads) : 1;
  const Index groups = std::max(least, ceil_div(tasks, std::max<Index>(1, kMostSums / sums)));
  std::vector<std::vector<double>> scratches(static_cast<std::size_t>(round_.threads));
  parallel_for(round_.threads, pieces * groups, round_.cancel, [&](Index item, int thread) {
    const Index piece = item / groups, group = item % groups;
    const Index first = round_.pieces.begin(piece);
    kernels::FeatureRows<XScalar> blocks[width];
    Index count = 0, all = 0;
    for (Index t = group * tasks / groups; t < (group + 1) * tasks / groups; ++t) {
      const auto& [X, stride] = panel_.inner[t]->dense();
      blocks[count++] = {X + begin * stride + first, rows(t), stride,
                         parts_of(t) + piece * rows(t) * k};
      all += rows(t);
    }
    auto& scratch = scratches[static_cast<std::size_t>(thread)];
    scratch.resize(static_cast<std::size_t>(kernels::features_scratch(all, k)));
    kernels::sweep_features(blocks, count, round_.pieces.size(piece), k, round_.B_t + first, d,
                            scratch.data());
  });
  throw_if_requested(round_.cancel);
  for (Index t = 0; t < tasks; ++t) {
    if (rows(t) > 0) sum_parts(parts_of(t), rows(t) * k, Z_of(t) + begin * k);
  }
}

/// Computes Z of generated inner sets, task by task, since a block has no more rows than the
/// scratch can hold. If features are elliptical, each row of Z is multiplied by its radius, (12).
template <class XScalar>
void VectorDesign<XScalar>::project_made() {
  const Index d = round_.d, k = round_.k;
  const std::vector<double> zero(static_cast<std::size_t>(k * width), 0.0);
  directions(zero.data(), {nullptr, 0}, true);
  const Index most = std::min(kFeatureRows, scratch_.made_in_);
  each_task([&](Index t, int threads) {
    Pass task = pass_of_features(t, false, kNoSlot);
    task.threads = threads;
    for (Index begin = 0; begin < task.set->m; begin += most) {
      const Rows rows = rows_of(task, begin, std::min(most, task.set->m - begin));
      each_piece(threads, [&](Index first, Index columns, Index piece) {
        const std::unique_ptr<double[]> scratch(
            new double[static_cast<std::size_t>(kernels::features_scratch(rows.m, k))]);
        const kernels::FeatureRows<XScalar> block{rows.X + first, rows.m, rows.stride,
                                                  task.parts + piece * rows.m * k};
        kernels::sweep_features(&block, 1, columns, k, round_.B_t + first, d, scratch.get());
      });
      double* Z = Z_of(t) + begin * k;
      sum_parts(task.parts, rows.m * k, Z);
      for (Index i = 0; rows.radii != nullptr && i < rows.m * k; ++i) Z[i] *= rows.radii[i / k];
      keep_truth(task, rows, begin);
    }
    if (scratch_.made_in_ >= task.set->m) stay_[t] = true;
  });
}

/// Generated rows have the responses X theta + z, but only z is stored, (12). -X theta is computed
/// once, from U = -theta, and stored, and from_features() adds it to the residuals.
template <class XScalar>
void VectorDesign<XScalar>::keep_truth(const Pass& task, const Rows& rows, Index begin) {
  const double* u = scratch_.U_.get() + task.place * round_.d;
  const Index at = task.place * m_in_ + begin;
  each_piece(task.threads, [&](Index first, Index columns, Index piece) {
    kernels::sweep_times(rows.m, columns, rows.X + first, rows.stride, u + first,
                         task.parts + piece * rows.m);
  });
  double* out = scratch_.minus_truth_.data() + at;
  sum_parts(task.parts, rows.m, out);
  for (Index i = 0; i < rows.m; ++i) {
    const double radius = rows.radii == nullptr ? 1.0 : rows.radii[i];
    scratch_.inner_radii_[static_cast<std::size_t>(at + i)] = radius;
    out[i] *= radius;
  }
}

template <class XScalar>
typename VectorDesign<XScalar>::Pass VectorDesign<XScalar>::pass_of_features(Index t, bool with_y,
                                                                             int slot) {
  double* r =
      scratch_.residuals_.data() + t * static_cast<Index>(scratch_.residuals_.size()) / width;
  double *parts = parts_of(t), *scaled = scaled_of(slot, t);
  return {panel_.inner[t], t, true, with_y, nullptr, nullptr, parts, r, scaled, 1};
}

/// For a method whose inner loop does not move B, computes r = Z V [- y] and Z^T r = B^T X^T r,
/// (6), from Z of the inner set of every task of the panel. The cost does not depend on d.
template <class XScalar>
void VectorDesign<XScalar>::from_features(bool with_y, const double* V, int slot, double* r) {
  if (!projected_) project();
  const Index k = round_.k;
  std::vector<double> column(static_cast<std::size_t>(k));
  for (Index t = 0; t < panel_.tasks; ++t) {
    const Pass task = pass_of_features(t, with_y, slot);
    const Index m = task.set->m;
    const double* Z = Z_of(t);
    const bool made = task.set->is_made();
    for (Index j = 0; j < k; ++j) column[static_cast<std::size_t>(j)] = V[j * width + t];
    kernels::times(m, k, Z, column.data(), task.r);
    for (Index i = 0; made && with_y && i < m; ++i) {
      task.r[i] += scratch_.minus_truth_[static_cast<std::size_t>(t * m_in_ + i)];
    }
    residuals(task, 0, m, nullptr);
    if (slot == kNoSlot) continue;
    kernels::transposed_times(m, k, Z, task.scaled, column.data());
    double* all = scratch_.features_.data() + slot * k * width;
    for (Index j = 0; j < k; ++j) all[j * width + t] = column[static_cast<std::size_t>(j)];
    // The rows of Z already include the radii. The rows of X in finish() do not, so the residuals
    // that finish() uses are multiplied by the radii.
    for (Index i = 0; made && i < m; ++i) {
      task.scaled[i] *= scratch_.inner_radii_[static_cast<std::size_t>(t * m_in_ + i)];
    }
  }
  interleave(panel_.inner, m_in_, r);
}

/// Computes Z^T Z and Z^T y of (26), in normalised units, for every task of the panel. For V = 0,
/// the residual is -y.
template <class XScalar>
void VectorDesign<XScalar>::normal_equations(double* G, double* b) {
  if (!projected_) project();
  const Index k = round_.k, size = kernels::triangle(k);
  std::fill_n(G, size * width, 0.0);
  std::fill_n(b, k * width, 0.0);
  std::vector<double> of_task(static_cast<std::size_t>(size));
  std::vector<double> column(static_cast<std::size_t>(k));
  for (Index t = 0; t < panel_.tasks; ++t) {
    const Pass task = pass_of_features(t, true, kNoSlot);
    const Index m = task.set->m;
    const double* Z = Z_of(t);
    if (task.set->is_made()) {
      std::copy_n(scratch_.minus_truth_.data() + t * m_in_, m, task.r);
    } else {
      std::fill_n(task.r, m, 0.0);
    }
    residuals(task, 0, m, nullptr);
    std::fill(of_task.begin(), of_task.end(), 0.0);
    for (Index i = 0; i < m; ++i) kernels::add_outer<1>(k, Z + i * k, of_task.data());
    kernels::transposed_times(m, k, Z, task.scaled, column.data());
    const double scale = normalisation(m);
    for (Index i = 0; i < size; ++i) {
      G[i * width + t] = scale * scale * of_task[static_cast<std::size_t>(i)];
    }
    for (Index j = 0; j < k; ++j) b[j * width + t] = -column[static_cast<std::size_t>(j)];
  }
}

/// Computes the vectors X^T r_j and X^T r_bar_j of (10) for all inner steps, in one pass over each
/// inner set, (11). Rows are read in chunks of columns. Generated rows are processed in the blocks
/// that the scratch holds. A second call, after the norm (29) has read the vectors, does nothing.
template <class XScalar>
void VectorDesign<XScalar>::finish() {
  if (!round_.features || !panel_.inner_terms || finished_) return;
  finished_ = true;
  each_task([&](Index t, int threads) {
    Pass task = pass_of_features(t, false, kNoSlot);
    task.threads = threads;
    const Index m = task.set->m, most = task.set->is_made() ? scratch_.made_in_ : m;
    for (Index begin = 0; begin < m; begin += most) {
      const Rows rows = rows_of(task, begin, std::min(most, m - begin));
      each_piece(threads, [&](Index first, Index columns, Index) {
        for (Index c = first; c < first + columns; c += kCombinedColumns) {
          combine_slots(task, rows, begin, c, std::min(kCombinedColumns, first + columns - c));
        }
      });
    }
  });
}

/// Each chunk of columns of X is read for both vectors of a step, and stays in a cache for the next
/// step. For the gradient of (27) there is only one vector, X^T r_0.
template <class XScalar>
void VectorDesign<XScalar>::combine_slots(const Pass& task, const Rows& rows, Index begin,
                                          Index first, Index columns) {
  const Index t = task.place;
  const XScalar* X = rows.X + first;
  for (int j = 0; j < round_.outer_slot; ++j) {
    const int back = round_.outer_slot + 1 + j;
    const double* r = scaled_of(j, t) + begin;
    double* v = vector(j, t) + first;
    if (panel_.terms > 1 && begin == 0) {
      kernels::sweep_combine_two(rows.m, columns, X, rows.stride, r, scaled_of(back, t), v,
                                 vector(back, t) + first);
      continue;
    }
    if (begin == 0) {
      kernels::sweep_combine<false>(rows.m, columns, X, rows.stride, r, v);
    } else {
      kernels::sweep_combine<true>(rows.m, columns, X, rows.stride, r, v);
      if (panel_.terms > 1) {
        kernels::sweep_combine<true>(rows.m, columns, X, rows.stride, scaled_of(back, t) + begin,
                                     vector(back, t) + first);
      }
    }
  }
}

template void VectorDesign<float>::from_features(bool, const double*, int, double*);
template void VectorDesign<double>::from_features(bool, const double*, int, double*);
template void VectorDesign<float>::normal_equations(double*, double*);
template void VectorDesign<double>::normal_equations(double*, double*);
template void VectorDesign<float>::finish();
template void VectorDesign<double>::finish();

}  // namespace metaspan
