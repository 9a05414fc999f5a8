#include "metaspan/geometry/coordinates.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "metaspan/base/parallel.hpp"
#include "metaspan/geometry/decompositions.hpp"
#include "panel.hpp"

namespace metaspan {
namespace {

/// Largest number of rows in a panel of the d rows. A panel of 20 columns stays in the L2 cache.
constexpr Index kPanelRows = 2048;

/// Number of rows of a panel that are multiplied together: up to 32 columns of these rows stay in
/// an L1 cache.
constexpr Index kStripRows = 64;

/// Bounds within which by_grams() computes the coordinates (13). If the squared lengths of all
/// columns are between kShortest and 1 / kShortest, the Gram matrix of the columns neither
/// overflows nor underflows. The condition number of a Gram matrix is the square of that of the
/// columns; rounding errors stay small if the norm of the inverse Cholesky factor of the Gram
/// matrix is at most kMostInverse. After B_star has been removed once, the remaining components
/// along B_star of k unit vectors must have a norm of at most kMostOverlap, so that one more
/// removal is enough.
constexpr double kShortest = 1e-140, kMostInverse = 1e3, kMostOverlap = 1e-6;

/// A singular vector of a start counts as rounding error if its singular value is below kNoise
/// times the number of columns times the largest singular value.
constexpr double kNoise = 4 * std::numeric_limits<double>::epsilon();

/// Returns the rows that a function works on: those of `shard`, or all d rows if it is null.
Shard rows_of(const Shard* shard, Index d) { return shard == nullptr ? Shard(d) : *shard; }

/// Calls body(first row, rows, panel) for each panel of the rows of this process, which are pieces
/// of at most kPanelRows rows. The number of threads affects which thread computes a panel, but not
/// which rows a panel has. Few rows are not worth several threads.
template <class Body>
void for_panels(const Shard& shard, int threads, Body&& body) {
  const Shard::Pieces panels = shard.pieces(kPanelRows);
  parallel_for(shard.size() <= kPanelRows ? 1 : threads, panels.count,
               [&](Index panel, int) { body(panels.begin(panel), panels.size(panel), panel); });
}

/// Returns the sum of the parts of all panels of all processes, (p, q), where body(first row, rows,
/// part) adds to the part of a panel, whose numbers are 0. The order of the additions depends on d
/// alone, and the rounding errors of the sum grow with the logarithm of d / kPanelRows.
template <class Body>
Mat sum_over_panels(const Shard& shard, Index p, Index q, int threads, Body&& body) {
  const Shard::Pieces panels = shard.pieces(kPanelRows);
  Mat parts = Mat::Zero(panels.count, p * q), sum(p, q);
  for_panels(shard, threads, [&](Index first, Index rows, Index panel) {
    body(first, rows, parts.data() + panel * p * q);
  });
  shard.sum(panels, p * q, parts.data(), sum.data());
  return sum;
}

/// Returns the largest power of two that does not exceed `length`; division by this power is exact.
/// Returns 1 if `length` is 0 or not finite. The magnitude of the exponent is limited to 1000, so
/// that the reciprocal of the power is finite too.
double power_of_two(double length) {
  if (!(length > 0) || !std::isfinite(length)) return 1;
  return std::ldexp(1.0, std::clamp(std::ilogb(length), -1000, 1000));
}

/// Returns max_i |A_ij| for every column j, (q,), or 1 for a column of zeros. A maximum has no
/// rounding error, so the order in which panels are processed does not matter.
Vec column_maxima(const Mat& A, int threads, const Shard& shard) {
  Mat maxima = Mat::Zero(shard.pieces(kPanelRows).count, A.cols());
  for_panels(shard, threads, [&](Index first, Index rows, Index panel) {
    if (rows > 0) maxima.row(panel) = A.middleRows(first, rows).cwiseAbs().colwise().maxCoeff();
  });
  Vec most = maxima.colwise().maxCoeff();
  shard.largest(most.size(), most.data());
  return (most.array() > 0).select(most, 1.0);
}

/// Computes A <- A S for A (d, q) and a small S (q, r), panel by panel. The result is in the first
/// r columns of A. The product of each panel with S is first computed in a temporary matrix,
/// because the panel must not be overwritten before the product is complete.
void multiply_right(MutMat A, const Mat& S, int threads, const Shard& shard) {
  for_panels(shard, threads, [&](Index first, Index rows, Index) {
    const Mat product = A.middleRows(first, rows) * S;
    A.block(first, 0, rows, S.cols()) = product;
  });
}

/// Returns a copy of a small A (rows, columns) that kernels can take as the right factor of a
/// product: columns of zeros are appended, so that every row fills whole registers.
Mat widen(const Mat& A) {
  Mat wide = Mat::Zero(A.rows(), round_up(A.cols(), kernels::kLane));
  wide.leftCols(A.cols()) = A;
  return wide;
}

/// Calls body(first row, rows, strip, part) for every strip of kStripRows rows of a panel, and
/// returns the sum of the parts of all panels of all processes, (p, width). A strip (rows, width)
/// is scratch memory whose rows fill whole registers. Columns of a strip that `body` never writes
/// are zero. All strips of a panel are added to the same part, in the order of the rows.
template <class Body>
Mat sum_over_strips(const Shard& shard, Index p, Index width, int threads, Body&& body) {
  return sum_over_panels(shard, p, width, threads, [&](Index first, Index rows, double* part) {
    Mat strip = Mat::Zero(std::min(rows, kStripRows), width);
    for (Index i = 0; i < rows; i += kStripRows) {
      body(first + i, std::min(kStripRows, rows - i), strip.data(), part);
    }
  });
}

/// Copies a short row of `count` numbers by registers, the last of which may overlap the one before
/// it. A call of memmove for every row would take longer than the copies.
void copy_row(const double* from, Index count, double* to) {
  if (count < kernels::kLane) {
    std::copy_n(from, count, to);
    return;
  }
  const Index last = count - kernels::kLane;
  for (Index j = 0; j < last; j += kernels::kLane) {
    kernels::store(to + j, kernels::load(from + j));
  }
  kernels::store(to + last, kernels::load(from + last));
}

/// Copies rows [first, first + rows) of A (d, q) into a strip, (rows, width).
void load_strip(ConstMat A, Index first, Index rows, Index width, double* strip) {
  const double* from = A.row(first).data();
  for (Index i = 0; i < rows; ++i) copy_row(from + i * A.cols(), A.cols(), strip + i * width);
}

/// Copies a strip (rows, width) to rows [first, first + rows) of A (d, q).
void store_strip(const double* strip, Index first, Index rows, Index width, Mat& A) {
  double* to = A.row(first).data();
  for (Index i = 0; i < rows; ++i) copy_row(strip + i * width, A.cols(), to + i * A.cols());
}

/// Computes strip += A S or, without `Add`, strip = A S, for rows [first, first + rows) of A (d, q)
/// and a small S (q, width).
template <bool Add>
void multiply_strip(ConstMat A, Index first, Index rows, const Mat& S, double* strip) {
  kernels::product<Add>(rows, A.cols(), S.cols(), A.data() + first * A.cols(), A.cols(), 1,
                        S.data(), strip);
}

/// Computes part += A^T strip for rows [first, first + rows) of A (d, q); the part is (q, width).
void add_inner(ConstMat A, Index first, Index rows, Index width, const double* strip,
               double* part) {
  kernels::product<true>(A.cols(), rows, width, A.data() + first * A.cols(), 1, A.cols(), strip,
                         part);
}

ConstMat as_const(const Mat& A) { return {A.data(), A.rows(), A.cols()}; }

/// Returns S^{-1} for the Gram matrix G = S^T S (k, k), where S is upper triangular. Returns
/// nothing if rounding errors would be large: if G is too close to singular, or if the columns of S
/// are too long or too short. The columns of S are scaled to unit length first, so that different
/// lengths of the columns do not make G count as singular.
std::optional<Mat> inverse_of_factor(const Mat& G) {
  const Vec squares = G.diagonal();
  if (!(squares.minCoeff() > kShortest && squares.maxCoeff() < 1 / kShortest)) return {};
  const Vec inverse_lengths = squares.cwiseSqrt().cwiseInverse();
  const Mat inverse =
      inverse_cholesky(inverse_lengths.asDiagonal() * G * inverse_lengths.asDiagonal());
  if (!(inverse.norm() <= kMostInverse)) return {};
  return Mat(inverse_lengths.asDiagonal() * inverse);
}

/// Computes the coordinates (13) from Gram matrices. Returns nothing if off = B - B_star M is
/// ill-conditioned, which is rare. The first step computes E_1 = off S^{-1} with off^T off = S^T S,
/// which is orthonormal up to rounding errors times the squared condition number of `off`. A second
/// step of this kind, which also removes from E_1 the remaining component along B_star, leaves only
/// rounding errors. Every pass over the d rows computes all of its products while the rows are in a
/// cache. R is computed from `off`, since the lengths of the columns of `off` may differ by any
/// power of ten.
std::optional<Coordinates> by_grams(ConstMat B, ConstMat B_star, int threads, const Shard& shard) {
  const Index d = B.rows(), k = B.cols(), k_star = B_star.cols();
  const Index width = round_up(k, kernels::kLane);
  if (k > shard.d() - k_star) return {};
  const Mat M = sum_over_strips(shard, k_star, width, threads,
                                [&](Index first, Index rows, double* strip, double* part) {
                                  load_strip(B, first, rows, width, strip);
                                  add_inner(B_star, first, rows, width, strip, part);
                                });
  const Mat minus_M = -M;
  Mat off(d, k), E(d, k);
  const Mat G = sum_over_strips(shard, k, width, threads,
                                [&](Index first, Index rows, double* strip, double* part) {
                                  load_strip(B, first, rows, width, strip);
                                  multiply_strip<true>(B_star, first, rows, minus_M, strip);
                                  store_strip(strip, first, rows, width, off);
                                  add_inner(as_const(off), first, rows, width, strip, part);
                                });
  const auto first_inverse = inverse_of_factor(G.leftCols(k));
  if (!first_inverse) return {};
  const Mat once = widen(*first_inverse);
  // B_star^T E_1 above E_1^T E_1.
  const Mat products = sum_over_strips(
      shard, k_star + k, width, threads, [&](Index first, Index rows, double* strip, double* part) {
        multiply_strip<false>(as_const(off), first, rows, once, strip);
        store_strip(strip, first, rows, width, E);
        add_inner(B_star, first, rows, width, strip, part);
        add_inner(as_const(E), first, rows, width, strip, part + k_star * width);
      });
  const Mat along = products.topLeftCorner(k_star, k);
  if (!(along.norm() <= kMostOverlap)) return {};
  const auto second_inverse =
      inverse_of_factor(products.bottomLeftCorner(k, k) - along.transpose() * along);
  if (!second_inverse) return {};
  const Mat twice = widen(*second_inverse), minus_along = widen(-along * *second_inverse);
  const Mat R = sum_over_strips(shard, k, width, threads,
                                [&](Index first, Index rows, double* strip, double* part) {
                                  multiply_strip<false>(as_const(E), first, rows, twice, strip);
                                  multiply_strip<true>(B_star, first, rows, minus_along, strip);
                                  store_strip(strip, first, rows, width, E);
                                  load_strip(as_const(off), first, rows, width, strip);
                                  add_inner(as_const(E), first, rows, width, strip, part);
                                });
  return Coordinates{M.leftCols(k), R.leftCols(k), std::move(E)};
}

}  // namespace

/// Returns A^T B, (p, q), such as M = B_star^T B and R = E^T B of (13). The product of a panel is
/// computed in a matrix that Eigen allocates, for the reason given at from_coordinates().
Mat inner_product(const ConstRows& A, const ConstRows& B, int threads, const Shard* shard) {
  return sum_over_panels(rows_of(shard, A.rows()), A.cols(), B.cols(), threads,
                         [&](Index first, Index rows, double* part) {
                           const Mat product =
                               A.middleRows(first, rows).transpose() * B.middleRows(first, rows);
                           std::copy_n(product.data(), product.size(), part);
                         });
}

Mat gram(ConstMat A, int threads, const Shard* shard) {
  const Index q = A.cols(), width = round_up(q, kernels::kLane);
  const Mat sum = sum_over_strips(rows_of(shard, A.rows()), q, width, threads,
                                  [&](Index first, Index rows, double* strip, double* part) {
                                    load_strip(A, first, rows, width, strip);
                                    add_inner(A, first, rows, width, strip, part);
                                  });
  return sum.leftCols(q);
}

/// Adds the rows of a panel in order.
Vec column_products(const ConstRows& A, const ConstRows& B, int threads, const Shard* shard) {
  const Index q = A.cols();
  const Mat sum = sum_over_panels(rows_of(shard, A.rows()), 1, q, threads,
                                  [&](Index first, Index rows, double* part) {
                                    for (Index i = first; i < first + rows; ++i) {
                                      const double *a = A.row(i).data(), *b = B.row(i).data();
                                      for (Index j = 0; j < q; ++j) part[j] += a[j] * b[j];
                                    }
                                  });
  return sum.row(0);
}

/// Computes each panel in a matrix that Eigen allocates, for the reason given at
/// from_coordinates().
void multiply_small(const ConstRows& A, const Mat& S, MutMat out, int threads, const Shard* shard) {
  for_panels(rows_of(shard, A.rows()), threads, [&](Index first, Index rows, Index) {
    const Mat panel = A.middleRows(first, rows) * S;
    out.middleRows(first, rows) = panel;
  });
}

/// Returns the R-factor of a small A, (min(rows, q), q). The signs of the rows of the R-factor are
/// chosen so that its diagonal is positive, which makes the factorisation unique. Equation (17) and
/// Haar-distributed frames need this unique R-factor.
/// A is copied once, as the factorisation overwrites its copy. With two copies of a panel, the
/// allocator of the C library would return their memory to the system after every panel.
Mat small_r_factor(ConstMat A) {
  const Index r = std::min(A.rows(), A.cols());
  if (r == 0) return Mat(0, A.cols());
  // Householder reflections square the entries of a column. If the squares of any column could
  // overflow or underflow, all columns are multiplied by powers of two, which is exact. The columns
  // of the resulting R-factor are then divided by these powers of two: if S is the R-factor of A,
  // then S D is the R-factor of A D for a diagonal D.
  const Vec most = A.cwiseAbs().colwise().maxCoeff();
  const bool scaled = (most.array() > 0 && (most.array() < 1e-100 || most.array() > 1e100)).any();
  const Vec length = scaled ? Vec(most.unaryExpr(&power_of_two)) : Vec::Ones(A.cols());
  const auto qr = scaled ? factor_qr(Mat(A * length.cwiseInverse().asDiagonal())) : factor_qr(A);
  Mat S = qr.matrixQR().topRows(r).triangularView<Eigen::Upper>();
  if (scaled) S *= length.asDiagonal();
  for (Index i = 0; i < r; ++i) {
    if (S(i, i) < 0) S.row(i) *= -1;
  }
  return S;
}

Mat small_r_factor(const Mat& A) { return small_r_factor(as_const(A)); }

/// Returns the R-factor of a tall A (d, q), computed by the tree of QR factorisations known as
/// TSQR. First every panel of rows is factored; then pairs of R-factors are stacked on top of each
/// other and factored again, until one R-factor is left. Unlike the Cholesky factorisation of A^T
/// A, this tree does not square the condition number. A process computes the R-factors of its nodes
/// of the tree and sends them to all others, and every process computes the rest of the tree.
Mat r_factor(ConstMat A, int threads, const Shard* shard) {
  const Shard rows_of_A = rows_of(shard, A.rows());
  const Shard::Pieces panels = rows_of_A.pieces(kPanelRows);
  std::vector<Mat> factors(static_cast<std::size_t>(panels.count));
  for_panels(rows_of_A, threads, [&](Index first, Index rows, Index panel) {
    factors[static_cast<std::size_t>(panel)] =
        small_r_factor(ConstMat(A.data() + first * A.cols(), rows, A.cols()));
  });
  const auto merge = [](Mat& upper, const Mat& lower) {
    Mat stacked(upper.rows() + lower.rows(), upper.cols());
    stacked << upper, lower;
    upper = small_r_factor(stacked);
  };
  // The R-factor of n rows has min(n, q) rows; in an exchange it is followed by zeros.
  const Index q = A.cols(), numbers = std::min(rows_of_A.d(), q) * q;
  std::vector<double> blocks;
  for (const auto& [begin, end] : rows_of_A.nodes(panels)) {
    Mat* const node = factors.data() + begin;
    add_in_tree(std::vector<Index>(static_cast<std::size_t>(end - begin), 1),
                [&](std::size_t i, std::size_t j) { merge(node[i], node[j]); });
    blocks.insert(blocks.end(), node->data(), node->data() + node->size());
    blocks.resize(blocks.size() + static_cast<std::size_t>(numbers - node->size()));
  }
  if (!rows_of_A.is_shared()) return factors.front();
  const std::vector<double> all = rows_of_A.gather_nodes(numbers, blocks.data());
  factors.clear();
  for (const Index rows : rows_of_A.columns_of_nodes()) {
    const auto before = static_cast<Index>(factors.size());
    factors.emplace_back(ConstMat(all.data() + before * numbers, std::min(rows, q), q));
  }
  add_in_tree(rows_of_A.sizes_of_nodes(),
              [&](std::size_t i, std::size_t j) { merge(factors[i], factors[j]); });
  return factors.front();
}

/// Makes the columns of A orthonormal in place, in two passes. Each pass computes the R-factor S of
/// the current A and then A <- A S^{-1}. After the first pass A is orthonormal up to rounding
/// errors times the condition number of the original A. The second pass starts from a
/// well-conditioned A and leaves only rounding errors. Every pass consists of a tree of small
/// factorisations and one product by panels, so no reflection of length d is formed or applied.
void orthonormalise(MutMat A, int threads, const Shard* shard) {
  const Shard rows = rows_of(shard, A.rows());
  const Mat identity = Mat::Identity(A.cols(), A.cols());
  for (int pass = 0; pass < 2; ++pass) {
    const Mat S = r_factor(ConstMat(A.data(), A.rows(), A.cols()), threads, &rows);
    multiply_right(A, S.triangularView<Eigen::Upper>().solve(identity), threads, rows);
  }
}

/// Works as orthonormalise(). A column that depends on those before it is known by a small diagonal
/// element of the first R-factor; random numbers, a function of row and column, take its place. A
/// column of R then has the coordinates of a column of A in the columns of Q.
Mat factor_columns(MutMat A, int threads, const Shard* shard) {
  const Shard rows = rows_of(shard, A.rows());
  const Index q = A.cols();
  const Mat identity = Mat::Identity(q, q);
  const auto factor = [&] { return r_factor(ConstMat(A.data(), A.rows(), q), threads, &rows); };
  Mat S = factor();
  std::vector<Index> dependent;
  for (Index j = 0; j < q; ++j) {
    const double rounding = kNoise * static_cast<double>(q) * S.col(j).stableNorm();
    if (S(j, j) <= rounding) dependent.push_back(j);
  }
  Mat before;
  if (!dependent.empty()) {
    before = A;
    const Key key = derive_key(0, 0, 0, Stream::off_span);
    for_panels(rows, threads, [&](Index first, Index count, Index) {
      for (Index at = first; at < first + count; ++at) {
        const Index i = rows.first() + at;
        std::vector<double> drawn(static_cast<std::size_t>(q));
        normal_row(key, i >> 32, i & 0xFFFFFFFF, q, drawn.data());
        for (const Index j : dependent) A(at, j) = drawn[static_cast<std::size_t>(j)];
      }
    });
    S = factor();
  }
  multiply_right(A, S.triangularView<Eigen::Upper>().solve(identity), threads, rows);
  const Mat again = factor();
  multiply_right(A, again.triangularView<Eigen::Upper>().solve(identity), threads, rows);
  if (dependent.empty()) return Mat(again * S).triangularView<Eigen::Upper>();
  Mat R = inner_product(ConstMat(A.data(), A.rows(), q), before, threads, &rows)
              .triangularView<Eigen::Upper>();
  for (const Index j : dependent) R(j, j) = 0;
  return R;
}

/// Removes from A its component along an orthonormal B (d, p), in two passes that each compute A <-
/// A - B (B^T A). The rounding errors of the first pass are relative to the removed part of A. If
/// most of A is in the span of B, (13), these errors are large relative to the part of A that
/// remains, and the second pass removes them.
void project_off(ConstMat B, MutMat A, int threads, const Shard* shard) {
  const Shard rows_of_A = rows_of(shard, A.rows());
  for (int pass = 0; pass < 2; ++pass) {
    const Mat overlap =
        inner_product(B, ConstMat(A.data(), A.rows(), A.cols()), threads, &rows_of_A);
    for_panels(rows_of_A, threads, [&](Index first, Index rows, Index) {
      const Mat along = B.middleRows(first, rows) * overlap;
      A.middleRows(first, rows) -= along;
    });
  }
}

/// Finds coordinates (13) for a single use. The coordinates are computed from Gram matrices if
/// these matrices are regular, and by to_coordinates() otherwise.
Coordinates to_quick_coordinates(ConstMat B, ConstMat B_star, int threads, const Shard* shard) {
  const Shard rows = rows_of(shard, B.rows());
  if (auto regular = by_grams(B, B_star, threads, rows)) return *std::move(regular);
  return to_coordinates(B, B_star, threads, &rows);
}

/// Finds the coordinates (13) of a given start: M = B_star^T B, an orthonormal basis E (d, e) of
/// the part of B orthogonal to B_star, and R = E^T B. The component of B along B_star is removed
/// twice before any factorisation, and no factorisation squares the condition number. The columns
/// of E are computed from the singular vectors of the R-factor, because the rank e has to be
/// determined. Singular vectors whose singular values are below the rounding error of the largest
/// singular value are dropped, and e <= min(k, d - k_star).
Coordinates to_coordinates(ConstMat B, ConstMat B_star, int threads, const Shard* shard) {
  const Index d = B.rows(), k = B.cols();
  const Shard rows_of_B = rows_of(shard, d);
  Coordinates result;
  result.M = inner_product(B_star, B, threads, &rows_of_B);
  Mat off = B;
  project_off(B_star, MutMat(off.data(), d, k), threads, &rows_of_B);
  // The lengths of the columns may differ by any power of ten, for example if the distance is
  // 1e-200. Each column is therefore divided by its largest entry in absolute value before the rank
  // is determined.
  const Vec length = column_maxima(off, threads, rows_of_B);
  const Mat scaled = off.array().rowwise() / length.transpose().array();
  const Mat S = r_factor(ConstMat(scaled.data(), d, k), threads, &rows_of_B);
  Mat V;
  const Vec lengths = find_singular_values(S, &V);
  const double least = kNoise * static_cast<double>(k) * lengths.maxCoeff();
  const Index most = std::min({k, rows_of_B.d() - B_star.cols(), lengths.size()});
  Index e = 0;
  while (e < most && lengths[e] > least) ++e;
  const Mat directions = V.leftCols(e) * lengths.head(e).cwiseInverse().asDiagonal();
  result.E.resize(d, e);
  for_panels(rows_of_B, threads, [&](Index first, Index rows, Index) {
    // The product is computed in a matrix that Eigen allocates, as in from_coordinates().
    const Mat product = scaled.middleRows(first, rows) * directions;
    result.E.middleRows(first, rows) = product;
  });
  const MutMat E(result.E.data(), d, e);
  // Division by a small singular value enlarges the rounding errors along B_star. The component of
  // E along B_star is therefore removed once more before the last orthonormalisation.
  project_off(B_star, E, threads, &rows_of_B);
  if (e > 0) orthonormalise(E, threads, &rows_of_B);
  // R is computed from `off` instead of `scaled`, since the scaling has changed the lengths of the
  // columns and rounded their entries.
  result.R =
      inner_product(ConstMat(E.data(), d, e), ConstMat(off.data(), d, k), threads, &rows_of_B);
  return result;
}

/// Computes B = B_star M + E R at full size, (d, k), panel by panel. A run that works in the
/// coordinates (13) computes B at full size at most once.
void from_coordinates(ConstMat B_star, ConstMat M, ConstMat E, ConstMat R, MutMat out, int threads,
                      const Shard* shard) {
  for_panels(rows_of(shard, out.rows()), threads, [&](Index first, Index rows, Index) {
    // Each panel is computed in a matrix that Eigen allocates. How Eigen cuts a product into blocks
    // depends on the address of the result, and the blocks determine the last bits of the product.
    Mat panel = B_star.middleRows(first, rows) * M;
    panel.noalias() += E.middleRows(first, rows) * R;
    out.middleRows(first, rows) = panel;
  });
}

/// Fills `out` (d, k) with a Haar-distributed frame. If `off` has columns, the frame is orthogonal
/// to these columns. The orthonormal factor Q of a matrix of standard normals is Haar-distributed
/// if the diagonal of the triangular factor is positive. The normals of row i are a function of the
/// key and i, which counts the rows of all processes. The index i takes two words of the counter,
/// since d may exceed 2^32.
void haar(Key key, ConstMat off, MutMat out, int threads, const Shard* shard) {
  const Shard rows_of_out = rows_of(shard, out.rows());
  for_panels(rows_of_out, threads, [&](Index first, Index rows, Index) {
    for (Index at = first; at < first + rows; ++at) {
      const Index i = rows_of_out.first() + at;
      normal_row(key, i >> 32, i & 0xFFFFFFFF, out.cols(), out.row(at).data());
    }
  });
  if (off.cols() > 0) project_off(off, out, threads, &rows_of_out);
  orthonormalise(out, threads, &rows_of_out);
}

/// Returns [M; R] of a Haar-distributed start with B^T B = scale^2 I, by the variant *Random start*
/// of (19). With N = [G; bartlett(k, d - k_star)^T], (k_star + min(k, d - k_star), k), and its
/// R-factor S, the result is scale N S^{-1}. The lower rows of N have the same distribution as the
/// R-factor of d - k_star rows of standard normals, so no array of size d is needed.
Mat random_start(Key key, double d, Index k_star, Index k, double scale) {
  Sequence draws(key);
  Mat in_span(k_star, k);
  for (Index i = 0; i < k_star; ++i) {
    for (Index j = 0; j < k; ++j) in_span(i, j) = draws.normal();
  }
  const Mat off_span = bartlett(draws, k, d - static_cast<double>(k_star));
  Mat N(k_star + off_span.cols(), k);
  N << in_span, off_span.transpose();
  const Mat S = small_r_factor(N);
  S.triangularView<Eigen::Upper>().solveInPlace<Eigen::OnTheRight>(N);
  return scale * N;
}

/// Returns an orthogonal Q (k, k) with M Q = [M_1 0], by which (14) multiplies the learner from the
/// right if k > k_star. Q is the orthogonal factor of M^T = Q T, so M Q = T^T is lower triangular.
/// M is first divided by its largest entry, so that the squares of its entries neither overflow nor
/// underflow; this division does not change Q.
Mat start_rotation(const Mat& M) {
  const double most = M.cwiseAbs().maxCoeff();
  const auto qr = factor_qr(most > 0 ? Mat(M.transpose() / most) : Mat(M.transpose()));
  return orthonormal_columns(qr, M.cols());
}

/// Returns the R-factor of A (d, k) as a matrix of k rows. If A has fewer than k rows, the
/// remaining rows of the result are zero. Engines that replace R by a new R-factor in every round
/// need k rows, since the shape of their state must not change.
Mat square_r_factor(const Mat& A, int threads, const Shard* shard) {
  const Index k = A.cols();
  Mat R = Mat::Zero(k, k);
  if (A.rows() == 0) return R;  // every process of a sharded run has rows
  const Mat S = r_factor(ConstMat(A.data(), A.rows(), k), threads, shard);
  R.topRows(S.rows()) = S;
  return R;
}

/// Returns Z Q with Q = start_rotation(M) for Z = [M; R] if k > k_star, and Z itself if k <=
/// k_star. Q multiplies both M and R from the right. Multiplication by Q changes the basis of the
/// learner, but no measurement. If M has full rank, the leading block of M Q is regular, as the
/// Meter requires.
Mat in_regular_frame(Mat Z, Index k_star) {
  const Index k = Z.cols();
  if (k_star == 0 || k <= k_star) return Z;
  Z = Mat(Z * start_rotation(Z.topRows(k_star)));
  // Q was chosen so that this block of M Q is zero except for rounding errors.
  Z.topRightCorner(k_star, k - k_star).setZero();
  return Z;
}

/// Converts a B at full size to the coordinates (k_star + k, k) from which (20) and (21) are
/// measured: M = B_star^T B and, below M, the R-factor of the part of B orthogonal to B_star. The
/// R-factor of this part equals R of (13) up to multiplication by an orthogonal matrix from the
/// left, which changes no measurement. Computing the R-factor needs no basis E. If k_star = 0,
/// there is no B_star, and the result is the R-factor of B.
Mat measured(const Mat& B, const Mat& B_star, int threads, const Shard* shard) {
  const Index d = B.rows(), k = B.cols(), k_star = B_star.cols();
  const ConstMat star(B_star.data(), d, k_star);
  Mat Z(k_star + k, k), off = B;
  if (k_star > 0) {
    Z.topRows(k_star) = inner_product(star, ConstMat(B.data(), d, k), threads, shard);
    project_off(star, MutMat(off.data(), d, k), threads, shard);
  }
  Z.bottomRows(k) = square_r_factor(off, threads, shard);
  return in_regular_frame(std::move(Z), k_star);
}

Stages coordinates_cost(double rows, Index k, Index columns) {
  // Each number is read kReadings times, and takes kFlops operations for each column of B.
  constexpr double kReadings = 12, kFlops = 10;
  const double numbers = rows * static_cast<double>(columns);
  return {{0, 0, kReadings * 8 * numbers}, {kFlops * static_cast<double>(k) * numbers}};
}

Stages haar_cost(double d, Index columns, Index k) {
  constexpr double kFactorisations = 1.5;
  return coordinates_cost(kFactorisations * d * static_cast<double>(columns), k, 1);
}

double measured_bytes(Index d, Index k) { return 2 * 8.0 * static_cast<double>(d * k); }

}  // namespace metaspan
