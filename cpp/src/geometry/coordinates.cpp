#include "metaspan/geometry/coordinates.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "metaspan/base/parallel.hpp"
#include "metaspan/geometry/decompositions.hpp"

namespace metaspan {
namespace {

constexpr Index kPanelRows =
    2048;  // rows of d in a piece of work: a panel of 20 columns stays in the second cache

constexpr double kNoise = 4 * std::numeric_limits<double>::epsilon();

Index panels_of(Index d) { return ceil_div(d, kPanelRows); }

/// body(first row, rows, panel) over the panels of d rows.
template <class Body>
void for_panels(Index d, int threads, Body&& body) {
  parallel_for(threads, panels_of(d), [&](Index panel, int) {
    const Index first = panel * kPanelRows;
    body(first, std::min(kPanelRows, d - first), panel);
  });
}

/// parts[0] <- the sum of all, pairwise in a fixed tree.
void sum_tree(std::vector<Mat>& parts) {
  const auto count = static_cast<Index>(parts.size());
  for (Index step = 1; step < count; step *= 2) {
    for (Index i = 0; i + step < count; i += 2 * step) {
      parts[static_cast<std::size_t>(i)] += parts[static_cast<std::size_t>(i + step)];
    }
  }
}

/// The power of two next to a length, by which division is exact; 1 for 0 and what is not finite.
double power_of_two(double length) {
  if (!(length > 0) || !std::isfinite(length)) return 1;
  return std::ldexp(1.0, std::clamp(std::ilogb(length), -1000, 1000));
}

/// max_i |A_ij| for every column, 1 for a column of zeros.
Vec column_maxima(const Mat& A, int threads) {
  Mat maxima = Mat::Zero(std::max<Index>(1, panels_of(A.rows())), A.cols());
  for_panels(A.rows(), threads, [&](Index first, Index rows, Index panel) {
    maxima.row(panel) = A.middleRows(first, rows).cwiseAbs().colwise().maxCoeff();
  });
  const Vec most = maxima.colwise().maxCoeff();
  return (most.array() > 0).select(most, 1.0);
}

/// A <- A S, panel by panel; S (q, r), the result in the first r columns.
void multiply_right(MutMat A, const Mat& S, int threads) {
  for_panels(A.rows(), threads, [&](Index first, Index rows, Index) {
    const Mat product = A.middleRows(first, rows) * S;
    A.block(first, 0, rows, S.cols()) = product;
  });
}

}  // namespace

Mat inner_product(ConstMat A, ConstMat B, int threads) {
  std::vector<Mat> parts(static_cast<std::size_t>(std::max<Index>(1, panels_of(A.rows()))),
                         Mat::Zero(A.cols(), B.cols()));
  for_panels(A.rows(), threads, [&](Index first, Index rows, Index panel) {
    parts[static_cast<std::size_t>(panel)].noalias() =
        A.middleRows(first, rows).transpose() * B.middleRows(first, rows);
  });
  sum_tree(parts);
  return parts[0];
}

Mat small_r_factor(const Mat& A) {
  const Index r = std::min(A.rows(), A.cols());
  if (r == 0) return Mat(0, A.cols());
  // Of very long and very short columns the squares would over- or underflow.
  const Vec most = A.cwiseAbs().colwise().maxCoeff();
  const bool scaled = (most.array() > 0 && (most.array() < 1e-100 || most.array() > 1e100)).any();
  const Vec length = scaled ? Vec(most.unaryExpr(&power_of_two)) : Vec::Ones(A.cols());
  Eigen::HouseholderQR<Mat> qr(scaled ? Mat(A * length.cwiseInverse().asDiagonal()) : A);
  Mat S = qr.matrixQR().topRows(r).triangularView<Eigen::Upper>();
  if (scaled) S *= length.asDiagonal();
  for (Index i = 0; i < r; ++i) {
    if (S(i, i) < 0) S.row(i) *= -1;
  }
  return S;
}

Mat r_factor(ConstMat A, int threads) {
  std::vector<Mat> factors(static_cast<std::size_t>(std::max<Index>(1, panels_of(A.rows()))));
  for_panels(A.rows(), threads, [&](Index first, Index rows, Index panel) {
    factors[static_cast<std::size_t>(panel)] = small_r_factor(A.middleRows(first, rows));
  });
  const auto count = static_cast<Index>(factors.size());
  for (Index step = 1; step < count; step *= 2) {
    for (Index i = 0; i + step < count; i += 2 * step) {
      Mat& upper = factors[static_cast<std::size_t>(i)];
      const Mat& lower = factors[static_cast<std::size_t>(i + step)];
      Mat stacked(upper.rows() + lower.rows(), upper.cols());
      stacked << upper, lower;
      upper = small_r_factor(stacked);
    }
  }
  return factors[0];
}

void orthonormalise(MutMat A, int threads) {
  // A S^{-1} is orthonormal up to the conditioning of A; a second pass makes it so to rounding.
  const Mat identity = Mat::Identity(A.cols(), A.cols());
  for (int pass = 0; pass < 2; ++pass) {
    const Mat S = r_factor(ConstMat(A.data(), A.rows(), A.cols()), threads);
    multiply_right(A, S.triangularView<Eigen::Upper>().solve(identity), threads);
  }
}

void project_off(ConstMat B, MutMat A, int threads) {
  for (int pass = 0; pass < 2; ++pass) {
    const Mat overlap = inner_product(B, ConstMat(A.data(), A.rows(), A.cols()), threads);
    for_panels(A.rows(), threads, [&](Index first, Index rows, Index) {
      const Mat along = B.middleRows(first, rows) * overlap;
      A.middleRows(first, rows) -= along;
    });
  }
}

Coordinates to_coordinates(ConstMat B, ConstMat B_star, int threads) {
  const Index d = B.rows(), k = B.cols();
  Coordinates result;
  result.M = inner_product(B_star, B, threads);
  Mat off = B;
  project_off(B_star, MutMat(off.data(), d, k), threads);
  // Columns may differ by any power of ten (a distance of 1e-200 is one): directions are judged at
  // equal length.
  const Vec length = column_maxima(off, threads);
  const Mat scaled = off.array().rowwise() / length.transpose().array();
  const Mat S = r_factor(ConstMat(scaled.data(), d, k), threads);
  Eigen::JacobiSVD<Mat> svd(S, Eigen::ComputeThinV);
  const Vec lengths = svd.singularValues();
  const double least = kNoise * static_cast<double>(k) * lengths.maxCoeff();
  const Index most = std::min({k, d - B_star.cols(), lengths.size()});
  Index e = 0;
  while (e < most && lengths[e] > least) ++e;
  const Mat directions = svd.matrixV().leftCols(e) * lengths.head(e).cwiseInverse().asDiagonal();
  result.E.resize(d, e);
  for_panels(d, threads, [&](Index first, Index rows, Index) {
    result.E.middleRows(first, rows).noalias() = scaled.middleRows(first, rows) * directions;
  });
  const MutMat E(result.E.data(), d, e);
  // Small directions of an off-span part carry rounding along B_star: off with it again before the
  // last polish.
  project_off(B_star, E, threads);
  if (e > 0) orthonormalise(E, threads);
  result.R = inner_product(ConstMat(E.data(), d, e), ConstMat(off.data(), d, k), threads);
  return result;
}

void from_coordinates(ConstMat B_star, ConstMat M, ConstMat E, ConstMat R, MutMat out,
                      int threads) {
  for_panels(out.rows(), threads, [&](Index first, Index rows, Index) {
    // Through matrices of Eigen's own: how it cuts a product depends on where the target lies.
    Mat panel = B_star.middleRows(first, rows) * M;
    panel.noalias() += E.middleRows(first, rows) * R;
    out.middleRows(first, rows) = panel;
  });
}

void haar(Key key, ConstMat off, MutMat out, int threads) {
  parallel_for(threads, panels_of(out.rows()), [&](Index panel, int) {
    const Index end = std::min((panel + 1) * kPanelRows, out.rows());
    for (Index i = panel * kPanelRows; i < end; ++i) {
      normal_row(key, i >> 32, i & 0xFFFFFFFF, out.cols(), out.row(i).data());
    }
  });
  if (off.cols() > 0) project_off(off, out, threads);
  orthonormalise(out, threads);
}

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

Mat start_rotation(const Mat& M) {
  // Scaled, so that squares neither overflow nor vanish.
  const double most = M.cwiseAbs().maxCoeff();
  const Eigen::HouseholderQR<Mat> qr(most > 0 ? Mat(M.transpose() / most) : Mat(M.transpose()));
  return orthonormal_columns(qr, M.cols());
}

Mat square_r_factor(const Mat& A, int threads) {
  const Index k = A.cols();
  Mat R = Mat::Zero(k, k);
  if (A.rows() == 0) return R;
  const Mat S = r_factor(ConstMat(A.data(), A.rows(), k), threads);
  R.topRows(S.rows()) = S;
  return R;
}

Mat in_regular_frame(Mat Z, Index k_star) {
  const Index k = Z.cols();
  if (k_star == 0 || k <= k_star) return Z;
  Z = Mat(Z * start_rotation(Z.topRows(k_star)));
  Z.topRightCorner(k_star, k - k_star).setZero();  // zero but for rounding, by the choice of Q
  return Z;
}

Mat measured(const Mat& B, const Mat& B_star, int threads) {
  const Index d = B.rows(), k = B.cols(), k_star = B_star.cols();
  const ConstMat star(B_star.data(), d, k_star);
  Mat Z(k_star + k, k), off = B;
  if (k_star > 0) {
    Z.topRows(k_star) = inner_product(star, ConstMat(B.data(), d, k), threads);
    project_off(star, MutMat(off.data(), d, k), threads);
  }
  Z.bottomRows(k) = square_r_factor(off, threads);
  return in_regular_frame(std::move(Z), k_star);
}

Stages coordinates_cost(double rows, Index k, Index columns) {
  constexpr double kReadings = 12, kFlops = 10;  // of a number of B, by a column of both
  const double numbers = rows * static_cast<double>(columns);
  return {{0, 0, kReadings * 8 * numbers}, {kFlops * static_cast<double>(k) * numbers}};
}

Stages haar_cost(double d, Index columns, Index k) {
  constexpr double kFactorisations = 1.5;
  return coordinates_cost(kFactorisations * d * static_cast<double>(columns), k, 1);
}

double measured_bytes(Index d, Index k) { return 2 * 8.0 * static_cast<double>(d * k); }

}  // namespace metaspan
