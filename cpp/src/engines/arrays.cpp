#include "metaspan/engines/arrays.hpp"

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <utility>

#include "metaspan/error.hpp"
#include "metaspan/parallel.hpp"
#include "metaspan/task_algebra.hpp"

namespace metaspan {
namespace {

constexpr Index kTile = 256;  // columns of X at a time: a task's tile stays in the second cache
constexpr Index kTilePadding = 8;
constexpr Index kPieces = 64;        // pieces that a sweep is cut into, at least, where d allows
constexpr Index kLeastPiece = 8192;  // columns in a piece

/// Blocks are Eigen's own memory: where a product's target lies decides how Eigen cuts it, and the
/// last bits with it.
Mat block(Index rows, Index columns) { return Mat::Zero(rows, columns); }

/// What the first sweep finds out about one task, not normalised yet; and the factors that come
/// back.
struct TaskBlocks {
  Mat Z_in, Z_out;  // (m, padded)
  Mat K, K_cross;   // (m_in, m_in), (m_out, m_in): MAML
  Mat C_in, C_out;  // (m, k)
};

/// What the first sweep is to supply.
struct Wanted {
  bool K, K_cross;
};

Index padded(Index k) { return round_up(k, kernels::kLane); }

/// Columns of X into the first ones of `tile`, as doubles.
template <class Scalar>
void copy_tile(const Samples<Scalar>& set, Index column, Index columns, Mat& tile) {
  for (Index i = 0; i < set.m; ++i) {
    std::copy_n(set.X + i * set.stride + column, columns, tile.data() + i * tile.cols());
  }
}

/// Some columns of X as doubles, row by row.
struct Tile {
  const double* data;  // (m, columns)
  Index stride;

  auto matrix(Index m, Index columns) const {
    return Eigen::Map<const Mat, 0, Eigen::OuterStride<>>(data, m, columns,
                                                          Eigen::OuterStride<>(stride));
  }
};

/// Doubles where they lie, other types through `scratch`.
template <class Scalar>
Tile tile_of(const Samples<Scalar>& set, Index column, Index columns, Mat& scratch) {
  if constexpr (std::is_same_v<Scalar, double>) {
    return {set.X + column, set.stride};
  } else {
    copy_tile(set, column, columns, scratch);
    return {scratch.data(), scratch.cols()};
  }
}

/// A tile of B as doubles, its columns padded with zeros: (columns of X, padded(k)).
template <class Scalar>
void load_rows(const Scalar* B, Index k, Index row, Index rows, double* tile) {
  const Index width = padded(k);
  for (Index i = 0; i < rows; ++i) {
    std::copy_n(B + (row + i) * k, k, tile + i * width);
    std::fill(tile + i * width + k, tile + (i + 1) * width, 0.0);
  }
}

/// The first sweep, (5): over tasks and, where they are few, over pieces of d, whose parts are
/// added in their order.
template <class XScalar, class BScalar>
class FirstSweep {
 public:
  FirstSweep(const BScalar* B, Index d, Index k, const std::vector<Samples<XScalar>>& inner,
             const std::vector<Samples<XScalar>>& outer, Wanted wanted)
      : B_(B), d_(d), k_(k), inner_(inner), outer_(outer), wanted_(wanted) {}

  std::vector<TaskBlocks> run(int threads, Cancel* cancel) {
    const auto n = static_cast<Index>(inner_.size());
    const Index pieces =
        std::clamp<Index>(ceil_div(kPieces, n), 1, std::max<Index>(1, d_ / kLeastPiece));
    std::vector<TaskBlocks> parts(static_cast<std::size_t>(n * pieces));
    parallel_for(threads, n * pieces, cancel, [&](Index item, int) {
      const Index task = item / pieces, piece = item % pieces;
      const auto edge = [&](Index p) { return p == pieces ? d_ : p * (d_ / pieces); };
      sweep(task, edge(piece), edge(piece + 1), parts[static_cast<std::size_t>(item)]);
    });
    if (cancel != nullptr && cancel->requested()) throw Cancelled();
    std::vector<TaskBlocks> tasks(static_cast<std::size_t>(n));
    for (Index i = 0; i < n; ++i) {
      TaskBlocks& sum = tasks[static_cast<std::size_t>(i)];
      sum = std::move(parts[static_cast<std::size_t>(i * pieces)]);
      for (Index p = 1; p < pieces; ++p) {
        const TaskBlocks& part = parts[static_cast<std::size_t>(i * pieces + p)];
        sum.Z_in += part.Z_in;
        sum.Z_out += part.Z_out;
        sum.K += part.K;
        sum.K_cross += part.K_cross;
      }
    }
    return tasks;
  }

 private:
  void sweep(Index task, Index begin, Index end, TaskBlocks& out) const {
    const auto& in = inner_[static_cast<std::size_t>(task)];
    const bool has_outer = !outer_.empty();
    const Samples<XScalar> query =
        has_outer ? outer_[static_cast<std::size_t>(task)] : Samples<XScalar>{};
    const Index width = padded(k_);
    out.Z_in = block(in.m, width);
    out.Z_out = block(query.m, width);
    if (wanted_.K) out.K = block(in.m, in.m);
    if (wanted_.K_cross) out.K_cross = block(query.m, in.m);
    Mat X_in = block(in.m, kTile), X_out = block(query.m, kTile), rows = block(kTile, width);
    for (Index column = begin; column < end; column += kTile) {
      const Index columns = std::min(kTile, end - column);
      load_rows(B_, k_, column, columns, rows.data());
      const Tile P = tile_of(in, column, columns, X_in), Q = tile_of(query, column, columns, X_out);
      kernels::product<true>(in.m, columns, width, P.data, P.stride, 1, rows.data(),
                             out.Z_in.data());
      kernels::product<true>(query.m, columns, width, Q.data, Q.stride, 1, rows.data(),
                             out.Z_out.data());
      const auto inner = P.matrix(in.m, columns), outer = Q.matrix(query.m, columns);
      if (wanted_.K) out.K.noalias() += inner * inner.transpose();
      if (wanted_.K_cross) out.K_cross.noalias() += outer * inner.transpose();
    }
  }

  const BScalar* B_;
  Index d_, k_;
  const std::vector<Samples<XScalar>>& inner_;
  const std::vector<Samples<XScalar>>& outer_;
  Wanted wanted_;
};

/// One data set of the second sweep: its rows and the factor they are combined with.
template <class XScalar>
struct Part {
  const Samples<XScalar>* set;
  const double* C;  // (m, padded)
};

/// The second sweep, (10), on rows [begin, end) of d: out <- [start +] scale of sums X^T C, one
/// tile of d after the other, the parts of a tile in their order.
template <class XScalar, class BScalar>
void second_sweep(const std::vector<Part<XScalar>>& parts, Index k, Index begin, Index end,
                  const BScalar* start,  // (d, k) added, or null
                  BScalar* out) {        // (d, k)
  const Index width = padded(k);
  Index most = 0;
  for (const auto& part : parts) most = std::max(most, part.set->m);
  // Rows an odd number of cache lines apart: reading down a column would meet the same few sets.
  Mat tile = block(most, kTile + kTilePadding), sum = block(kTile, width);
  for (Index row = begin; row < end; row += kTile) {
    const Index rows = std::min(kTile, end - row);
    sum.setZero();
    if (start != nullptr) load_rows(start, k, row, rows, sum.data());
    for (const auto& part : parts) {
      copy_tile(*part.set, row, rows, tile);
      kernels::product<true>(rows, part.set->m, width, tile.data(), 1, tile.cols(), part.C,
                             sum.data());
    }
    for (Index i = 0; i < rows; ++i) {
      for (Index j = 0; j < k; ++j) {
        out[(row + i) * k + j] = static_cast<BScalar>(sum(i, j));
      }
    }
  }
}

template <class Scalar>
Index most_rows(const std::vector<Samples<Scalar>>& sets) {
  Index most = 0;
  for (const auto& set : sets) most = std::max(most, set.m);
  return most;
}

double normalisation(Index m) { return m > 0 ? 1 / std::sqrt(static_cast<double>(m)) : 0; }

/// (m, k) -> (m, padded(k)), times scale.
Mat with_padding(const Mat& A, double scale) {
  Mat out = block(A.rows(), padded(A.cols()));
  out.leftCols(A.cols()) = scale * A;
  return out;
}

template <class Scalar>
Vec normalised_y(const Samples<Scalar>& set) {
  Vec y(set.m);
  for (Index i = 0; i < set.m; ++i) y[i] = normalisation(set.m) * static_cast<double>(set.y[i]);
  return y;
}

/// Brings what the first sweep found to the algebra's units and describes the task to it.
class DenseTask {
 public:
  template <class Scalar>
  DenseTask(TaskBlocks& blocks, const Samples<Scalar>& in, const Samples<Scalar>& out, Index k)
      : y_in_(normalised_y(in)), y_out_(normalised_y(out)), m_in_(in.m), m_out_(out.m) {
    const double scale_in = normalisation(m_in_), scale_out = normalisation(m_out_);
    blocks.Z_in = Mat(scale_in * blocks.Z_in.leftCols(k));
    blocks.Z_out = Mat(scale_out * blocks.Z_out.leftCols(k));
    blocks.K *= scale_in * scale_in;
    blocks.K_cross *= scale_in * scale_out;
    blocks.C_in = block(m_in_, k);
    blocks.C_out = block(m_out_, k);
    task_ = {m_in_,
             m_out_,
             blocks.Z_in.data(),
             y_in_.data(),
             blocks.Z_out.data(),
             y_out_.data(),
             blocks.K.data(),
             blocks.K_cross.data(),
             blocks.C_in.data(),
             blocks.C_out.data()};
  }
  const DenseDesign::Task& task() const { return task_; }

 private:
  Vec y_in_, y_out_;
  Index m_in_, m_out_;
  DenseDesign::Task task_{};
};

}  // namespace

template <class XScalar, class BScalar>
ArraysGradient gradient_on_arrays(const Method& method, const BScalar* B, const double* w, Index d,
                                  Index k, const std::vector<Samples<XScalar>>& inner,
                                  const std::vector<Samples<XScalar>>& outer, bool losses,
                                  BScalar* grad_B, int threads, Cancel* cancel) {
  const auto n = static_cast<Index>(inner.size());
  require(n > 0 && outer.size() == inner.size(), "as many outer as inner data sets, at least one");
  const bool K = method.needs_gram() || (losses && method.needs_cross_gram());
  std::vector<TaskBlocks> blocks =
      FirstSweep<XScalar, BScalar>(B, d, k, inner, outer, {K, method.needs_cross_gram()})
          .run(threads, cancel);

  ArraysGradient result{Vec::Zero(k), Mat::Zero(3, n), Mat(n, k)};
  Mat omegas(n, k);
  const Index most_in = most_rows(inner), most_out = most_rows(outer);
  parallel_for(threads, n, cancel, [&](Index i, int) {
    const auto at = static_cast<std::size_t>(i);
    const DenseTask task(blocks[at], inner[at], outer[at], k);
    const DenseDesign design(k, task.task());
    TaskAlgebra<DenseDesign> algebra(method, k, most_in, most_out);
    algebra.gradient(design, w, losses);
    omegas.row(i) = ConstVec(algebra.grad_w(), k);
    result.adapted.row(i) = ConstVec(algebra.adapted(), k);
    for (int which = 0; losses && which < 3; ++which) {
      result.losses(which, i) =
          *algebra.loss(static_cast<typename TaskAlgebra<DenseDesign>::Loss>(which));
    }
    const double share = 1.0 / static_cast<double>(n);
    blocks[at].C_in = with_padding(blocks[at].C_in, share * normalisation(inner[at].m));
    blocks[at].C_out = with_padding(blocks[at].C_out, share * normalisation(outer[at].m));
  });
  if (cancel != nullptr && cancel->requested()) throw Cancelled();
  result.w = omegas.colwise().sum() / static_cast<double>(n);

  std::vector<Part<XScalar>> parts;
  for (std::size_t i = 0; i < inner.size(); ++i) {
    if (method.has_inner_part()) parts.push_back({&inner[i], blocks[i].C_in.data()});
    parts.push_back({&outer[i], blocks[i].C_out.data()});
  }
  parallel_for(threads, ceil_div(d, kTile), cancel, [&](Index tile, int) {
    second_sweep<XScalar, BScalar>(parts, k, tile * kTile, std::min(d, (tile + 1) * kTile), nullptr,
                                   grad_B);
  });
  if (cancel != nullptr && cancel->requested()) throw Cancelled();
  return result;
}

template <class XScalar, class BScalar>
void adapt_on_arrays(const Method& method, const BScalar* B, const double* w, Index d, Index k,
                     const std::vector<Samples<XScalar>>& inner, double* w_J, BScalar* B_J,
                     int threads, Cancel* cancel) {
  const auto n = static_cast<Index>(inner.size());
  std::vector<TaskBlocks> blocks =
      FirstSweep<XScalar, BScalar>(B, d, k, inner, {}, {method.needs_gram(), false})
          .run(threads, cancel);
  const Index most_in = most_rows(inner);
  parallel_for(threads, n, cancel, [&](Index i, int) {
    const auto at = static_cast<std::size_t>(i);
    const DenseTask task(blocks[at], inner[at], Samples<XScalar>{}, k);
    TaskAlgebra<DenseDesign> algebra(method, k, most_in, 0);
    algebra.adapt(DenseDesign(k, task.task()), w);
    std::copy_n(algebra.adapted(), k, w_J + i * k);
    // B_J = B - alpha sum_l X^T r_l w_l^T
    Mat& C = blocks[at].C_in;
    for (int l = 0; B_J != nullptr && method.adapt_B && l < method.inner_steps; ++l) {
      kernels::add_outer(C.rows(), k, algebra.residual(l), algebra.head(l), C.data());
    }
    C *= -method.alpha;
    blocks[at].C_in = with_padding(blocks[at].C_in, normalisation(inner[at].m));
  });
  if (cancel != nullptr && cancel->requested()) throw Cancelled();
  if (B_J == nullptr) return;
  const Index tiles = ceil_div(d, kTile);
  parallel_for(threads, n * tiles, cancel, [&](Index item, int) {
    const Index i = item / tiles, tile = item % tiles;
    const auto at = static_cast<std::size_t>(i);
    second_sweep<XScalar, BScalar>({{&inner[at], blocks[at].C_in.data()}}, k, tile * kTile,
                                   std::min(d, (tile + 1) * kTile), B, B_J + i * d * k);
  });
  if (cancel != nullptr && cancel->requested()) throw Cancelled();
}

template <class XScalar, class BScalar>
Mat project(const BScalar* B, Index d, Index k, const std::vector<Samples<XScalar>>& sets,
            int threads) {
  const std::vector<TaskBlocks> blocks =
      FirstSweep<XScalar, BScalar>(B, d, k, sets, {}, {false, false}).run(threads, nullptr);
  Index rows = 0;
  for (const auto& set : sets) rows += set.m;
  Mat Z(rows, k);
  Index row = 0;
  for (std::size_t i = 0; i < sets.size(); row += sets[i].m, ++i) {
    Z.middleRows(row, sets[i].m) = blocks[i].Z_in.leftCols(k);
  }
  return Z;
}

// Every storage of X with every storage of B.
template <class XScalar, class BScalar>
struct Instances {
  static constexpr auto gradient = &gradient_on_arrays<XScalar, BScalar>;
  static constexpr auto adapt = &adapt_on_arrays<XScalar, BScalar>;
  static constexpr auto features = &project<XScalar, BScalar>;
};
template struct Instances<double, double>;
template struct Instances<double, float>;
template struct Instances<float, double>;
template struct Instances<float, float>;

}  // namespace metaspan
