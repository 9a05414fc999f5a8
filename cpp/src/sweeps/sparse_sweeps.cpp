#include "metaspan/sweeps/sparse_sweeps.hpp"

#include <algorithm>
#include <utility>

#include "metaspan/base/error.hpp"
#include "metaspan/base/huge_pages.hpp"
#include "metaspan/base/parallel.hpp"
#include "metaspan/sweeps/band_copies.hpp"
#include "metaspan/sweeps/bands.hpp"
#include "metaspan/sweeps/sparse_gram.hpp"
#include "metaspan/sweeps/term_tile.hpp"
#include "sparse.hpp"

namespace metaspan {
namespace {

/// Approximate number of entries in the rows that a thread multiplies by B at a time.
constexpr Index kPieceEntries = 1 << 15;

/// If rows are long enough to be cut into bands, the sums of a band take about kCutBytes bytes.
/// Bands do not make a sweep faster if a row has on average fewer than kCutEntries entries in a
/// band.
constexpr Index kCutBytes = 1 << 24;
constexpr Index kCutEntries = 16;

/// The number of entries of X that take as much work as one row of the output.
constexpr Index kRowWeight = 4;

/// Rows [begin, end) of a set, and the matrix Z to which the products of these rows with B are
/// written.
template <class XScalar>
struct Piece {
  const Samples<XScalar>* set;
  Mat* Z;
  Index begin, end;
};

/// Resizes Z to (m, width) for a set and cuts the rows of the set into pieces of about
/// kPieceEntries entries. Each row of Z is summed by one thread, so the cuts do not affect any sum.
template <class XScalar>
void append_pieces(const Samples<XScalar>& set, Mat& Z, Index width,
                   std::vector<Piece<XScalar>>& pieces) {
  Z.resize(set.m, width);
  const Index count = std::min(set.m, 1 + set.entries() / kPieceEntries);
  for (Index p = 0; p < count; ++p) {
    pieces.push_back({&set, &Z, p * set.m / count, (p + 1) * set.m / count});
  }
}

/// Computes Z = X B of (5) for the rows of a piece: for each entry of X, a multiple of a row of B,
/// (d, k), is added to a row of Z. The padding columns of Z are set to zero because the algebra
/// reads these columns.
template <class XScalar, class BScalar>
void project_piece(const Piece<XScalar>& piece, const BScalar* B, Index k, kernels::Reach reach) {
  const Index rows = piece.end - piece.begin, width = piece.Z->cols();
  auto Z = piece.Z->middleRows(piece.begin, rows);
  Z.rightCols(width - k).setZero();
  const auto& [starts, columns, values] = piece.set->sparse();
  using kernels::Reach;
  const auto times = reach == Reach::near ? &kernels::sparse_times<Reach::near, XScalar, BScalar>
                     : reach == Reach::far
                         ? &kernels::sparse_times<Reach::far, XScalar, BScalar>
                         : &kernels::sparse_times<Reach::beyond, XScalar, BScalar>;
  times(rows, starts + piece.begin, columns, values, B, k, Z.data(), width);
}

/// Returns the kernels::Reach of B, which determines how the product X B reads the rows of B. The
/// result is `far` only in a run that may make copies by bands. If the result is `far`, X B adds
/// the entries in the order in which copies by bands would add them.
template <class BScalar, class XScalar>
kernels::Reach reach_of_B(const TaskSet<XScalar>& tasks, Index k) {
  if (tasks.in_order && is_far(tasks.d, k)) return kernels::Reach::far;
  const bool is_near = static_cast<Index>(sizeof(BScalar)) * tasks.d * k <= kCutBytes;
  return is_near ? kernels::Reach::near : kernels::Reach::beyond;
}

/// Splits the sets into at most `groups` ranges of consecutive sets with about the same number of
/// entries in each range, and returns the edges of the ranges.
template <class XScalar>
std::vector<Index> group_sets(const std::vector<Piece<XScalar>>& sets, Index groups) {
  Index all = 0, before = 0;
  for (const auto& piece : sets) all += piece.set->entries();
  std::vector<Index> edges{0};
  for (std::size_t s = 0; s < sets.size(); ++s) {
    const auto next = static_cast<Index>(edges.size());
    if (before * groups >= next * all && static_cast<Index>(s) > edges.back()) {
      edges.push_back(static_cast<Index>(s));
    }
    before += sets[s].set->entries();
  }
  edges.push_back(static_cast<Index>(sets.size()));
  return edges;
}

/// Computes Z = X B of (5) for whole sets with copies by bands. All sets of a group are multiplied
/// by a band of rows of B while an L2 cache holds this band. Each row of Z is summed in the order
/// of the columns of X, so the groups do not affect any sum.
template <class XScalar, class BScalar>
void project_bands(const std::vector<Piece<XScalar>>& sets, const BScalar* B, Index k, int threads,
                   Cancel* cancel) {
  if (sets.empty()) return;
  const std::vector<Index> edges = group_sets(sets, threads);
  const std::size_t bands = sets.front().set->banded->starts.size() - 1;
  parallel_for(threads, static_cast<Index>(edges.size()) - 1, cancel, [&](Index group, int) {
    const auto begin = sets.begin() + edges[static_cast<std::size_t>(group)];
    const auto end = sets.begin() + edges[static_cast<std::size_t>(group) + 1];
    for (auto piece = begin; piece != end; ++piece) piece->Z->setZero();
    for (std::size_t band = 0; band < bands; ++band) {
      if (cancel != nullptr && cancel->requested()) return;
      for (auto piece = begin; piece != end; ++piece) {
        const BandedRows<XScalar>& X = *piece->set->banded;
        const Index p = X.starts[band];
        kernels::banded_times(X.starts[band + 1] - p, X.rows.data() + p, X.columns.data() + p,
                              X.values.data() + p, B + static_cast<Index>(band) * X.width * k, k,
                              piece->Z->data(), piece->Z->cols());
      }
    }
  });
}

/// Computes the Gram matrix K of the rows of one set, (5). The entries of the rows are put into
/// lists kListedRows rows at a time, so that the lists stay small. Only the blocks of K on and
/// below the diagonal are computed; at the end these blocks are copied to the blocks above the
/// diagonal, which halves the work.
template <class XScalar>
void make_gram(const std::vector<SparseRow<XScalar>>& rows, Index d, SparseProducts& products,
               Mat& K) {
  const auto m = static_cast<Index>(rows.size());
  K.setZero(m, m);
  for (Index j = 0; j < m; j += kListedRows) {
    products.add(rows.data() + j, m - j, rows.data() + j, std::min(kListedRows, m - j), d,
                 K.data() + j * m + j, m);
  }
  K.template triangularView<Eigen::StrictlyUpper>() = K.transpose();
}

/// Computes the matrices among K = X X^T, K' = X' X^T and X' X'^T of one task, (5) and (29), that
/// `needed` selects.
template <class XScalar>
void add_grams(const Samples<XScalar>& in, const Samples<XScalar>* out, GramsNeeded needed, Index d,
               SparseProducts& products, TaskProducts& blocks) {
  std::vector<SparseRow<XScalar>> inner, outer;
  append_rows(in, 1.0, inner);
  if (needed.K_cross || needed.K_outer) append_rows(*out, 1.0, outer);
  blocks.K.resize(0, 0);
  blocks.K_outer.resize(0, 0);
  if (needed.K) make_gram(inner, d, products, blocks.K);
  if (needed.K_outer) make_gram(outer, d, products, blocks.K_outer);
  blocks.K_cross.setZero(needed.K_cross ? out->m : 0, needed.K_cross ? in.m : 0);
  for (Index j = 0; needed.K_cross && j < in.m; j += kListedRows) {
    products.add(outer.data(), out->m, inner.data() + j, std::min(kListedRows, in.m - j), d,
                 blocks.K_cross.data() + j, in.m);
  }
}

/// Returns whether X^T C of one part, (10), is computed by terms: by a vector X^T s for each term s
/// c^T of C. If this function returns false, X^T C is computed in one sweep over X that adds, for
/// each entry of X, a multiple of a row of C, (padded(k),), to a row of the output. Terms take less
/// time if C has few terms and k is large, although each term takes a pass over vectors of length
/// d. The choice depends on sizes alone, so the order of the sums also depends on sizes alone.
template <class XScalar>
bool by_terms(const Part<XScalar>& part, Index d, Index k) {
  if (part.C->whole()) return false;
  const TermWork work = term_work(static_cast<double>(part.set->entries()), d, k);
  return static_cast<double>(part.C->count()) * work.of_a_term < work.of_rows;
}

/// Returns whether X^T C of the part needs the rows of C although C is stored as terms. If the set
/// has a copy by bands and C has a single term, the rows of C are computed during the sweep and
/// need not be stored.
template <class XScalar>
bool needs_rows(const Part<XScalar>& part, Index d, Index k) {
  const Index enough = part.set->banded != nullptr ? 1 : 0;
  return !part.C->whole() && part.C->count() > enough && !by_terms(part, d, k);
}

/// Computes C = sum_t s_t c_t^T, (m, padded(k)), for the parts whose C is stored as terms although
/// the rows of C are needed. lazyProduct() evaluates a product entry by entry. The function is
/// faster here because the inner dimension of the product, the number of terms, is small.
template <class XScalar>
std::vector<Mat> expand_factors(const std::vector<Part<XScalar>>& parts, Index d, Index k,
                                int threads, Cancel* cancel) {
  std::vector<Mat> all(parts.size());
  parallel_for(threads, static_cast<Index>(parts.size()), cancel, [&](Index p, int) {
    const Part<XScalar>& part = parts[static_cast<std::size_t>(p)];
    const Factors& C = *part.C;
    if (!needs_rows(part, d, k)) return;
    const Eigen::Map<const Eigen::MatrixXd> s(C.s(0), C.m(), C.count());
    all[static_cast<std::size_t>(p)].noalias() =
        s.lazyProduct(ConstMat(C.c(), C.count(), padded(k)));
  });
  return all;
}

/// The features [first, end), and the number of this band in BandedRows.
struct Band {
  Index first, end, number;
};

/// Computes v = X^T s for the features of a band, (end - first,).
template <class XScalar>
void combine_vector(const Samples<XScalar>& set, const Band& band, const double* s, double* v) {
  std::fill_n(v, band.end - band.first, 0.0);
  if (set.banded != nullptr) {
    const BandedRows<XScalar>& X = *set.banded;
    const auto at = static_cast<std::size_t>(band.number);
    const Index p = X.starts[at];
    return kernels::banded_combine(X.starts[at + 1] - p, X.rows.data() + p, X.columns.data() + p,
                                   X.values.data() + p, s, v);
  }
  const SparseRows<XScalar>& X = set.sparse();
  kernels::sparse_combine(set.m, X.starts, X.columns, X.values, band.first, band.end, s, v);
}

/// Computes sum += X^T C for the features of a band, (end - first, width). C is the matrix of
/// `part` or, if `part` stores C as terms, the expanded matrix `rows`. If the set has a copy by
/// bands and C has a single term, `rows` is empty.
template <class XScalar>
void combine_rows(const Part<XScalar>& part, const Mat& rows, const Band& band, double* sum,
                  Index width) {
  const auto& [set, C] = part;
  const double* matrix = C->whole() ? C->matrix() : rows.data();
  if (set->banded != nullptr) {
    const BandedRows<XScalar>& X = *set->banded;
    const auto at = static_cast<std::size_t>(band.number);
    const Index p = X.starts[at];
    const bool one_term = matrix == nullptr;
    return kernels::banded_combine(X.starts[at + 1] - p, X.rows.data() + p, X.columns.data() + p,
                                   X.values.data() + p, one_term ? C->s(0) : nullptr,
                                   one_term ? C->c() : matrix, sum, width);
  }
  const SparseRows<XScalar>& X = set->sparse();
  kernels::sparse_combine(set->m, X.starts, X.columns, X.values, band.first, band.end, matrix, sum,
                          width);
}

/// Computes sum += X^T C over the parts, (10), for the features of a band, (end - first,
/// padded(k)). Every band takes the parts in their order. Terms v c^T are collected in a TermTile,
/// which adds several terms at a time. Before a part that is not computed by terms, the terms in
/// the tile are added, so that the order of the additions is the order of the parts.
template <class XScalar>
void add_parts(const std::vector<Part<XScalar>>& parts, const std::vector<Mat>& C, Index d, Index k,
               const Band& band, Cancel* cancel, double* sum) {
  const Index rows = band.end - band.first, width = padded(k);
  const bool any = std::any_of(parts.begin(), parts.end(),
                               [&](const Part<XScalar>& part) { return by_terms(part, d, k); });
  TermTile terms(any ? rows : 0, width, rows);
  for (std::size_t p = 0; p < parts.size(); ++p) {
    if (cancel != nullptr && cancel->requested()) return;
    const auto& [set, factors] = parts[p];
    if (by_terms(parts[p], d, k)) {
      for (Index t = 0; t < factors->count(); ++t) {
        combine_vector(*set, band, factors->s(t), terms.next(factors->c() + t * width, sum));
      }
    } else if (factors->whole() || factors->count() > 0) {
      terms.add_to(sum);
      combine_rows(parts[p], C[p], band, sum, width);
    }
  }
  terms.add_to(sum);
}

/// Returns the edges of bands of features with about the same work in each band, (bands + 1,).
/// There is one band for every thread, or more bands if the sums of a band would not stay in a
/// cache and rows are long enough to be cut. The edges are quantiles of the columns of sampled
/// entries of X. Rows of the output are sampled too, since features without entries also take time.
/// The bands may depend on the number of threads because no sum depends on the bands: an element of
/// the output is always summed over the entries in its column of X, in the order of the rows of X.
/// If the sets have copies by bands, the bands of the copies are used.
template <class XScalar>
std::vector<Index> find_bands(const std::vector<Part<XScalar>>& parts, Index d, Index k,
                              int threads) {
  if (const auto* copy = parts.front().set->banded) {
    std::vector<Index> edges{0};
    while (edges.back() < d) edges.push_back(std::min(d, edges.back() + copy->width));
    return edges;
  }
  Index entries = 0, rows = 0;
  for (const auto& part : parts) {
    entries += part.set->entries();
    rows += part.set->m;
  }
  const Index table = 8 * padded(k) * d, cuts = entries / (kCutEntries * rows + 1);
  const Index count = std::max<Index>(threads, std::min(table / kCutBytes, cuts));
  if (count == 1) return {0, d};
  const Index step = 1 + (entries + kRowWeight * d) / kBandSamples;
  std::vector<Index> sampled;
  for (const auto& [set, C] : parts) {
    const SparseRows<XScalar>& X = set->sparse();
    for (Index p = X.starts[0]; p < X.starts[set->m]; p += step) sampled.push_back(X.columns[p]);
  }
  for (Index row = 0; row < d; row += 1 + step / kRowWeight) sampled.push_back(row);
  return edges_at_equal_ranks(std::move(sampled), count, d);
}

}  // namespace

/// Makes the first sweep, (5), over sparse tasks. The sweep computes Z and Z' by bands of columns
/// if the sets have copies by bands, and by pieces of rows if they do not, and then the Gram
/// matrices task by task. The pieces of all tasks form one list, so that all threads have work even
/// if one task is much larger than the other tasks. If a data set serves both loops, Z and K are
/// computed once and copied to Z' and K'.
template <class XScalar, class BScalar>
void sparse_first_sweep(const BScalar* B, Index k, const TaskSet<XScalar>& tasks,
                        const TaskSelection& taken, GramsNeeded needed, int threads, Cancel* cancel,
                        std::vector<TaskProducts>& products) {
  const Index width = padded(k);
  const bool has_outer = !tasks.outer.empty() && needed.outer;
  std::vector<char> shared(static_cast<std::size_t>(taken.n));
  std::vector<Piece<XScalar>> pieces, banded;
  const auto append = [&](const Samples<XScalar>& set, Mat& Z) {
    if (set.banded == nullptr || k < kernels::kLane) return append_pieces(set, Z, width, pieces);
    Z.resize(set.m, width);
    banded.push_back({&set, &Z, 0, set.m});
  };
  for (Index i = 0; i < taken.n; ++i) {
    const auto at = static_cast<std::size_t>(i);
    shared[at] = has_outer && tasks.shares(taken[i]);
    append(tasks.in(taken[i]), products[at].Z_in);
    if (has_outer && !shared[at]) append(tasks.out(taken[i]), products[at].Z_out);
  }
  project_bands(banded, B, k, threads, cancel);
  const kernels::Reach reach = reach_of_B<BScalar>(tasks, k);
  parallel_for(threads, static_cast<Index>(pieces.size()), cancel, [&](Index p, int) {
    project_piece(pieces[static_cast<std::size_t>(p)], B, k, reach);
  });
  const bool grams = needed.K || needed.K_cross || needed.K_outer;
  std::vector<SparseProducts> workspaces(static_cast<std::size_t>(grams ? threads : 0));
  parallel_for(threads, taken.n, cancel, [&](Index i, int thread) {
    const auto at = static_cast<std::size_t>(i);
    const bool same = shared[at] != 0;
    TaskProducts& blocks = products[at];
    if (grams) {
      add_grams(tasks.in(taken[i]), same || !has_outer ? nullptr : &tasks.out(taken[i]),
                same ? needed.of_one_set() : needed, tasks.d,
                workspaces[static_cast<std::size_t>(thread)], blocks);
    } else {
      blocks.K.resize(0, 0);
      blocks.K_cross.resize(0, 0);
      blocks.K_outer.resize(0, 0);
    }
    if (same) blocks.Z_out = blocks.Z_in;
    if (same && needed.K_cross) blocks.K_cross = blocks.K;
    if (same && needed.K_outer) blocks.K_outer = blocks.K;
  });
  throw_if_requested(cancel);
}

/// Makes the second sweep, (10), by bands of features: out = [start +] sum_i X_i^T C_i, (d, k). The
/// sums of a band are accumulated in double over all parts, and rounded to the type of B once at
/// the end. If `out` is in double and needs no padding, the sums are accumulated in `out`,
/// otherwise in a separate matrix for the band. Different threads write to disjoint memory.
template <class XScalar, class BScalar>
void sparse_second_sweep(const std::vector<Part<XScalar>>& parts, Index d, Index k,
                         const BScalar* start, BScalar* out, int threads, Cancel* cancel) {
  using Table = Eigen::Map<MatrixOf<BScalar>>;
  const Index width = padded(k);
  const std::vector<Mat> C = expand_factors(parts, d, k, threads, cancel);
  const std::vector<Index> edges = find_bands(parts, d, k, threads);
  parallel_for(threads, static_cast<Index>(edges.size()) - 1, cancel, [&](Index b, int) {
    const auto at = static_cast<std::size_t>(b);
    const Band band{edges[at], edges[at + 1], b};
    const Index rows = band.end - band.first;
    if (rows == 0) return;
    Table target(out + band.first * k, rows, k);
    if (start == nullptr) {
      target.setZero();
    } else if (start != out) {
      std::copy_n(start + band.first * k, rows * k, target.data());
    }
    if constexpr (std::is_same_v<BScalar, double>) {
      if (width == k) return add_parts(parts, C, d, k, band, cancel, target.data());
    }
    Mat sum(rows, width);
    prefer_huge_pages(sum.data(), sum.size());
    sum.leftCols(k) = target.template cast<double>();
    sum.rightCols(width - k).setZero();
    add_parts(parts, C, d, k, band, cancel, sum.data());
    target = sum.leftCols(k).template cast<BScalar>();
  });
  throw_if_requested(cancel);
}

// Instantiations for every type of X with every type of B.
template <class XScalar, class BScalar>
struct SparseInstances {
  static constexpr auto first = &sparse_first_sweep<XScalar, BScalar>;
  static constexpr auto second = &sparse_second_sweep<XScalar, BScalar>;
};
template struct SparseInstances<double, double>;
template struct SparseInstances<double, float>;
template struct SparseInstances<float, double>;
template struct SparseInstances<float, float>;

}  // namespace metaspan
