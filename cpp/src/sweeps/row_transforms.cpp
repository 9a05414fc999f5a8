#include "metaspan/sweeps/row_transforms.hpp"

#include <algorithm>

#include "cholesky.hpp"
#include "metaspan/base/parallel.hpp"
#include "metaspan/base/sizes.hpp"
#include "panel.hpp"

namespace metaspan {
namespace {

/// Heads come from normal equations if the diagonal of the Cholesky factor of Z^T Z varies by less
/// than this factor.
constexpr double kWellConditioned = 1e4;

/// Computes b = Z^T r, row by row.
void combine_features(Index rows, Index k, const double* Z, const double* r, double* b) {
  std::fill_n(b, k, 0.0);
  for (Index i = 0; i < rows; ++i) {
    for (Index j = 0; j < k; ++j) b[j] += r[i] * Z[i * k + j];
  }
}

/// Computes the residuals r = y - Z v.
void residuals_of(Index rows, Index k, const double* Z, const double* y, const double* v,
                  double* r) {
  for (Index i = 0; i < rows; ++i) {
    double sum = 0;
    for (Index j = 0; j < k; ++j) sum += Z[i * k + j] * v[j];
    r[i] = y[i] - sum;
  }
}

/// Subtracts from each column of Z (rows, k) its mean. The second pass removes the rounding error
/// of the first, which is as large as that of the mean.
void center(Index rows, Index k, double* Z) {
  for (int pass = 0; pass < 2; ++pass) {
    for (Index j = 0; j < k; ++j) {
      double sum = 0;
      for (Index i = 0; i < rows; ++i) sum += Z[i * k + j];
      const double mean = sum / static_cast<double>(rows);
      for (Index i = 0; i < rows; ++i) Z[i * k + j] -= mean;
    }
  }
}

/// Solves one task for the head v by its normal equations and refines v once, so that its error is
/// near that of a QR decomposition. r receives the residuals y - Z v. Returns whether Z^T Z is well
/// conditioned; otherwise v and r are not usable.
bool solve_head(Index rows, Index k, const double* Z, const double* y, double* v, double* r) {
  const Index width = padded(k);
  thread_local std::vector<double> wide, gram, L, b;
  wide.assign(static_cast<std::size_t>(rows * width), 0.0);
  for (Index i = 0; i < rows; ++i) std::copy_n(Z + i * k, k, wide.data() + i * width);
  gram.resize(static_cast<std::size_t>(k * width));
  kernels::product<false>(k, rows, width, wide.data(), 1, width, wide.data(), gram.data());
  L.resize(static_cast<std::size_t>(kernels::triangle(k)));
  for (Index i = 0; i < k; ++i) {
    std::copy_n(gram.data() + i * width, i + 1, L.data() + kernels::triangle(i));
  }
  kernels::factor_cholesky<1>(k, L.data());
  double least = L[0], most = L[0];
  for (Index i = 1; i < k; ++i) {
    const double pivot = L[static_cast<std::size_t>(kernels::triangle(i) + i)];
    least = pivot > least ? least : pivot;  // NaN is kept
    most = std::max(most, pivot);
  }
  if (!(least * kWellConditioned > most)) return false;
  combine_features(rows, k, Z, y, v);
  kernels::solve_cholesky<1>(k, L.data(), v);
  residuals_of(rows, k, Z, y, v, r);
  b.resize(static_cast<std::size_t>(k));
  combine_features(rows, k, Z, r, b.data());
  kernels::solve_cholesky<1>(k, L.data(), b.data());
  for (Index j = 0; j < k; ++j) v[j] += b[static_cast<std::size_t>(j)];
  residuals_of(rows, k, Z, y, v, r);
  return true;
}

/// Solves one task with an intercept: as `solve_head`, with r the residuals y - c - Z v. The
/// residuals sum to zero as closely as possible, since X^T r multiplies their sum by the mean of X.
bool solve_head_and_intercept(Index rows, Index k, const double* Z, const double* y, double* v,
                              double* r) {
  thread_local std::vector<double> centered, centered_y;
  centered.assign(Z, Z + rows * k);
  centered_y.assign(y, y + rows);
  center(rows, k, centered.data());
  center(rows, 1, centered_y.data());
  const bool solved = solve_head(rows, k, centered.data(), centered_y.data(), v, r);
  center(rows, 1, r);
  return solved;
}

}  // namespace

RowTransform transform_by_forms(const RowForms& forms, const std::vector<Index>& offsets, Index k) {
  return [forms, &offsets, k](Index first, Index count, const double* Z, double* C) {
    const Index rank = forms.rank;
    std::vector<double> sums(static_cast<std::size_t>(rank * k));  // R_i^T Z_i
    for (Index task = first; task < first + count; ++task) {
      const Index begin = offsets[static_cast<std::size_t>(task)],
                  end = offsets[static_cast<std::size_t>(task + 1)];
      std::fill(sums.begin(), sums.end(), 0.0);
      for (Index r = begin; r < end; ++r) {
        const double* z = Z + (r - begin) * k;
        for (Index l = 0; l < rank; ++l) {
          for (Index j = 0; j < k; ++j) sums[l * k + j] += forms.right[r * rank + l] * z[j];
        }
      }
      for (Index r = begin; r < end; ++r, Z += k, C += k) {
        for (Index j = 0; j < k; ++j) C[j] = forms.scales[r] * Z[j];
        for (Index l = 0; l < rank; ++l) {
          for (Index j = 0; j < k; ++j) C[j] += forms.left[r * rank + l] * sums[l * k + j];
        }
      }
    }
  };
}

OuterTransform transform_by_heads(HeadFits& fits, const std::vector<Index>& offsets, Index k,
                                  int threads) {
  return [&fits, &offsets, k, threads](Index first, Index count, const double* Z, double* c,
                                       double* heads) {
    const Index row = offsets[static_cast<std::size_t>(first)];
    std::vector<double> losses(static_cast<std::size_t>(count));
    std::vector<char> regular(static_cast<std::size_t>(count));
    parallel_for(threads, count, [&](Index i, int) {
      const auto at = static_cast<std::size_t>(first + i);
      const Index begin = offsets[at], rows = offsets[at + 1] - begin;
      double* residuals = c + (begin - row);
      const auto solve = fits.intercepts ? solve_head_and_intercept : solve_head;
      const bool solved =
          solve(rows, k, Z + (begin - row) * k, fits.y + begin, heads + i * k, residuals);
      double squares = 0;
      for (Index r = 0; r < rows; ++r) {
        squares += residuals[r] * residuals[r];
        residuals[r] *= -fits.shares[at];
      }
      losses[static_cast<std::size_t>(i)] = fits.shares[at] * squares / 2;
      regular[static_cast<std::size_t>(i)] = solved;
    });
    for (Index i = 0; i < count; ++i) {
      fits.loss += losses[static_cast<std::size_t>(i)];
      fits.regular &= regular[static_cast<std::size_t>(i)] != 0;
    }
    std::copy_n(heads, count * k, fits.heads + first * k);
  };
}

}  // namespace metaspan
