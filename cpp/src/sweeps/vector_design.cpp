#include <type_traits>
#include <utility>

#include "metaspan/algebra/factors.hpp"
#include "metaspan/base/error.hpp"
#include "metaspan/sweeps/bands.hpp"
#include "metaspan/sweeps/leaf_copies.hpp"
#include "sparse.hpp"
#include "sweep.hpp"
#include "vector.hpp"
#include "vector_design_impl.hpp"

namespace metaspan {
namespace {

/// Number of entries that are sampled to find the edges of the bands.
constexpr Index kSampled = 1024;

/// Returns the edges of bands of columns with about the same number of entries in each, one band
/// for each thread. The edges are quantiles of the columns of sampled entries. No sum depends on
/// where the edges are.
template <class XScalar>
std::vector<Index> find_bands(const Samples<XScalar>& set, Index d, int threads) {
  if (threads == 1) return {0, d};
  const Index step = 1 + set.entries() / kSampled;
  std::vector<Index> sampled;
  const SparseRows<XScalar>& X = set.sparse();
  for (Index p = X.starts[0]; p < X.starts[set.m]; p += step) sampled.push_back(X.columns[p]);
  return edges_at_equal_ranks(std::move(sampled), threads, d);
}

/// Returns the rows of the set that a panel passes over after `sets[t]`, or null if prefetching
/// them does not pay. It pays if the data come from memory and the sets are small, since the rows
/// of a small set are too short for the processor to recognise that they are read one after the
/// other. One thread must pass over the sets in order, and the rows must be contiguous.
template <class XScalar>
const XScalar* upcoming_rows(const typename VectorDesign<XScalar>::Round& round,
                             const typename VectorDesign<XScalar>::Panel& panel,
                             const Samples<XScalar>* const* sets, Index t) {
  if (!round.from_memory || round.threads > 1) return nullptr;
  const Samples<XScalar>* next = sets == panel.inner ? panel.outer[0] : nullptr;
  if (t + 1 < panel.tasks) next = sets[t + 1];
  if (next == nullptr || !next->template has<DenseRows<XScalar>>()) return nullptr;
  const auto& [X, stride] = next->dense();
  return stride == round.d && next->bytes(round.d) <= kNearestBytes ? X : nullptr;
}

}  // namespace

/// Allocates the memory that a panel needs, for one thread or for the threads that share the panel.
/// If the vectors of all slots are terms of grad_B, (10), they are in the block of terms and are
/// not allocated here. The vectors are not initialised, since each vector is written before it is
/// read.
template <class XScalar>
VectorDesign<XScalar>::Scratch::Scratch(const Method& method, bool features, Index tasks,
                                        const TaskSet<XScalar>& all, Index k)
    : slots_(method.slots()),
      vectors_(new double[static_cast<std::size_t>(
          method.has_inner_part() || features ? 0 : method.inner_steps * tasks * all.d)]),
      U_(new double[static_cast<std::size_t>(tasks * all.d)]),
      features_(static_cast<std::size_t>(slots_ * k * width)) {
  const Index most_m = std::max(all.most_in(), all.most_out());
  const Index rows =
      features ? std::max(most_m, k * std::min(kFeatureRows, all.most_in())) : most_m;
  const Index part = std::max(rows, k);
  tasks_ = tasks;
  parts_.resize(static_cast<std::size_t>(tasks * all.shard().pieces(kVectorPiece).count * part));
  residuals_.resize(static_cast<std::size_t>(width * most_m));
  scaled_.resize(static_cast<std::size_t>((features ? slots_ + 1 : 1) * width * most_m));
  const Index in = features ? tasks * all.most_in() : 0, made = all.is_made() ? in : 0;
  Z_.resize(static_cast<std::size_t>(in * k));
  minus_truth_.resize(static_cast<std::size_t>(made));
  inner_radii_.resize(static_cast<std::size_t>(made));
}

/// Allocates memory for generated rows, (12): for whole inner sets if the algebra passes over inner
/// sets again and whole sets fit, and otherwise for a block of rows of each set.
template <class XScalar>
void VectorDesign<XScalar>::Scratch::make_room(Index tasks, const Shard& shard, Index most_in,
                                               bool again, bool in_blocks) {
  // The rows of a block affect the last bits of X u, so they depend on all d columns.
  const Index row = static_cast<Index>(sizeof(XScalar)) * shard.d(), d = shard.size();
  const HeldRows made = held_rows(tasks, row, most_in, again, in_blocks);
  made_in_ = made.inner;
  made_out_ = made.outer;
  made_.reset(new XScalar[static_cast<std::size_t>(tasks * (made_in_ + made_out_) * d)]);
  radii_.resize(static_cast<std::size_t>(tasks * (made_in_ + made_out_)));
}

/// Finds the sizes of the panel, which are the largest sizes of sets among its tasks.
template <class XScalar>
VectorDesign<XScalar>::VectorDesign(const Round& round, const Panel& panel, Scratch& scratch)
    : round_(round), panel_(panel), scratch_(scratch) {
  for (Index t = 0; t < panel.tasks; ++t) {
    m_in_ = std::max(m_in_, panel.inner[t]->m);
    m_out_ = std::max(m_out_, panel.outer[t]->m);
  }
}

/// Returns the vector X^T r of a slot, (d,), (11): a row of the block of terms or, for a slot of
/// the inner loop that adds no term, memory in the scratch.
template <class XScalar>
double* VectorDesign<XScalar>::vector(int slot, Index task) {
  const Index d = round_.d;
  const bool is_term = panel_.inner_terms || is_outer_slot(slot, round_.outer_slot);
  if (is_term) return panel_.rows + (task * panel_.terms + row_of(slot)) * d;
  return scratch_.vectors_.get() + (slot * panel_.tasks + task) * d;
}

/// Stores c of the term slot c^T of (10) beside the slot's vector. When all tasks of a block are
/// done, one second sweep adds all terms of the block to grad_B, so grad_B is read and written once
/// for each block.
template <class XScalar>
void VectorDesign<XScalar>::add(int slot, const double* C) {
  for (Index t = 0; t < panel_.tasks; ++t) {
    double* out = panel_.coefficients + (t * panel_.terms + row_of(slot)) * padded(round_.k);
    for (Index j = 0; j < round_.k; ++j) out[j] = C[j * width + t];
  }
}

/// Returns the memory for a task's residuals after multiplication by the factors that X^T r needs.
/// If `features` is true, the residuals of all slots are kept until finish(), and residuals without
/// a slot have the last place.
template <class XScalar>
double* VectorDesign<XScalar>::scaled_of(int slot, Index task) {
  const Index place = !round_.features ? 0 : slot == kNoSlot ? scratch_.slots_ : slot;
  const Index stride = static_cast<Index>(scratch_.residuals_.size());
  return scratch_.scaled_.data() + place * stride + task * (stride / width);
}

/// Returns the memory for parts that belongs to a task, so that threads can work on several tasks
/// at once.
template <class XScalar>
double* VectorDesign<XScalar>::parts_of(Index task) {
  return scratch_.parts_.data() +
         task * static_cast<Index>(scratch_.parts_.size()) / scratch_.tasks_;
}

/// Returns whether B V + terms equals B w for every task, which holds in the first inner step, (2).
/// B w is computed only once a round, so the first inner step needs no product with B.
template <class XScalar>
bool VectorDesign<XScalar>::is_start(const double* V, Terms<Columns> terms) const {
  for (Index j = 0; terms.count == 0 && j < round_.k; ++j) {
    for (Index t = 0; t < panel_.tasks; ++t) {
      if (V[j * width + t] != round_.w[j]) return false;
    }
  }
  return terms.count == 0;
}

/// Computes U = B V + terms [- theta], (tasks, d), a vector of length d for each task, (11). The
/// terms of (6) are multiples of slots' vectors. Because theta_i is subtracted here,
/// X u is the residual except for the noise, (12). The work is cut into pieces of d, so that each
/// piece of B^T is read into the cache once and serves all tasks of the panel.
template <class XScalar>
void VectorDesign<XScalar>::directions(const double* V, Terms<Columns> terms, bool less_truth) {
  const Index d = round_.d, k = round_.k;
  each_piece(round_.threads, [&](Index first, Index columns, Index) {
    std::vector<double> v(static_cast<std::size_t>(k));
    for (Index t = 0; t < panel_.tasks; ++t) {
      double* u = scratch_.U_.get() + t * d + first;
      for (Index j = 0; j < k; ++j) v[static_cast<std::size_t>(j)] = V[j * width + t];
      kernels::sweep_combine<false>(k, columns, round_.B_t + first, d, v.data(), u);
      for (int l = 0; l < terms.count; ++l) {
        kernels::sweep_combine<true>(1, columns, vector(terms.slot(l), t) + first, d,
                                     terms.factor(l) + t, u);
      }
      if (less_truth) round_.truth->subtract(panel_.places[t], first, columns, u);
    }
  });
}

/// Computes B^T slot, (k, width), for every task of the panel, (11). Each piece of B^T serves all
/// tasks while the piece is in the cache. The part of the result from each piece is stored
/// separately, and the parts are added in order.
template <class XScalar>
void VectorDesign<XScalar>::pull_features(int slot) {
  const Index d = round_.d, k = round_.k;
  each_piece(round_.threads, [&](Index first, Index columns, Index piece) {
    for (Index t = 0; t < panel_.tasks; ++t) {
      kernels::sweep_times(k, columns, round_.B_t + first, d, vector(slot, t) + first,
                           parts_of(t) + piece * k);
    }
  });
  double* all = scratch_.features_.data() + slot * k * width;
  std::vector<double> task_features(static_cast<std::size_t>(k));
  for (Index t = 0; t < panel_.tasks; ++t) {
    sum_parts(parts_of(t), k, task_features.data());
    for (Index j = 0; j < k; ++j) all[j * width + t] = task_features[static_cast<std::size_t>(j)];
  }
}

/// Computes the part of X u from one piece of columns for some rows, (m,). In single precision, the
/// sum over a chunk of columns is a float, and the sums of the chunks are added in double.
template <class XScalar>
void VectorDesign<XScalar>::times_piece(const Pass& task, const Rows& rows, Index first,
                                        Index columns, Index piece) {
  double* part = task.parts + piece * rows.m;
  if constexpr (std::is_same_v<XScalar, float>) {
    if (round_.in_float32) {
      return kernels::sweep_times_single(rows.m, columns, rows.X + first, rows.stride,
                                         task.u + first, part);
    }
  }
  const bool whole = rows.m == task.set->m && columns == round_.d;
  kernels::sweep_times(rows.m, columns, rows.X + first, rows.stride, task.u + first, part,
                       whole ? task.upcoming : nullptr);
}

/// Computes v = X^T r of the first rows of a set, or v += X^T r of later rows, for one piece of v.
/// One thread computes a piece, and adds the rows in order.
template <class XScalar>
void VectorDesign<XScalar>::combine_piece(const Pass& task, const Rows& rows, Index begin,
                                          Index first, Index columns) {
  const XScalar* X = rows.X + first;
  const double* r = task.scaled + begin;
  double* v = task.v + first;
  if constexpr (std::is_same_v<XScalar, float>) {
    if (round_.in_float32) {
      return kernels::sweep_combine_single(rows.m, columns, X, rows.stride, r, begin == 0, v);
    }
  }
  if (begin == 0) {
    kernels::sweep_combine<false>(rows.m, columns, X, rows.stride, r, v);
  } else {
    kernels::sweep_combine<true>(rows.m, columns, X, rows.stride, r, v);
  }
}

/// Computes two products for a piece of columns: v (+)= X^T r of `rows`, which start at row
/// `begin`, and X u of the rows `next`. The bits equal those of combine_piece() and times_piece().
template <class XScalar>
void VectorDesign<XScalar>::combine_and_times_piece(const Pass& task, const Rows& rows,
                                                    const Rows& next, Index begin, Index first,
                                                    Index columns, Index piece) {
  if (round_.in_float32) {
    combine_piece(task, rows, begin, first, columns);
    return times_piece(task, next, first, columns, piece);
  }
  const auto sweep = begin == 0 ? kernels::sweep_combine_and_times<false, XScalar>
                                : kernels::sweep_combine_and_times<true, XScalar>;
  sweep(columns, rows.stride, rows.m, rows.X + first, task.scaled + begin, task.v + first, next.m,
        next.X + first, task.u + first, task.parts + piece * next.m);
}

/// Returns some rows of a set. The rows are not copied if X is in memory, are in the scratch if an
/// earlier pass generated and kept them, and are otherwise generated now. A row is a function of
/// its counters, (12), so a row has the same bits in every pass.
template <class XScalar>
typename VectorDesign<XScalar>::Rows VectorDesign<XScalar>::rows_of(const Pass& task, Index begin,
                                                                    Index count) {
  const Samples<XScalar>& set = *task.set;
  if (!set.is_made()) {
    const auto& [X, stride] = set.dense();
    return {X + begin * stride, stride, count, nullptr};
  }
  const Index d = round_.d, made = scratch_.made_in_ + scratch_.made_out_;
  const bool stays = task.inner && scratch_.made_in_ >= set.m;
  const Index at = task.place * made + (task.inner ? (stays ? begin : 0) : scratch_.made_in_);
  XScalar* X = scratch_.made_.get() + at * d;
  double* radii = scratch_.radii_.data() + at;
  if (!stays || !stay_[task.place]) make(task, begin, count, X, radii);
  return {X, d, count, radii};
}

/// Makes rows [begin, begin + count) of a set, (count, d), and their radii, (12). Each thread makes
/// one piece of columns of all these rows at a time. On the sphere a radius depends on the whole
/// row, so the sums of squares of the pieces are first added in order.
template <class XScalar>
void VectorDesign<XScalar>::make(const Pass& task, Index begin, Index count, XScalar* out,
                                 double* radii) {
  const Samples<XScalar>& set = *task.set;
  const Index d = round_.d;
  if (const auto* sourced = std::get_if<SourcedRows>(&set.rows)) {
    // The source supplies one block in each call, given the number of the block's first row.
    for (Index i = 0; i < count; i += RowSource::kBlock) {
      const Index rows = std::min<Index>(RowSource::kBlock, count - i);
      take_block(*sourced->source, sourced->roots, d, sourced->task, begin + i, rows, out + i * d);
    }
    std::fill_n(radii, count, 1.0);
    return;
  }
  const MadeRows& rows = std::get<MadeRows>(set.rows);
  each_piece(task.threads, [&](Index first, Index columns, Index piece) {
    for (Index i = 0; i < count; ++i) {
      task.parts[piece * count + i] =
          rows.maker->piece(rows.task, begin + i, first, columns, out + i * d + first);
    }
  });
  if (rows.maker->law == FeatureLaw::Kind::sphere) {
    sum_parts(task.parts, count, radii);
  } else {
    std::fill_n(radii, count, 0.0);  // the squares are not used, so they need no exchange
  }
  for (Index i = 0; i < count; ++i) radii[i] = rows.maker->radius(rows.task, begin + i, radii[i]);
}

/// Computes r = (X u - y) / sqrt(m), in the units of the algebra. Also computes the factor of each
/// row of X in X^T r, which is the product of three numbers: the row's element of r, 1 / sqrt(m)
/// and the row's radius. X itself is never scaled.
template <class XScalar>
void VectorDesign<XScalar>::residuals(const Pass& task, Index begin, Index count,
                                      const double* radii) {
  const Samples<XScalar>& set = *task.set;
  const double scale = normalisation(set.m);
  double *r = task.r + begin, *scaled = task.scaled + begin;
  for (Index i = 0; i < count; ++i) {
    r[i] = scale * (task.with_y ? r[i] - static_cast<double>(set.y[begin + i]) : r[i]);
    scaled[i] = scale * (radii == nullptr ? r[i] : radii[i] * r[i]);
  }
  for (Index i = 0; task.block >= 0 && i < count; ++i)  // see keep_block()
    scaled[i] *= (begin + i) * round_.blocks / set.m == task.block ? round_.blocks : 0;
}

/// Makes one pass over a set of a task, (11): X u of a block of rows, the residuals, and then X^T r
/// of the block while a cache still holds its rows. X is thus read from memory once for both
/// products, X u and X^T r. If X is in memory, X^T r of a block and X u of the next block are
/// computed in one loop over the columns, so that reading the next block overlaps with arithmetic
/// on rows in a cache. Every second loop takes the pieces of d in reverse order, because the last
/// pieces of a block are still in an inner cache.
template <class XScalar>
void VectorDesign<XScalar>::pass(const Pass& task) {
  const Samples<XScalar>& set = *task.set;
  if (set.is_sparse()) return pass_entries(task);
  const Index whole_row = static_cast<Index>(sizeof(XScalar)) * round_.shard->d();
  const auto most_rows = [&] {
    if (set.is_made()) return scratch_.made_out_;
    if (set.m * whole_row <= kNearestBytes) return set.m;
    return rows_at_a_time(whole_row, round_.in_float32, round_.shard->ranks(), task.threads);
  };
  const Index most = most_rows();
  Rows rows = rows_of(task, 0, std::min(most, set.m));
  each_piece(task.threads, [&](Index first, Index columns, Index piece) {
    times_piece(task, rows, first, columns, piece);
  });
  end_times(task, rows, 0);
  bool backward = true;
  for (Index begin = 0; begin < set.m; begin += most, backward = !backward) {
    const Index after = begin + rows.m, count = std::min(most, set.m - after);
    // The next generated rows overwrite these rows, so one loop cannot use both blocks.
    const bool together = count > 0 && !set.is_made();
    Rows next = together ? rows_of(task, after, count) : Rows{};
    const auto do_piece = [&](Index first, Index columns, Index piece) {
      if (together && task.v != nullptr) {
        return combine_and_times_piece(task, rows, next, begin, first, columns, piece);
      }
      if (task.v != nullptr) combine_piece(task, rows, begin, first, columns);
      if (together) times_piece(task, next, first, columns, piece);
    };
    each_piece(task.threads, do_piece, backward);
    if (count == 0) break;
    if (!together) {
      next = rows_of(task, after, count);
      each_piece(task.threads, [&](Index first, Index columns, Index piece) {
        times_piece(task, next, first, columns, piece);
      });
    }
    end_times(task, next, after);
    rows = next;
  }
  if (task.inner) stay_[task.place] = true;
}

/// For some rows, which start at row `begin` of the set, adds the parts of X u in the order of the
/// pieces, and computes the residuals. The sum for each row is multiplied by the radius of the row.
template <class XScalar>
void VectorDesign<XScalar>::end_times(const Pass& task, const Rows& rows, Index begin) {
  double* r = task.r + begin;
  sum_parts(task.parts, rows.m, r);
  for (Index i = 0; rows.radii != nullptr && i < rows.m; ++i) r[i] *= rows.radii[i];
  residuals(task, begin, rows.m, rows.radii);
}

/// Makes a pass over a sparse set, in blocks of rows that a cache holds. Threads divide the rows of
/// a block for X u, and bands of columns for X^T r. One thread computes a whole element of X u, and
/// an element of v is summed in the order of the rows, so the bits do not depend on the number of
/// threads. A small set is processed by one thread, since several threads would wait for each other
/// longer than the time that they save.
template <class XScalar>
void VectorDesign<XScalar>::pass_entries(const Pass& task) {
  const Samples<XScalar>& set = *task.set;
  if (set.leaves != nullptr) return pass_leaves(task);
  const SparseRows<XScalar>& X = set.sparse();
  const bool share = task.threads > 1 && set.bytes(round_.d) > kFarBytes / 4;
  const int threads = share ? task.threads : 1;
  const std::vector<Index> edges = find_bands(set, round_.d, threads);
  const Index blocks = 1 + set.bytes(round_.d) / (share ? kFarBytes : kNearBytes);
  for (Index block = 0; block < blocks; ++block) {
    const Index begin = block * set.m / blocks, rows = (block + 1) * set.m / blocks - begin;
    parallel_for(threads, threads, round_.cancel, [&](Index part, int) {
      const Index first = begin + part * rows / threads;
      const Index count = begin + (part + 1) * rows / threads - first;
      kernels::sparse_times(count, X.starts + first, X.columns, X.values, task.u, task.r + first);
      residuals(task, first, count, nullptr);
    });
    throw_if_requested(round_.cancel);
    if (task.v == nullptr) continue;
    parallel_for(threads, threads, round_.cancel, [&](Index band, int) {
      const Index first = edges[static_cast<std::size_t>(band)];
      const Index end = edges[static_cast<std::size_t>(band) + 1];
      if (block == 0) std::fill(task.v + first, task.v + end, 0.0);
      kernels::sparse_combine(rows, X.starts + begin, X.columns, X.values, first, end,
                              task.scaled + begin, task.v + first);
    });
  }
}

/// Makes a pass over a sparse set whose columns are shared: X u of each leaf, the sums over all
/// leaves, and X^T r of each leaf.
template <class XScalar>
void VectorDesign<XScalar>::pass_leaves(const Pass& task) {
  const Samples<XScalar>& set = *task.set;
  times_leaves(set, task.u, task.parts, task.threads);
  round_.shard->sum(round_.shard->leaves(), set.m, task.parts, task.r);
  residuals(task, 0, set.m, nullptr);
  if (task.v != nullptr) combine_leaves(set, task.scaled, task.v, task.threads);
}

/// Writes the residuals of the tasks into a panel, (m, width), with zeros after the residuals of a
/// smaller task and in columns without a task.
template <class XScalar>
void VectorDesign<XScalar>::interleave(const Samples<XScalar>* const* sets, Index most_m,
                                       double* r) const {
  const Index stride = static_cast<Index>(scratch_.residuals_.size()) / width;
  for (Index i = 0; i < most_m; ++i) {
    for (Index t = 0; t < width; ++t) {
      const bool has_row = t < panel_.tasks && i < sets[t]->m;
      const auto at = static_cast<std::size_t>(t * stride + i);
      r[i * width + t] = has_row ? scratch_.residuals_[at] : 0;
    }
  }
}

/// Computes a product of the Design in three steps: u for every task of the panel, a pass over one
/// set of each task, and B^T X^T r of the slot.
template <class XScalar>
void VectorDesign<XScalar>::chain(const Samples<XScalar>* const* sets, Index most_m, bool with_y,
                                  const double* V, Terms<Columns> terms, int slot, double* r) {
  const bool less_truth = with_y && sets[0]->is_made();
  const bool start = !less_truth && is_start(V, terms);
  if (!start) directions(V, terms, less_truth);
  const Index d = round_.d, stride = static_cast<Index>(scratch_.residuals_.size()) / width;
  const bool first = start || sets == panel_.outer;  // the first pass over these sets
  each_task([&](Index t, int threads) {
    pass({sets[t], t, sets == panel_.inner || *panel_.outer[t] == *panel_.inner[t], with_y,
          start ? round_.B_w : scratch_.U_.get() + t * d,
          slot == kNoSlot ? nullptr : vector(slot, t), parts_of(t),
          scratch_.residuals_.data() + t * stride, scaled_of(slot, t), threads, block_of(slot),
          with_y && first ? upcoming_rows<XScalar>(round_, panel_, sets, t) : nullptr});
  });
  interleave(sets, most_m, r);
  if (slot != kNoSlot) pull_features(slot);
}

/// Computes the inner products of the vectors of two slots, (width,), which replace a^T K b of (6)
/// and (9). Each inner product is a sum over the pieces of d in order. If the inner loop
/// was computed from Z, only the norm (29) of the complete contribution reads the vectors.
template <class XScalar>
void VectorDesign<XScalar>::dot(int a, int b, double* dots) {
  finish();
  std::fill_n(dots, width, 0.0);
  each_piece(round_.threads, [&](Index first, Index columns, Index piece) {
    for (Index t = 0; t < panel_.tasks; ++t) {
      parts_of(t)[piece] = kernels::dot(columns, vector(a, t) + first, vector(b, t) + first);
    }
  });
  for (Index t = 0; t < panel_.tasks; ++t) sum_parts(parts_of(t), 1, dots + t);
}

template class VectorDesign<float>;
template class VectorDesign<double>;

}  // namespace metaspan
