#include "metaspan/in_law/spectral_design.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "panel.hpp"

namespace metaspan {

/// Allocates a thread's memory. In the variant of (15) with a covariance, a vector is stored as
/// blocks of coefficients a_b, (blocks, p, width), with p = k_star + k. H, (blocks, p, padded), is
/// the sum of the panel's terms of grad_B.
SpectralDesign::Scratch::Scratch(const Method& method, Index k_star, Index k) : padded_(padded(k)) {
  const auto size = static_cast<std::size_t>((k_star + k) * width);
  const auto blocks = static_cast<std::size_t>(blocks_of(method));
  H.resize(blocks * static_cast<std::size_t>((k_star + k) * padded_));
  u_.resize(blocks * size);
  product_.resize(size);
  slots_.resize(blocks * size * static_cast<std::size_t>(method.slots()));
  transposed_.resize(static_cast<std::size_t>(width * padded_));
}

/// Computes u = B V + terms [- theta], slot <- Sigma u and r = |Sigma^{1/2} u|. A vector is stored
/// as its coefficients with respect to Sigma^b [B_star, B], (15). The block b = 0 of u consists of
/// -w_star and V, and multiplication by X^T X = Sigma moves every block b to b + 1. A residual is
/// not stored as a vector: the algebra reads only the length of the residual, to compute losses, so
/// r is a panel of one row. Columns of u without a task are set to zero.
void SpectralDesign::chain(const double* V, Terms<Columns> terms, bool less_truth, int slot,
                           double* r) {
  double* u = scratch_.u_.data();
  const Index block = p() * width, star = panel_.k_star * width;
  std::fill_n(u, size(), 0.0);
  for (Index i = 0; less_truth && i < star; ++i) u[i] = -panel_.heads[i];
  std::copy_n(V, panel_.k * width, u + star);
  for (int t = 0; t < terms.count; ++t) {
    Columns::add(panel_.blocks * p(), 1.0, terms.factor(t), slot_of(terms.slot(t)), u);
  }
  for (Index i = 0; tasks() < width && i < panel_.blocks * p(); ++i) {
    std::fill(u + i * width + tasks(), u + (i + 1) * width, 0.0);
  }
  // |Sigma^{1/2} u|^2 = u^T Sigma u is computed from rounded moments, so the computed value may be
  // negative if the true value is near zero.
  if (panel_.losses && less_truth) {
    form(u, u, 1, r);
    for (int t = 0; t < width; ++t) r[t] = std::sqrt(std::max(0.0, r[t]));
  } else {
    std::fill_n(r, width, 0.0);
  }
  if (slot == kNoSlot) return;
  // The copy leaves out the last block of u, which belongs to the highest power of Sigma. The last
  // block of u is zero, since there are as many blocks as Sigma u needs, one more than u itself
  // needs.
  std::fill_n(slot_of(slot), block, 0.0);
  std::copy_n(u, size() - block, slot_of(slot) + block);
}

/// Computes sum_ij a_i^T (U^T Sigma^(i + j + more) U) b_j for every task, (width,): the inner
/// product of two vectors, with `more` factors of Sigma between them. All tasks have the same
/// moments, so each moment is multiplied by the blocks of all tasks in one product (p, p) (p,
/// width). Vectors of early inner steps have few nonzero blocks. Zero blocks are skipped, which
/// changes no sum.
void SpectralDesign::form(const double* a, const double* b, int more, double* out) const {
  const Index block = p() * width;
  const auto is_zero = [&](const double* x) {
    return std::all_of(x, x + block, [](double value) { return value == 0; });
  };
  std::fill_n(out, width, 0.0);
  for (int j = 0; j < panel_.blocks; ++j) {
    if (is_zero(b + j * block)) continue;
    for (int i = 0; i < panel_.blocks; ++i) {
      if (is_zero(a + i * block)) continue;
      const auto power = static_cast<std::size_t>(i + j + more);
      if (power >= panel_.moments.size()) {  // only blocks that are not finite reach so far
        std::fill_n(out, width, std::numeric_limits<double>::quiet_NaN());
        return;
      }
      const Mat& G = panel_.moments[power];
      kernels::product<false>(p(), p(), width, G.data(), p(), 1, b + j * block,
                              scratch_.product_.data());
      double dots[width];
      kernels::dot_columns<width>(p(), a + i * block, scratch_.product_.data(), dots);
      for (int t = 0; t < width; ++t) out[t] += dots[t];
    }
  }
}

/// Computes Z^T Z = B^T Sigma B and Z^T y = B^T Sigma B_star w_star, (k, width), from the moment
/// with q = 1. All tasks have the same Z^T Z.
void SpectralDesign::normal_equations(double* G, double* b) const {
  const Index k = panel_.k, k_star = panel_.k_star;
  const Mat& moment = panel_.moments[1];
  for (Index i = 0; i < k; ++i) {
    for (Index j = 0; j <= i; ++j, G += width) {
      std::fill_n(G, width, moment(k_star + i, k_star + j));
    }
  }
  kernels::product<false>(k, k_star, width, moment.data() + k_star * p(), p(), 1, panel_.heads, b);
}

/// Computes B^T slot = sum_b (B^T Sigma^b U) a_b, (k, width), from the rows of the moments that
/// belong to B. The block b = 0 of a slot is zero, since a slot is a multiple of Sigma.
void SpectralDesign::features(int slot, double* out) const {
  const Index block = p() * width;
  std::fill_n(out, panel_.k * width, 0.0);
  for (int b = 1; b < panel_.blocks; ++b) {
    const Mat& G = panel_.moments[static_cast<std::size_t>(b)];
    kernels::product<true>(panel_.k, p(), width, G.data() + panel_.k_star * p(), p(), 1,
                           slot_of(slot) + b * block, out);
  }
}

/// Computes the inner product of the vectors of two slots for every task, (width,).
void SpectralDesign::dot(int a, int b, double* dots) const {
  form(slot_of(a), slot_of(b), 0, dots);
}

/// For every b, adds to H_b the sum of a_b c^T over the panel's tasks, in their order; H is
/// (blocks, p, padded). The step B <- B - beta sum_b Sigma^b U H_b can then be computed without the
/// slots.
void SpectralDesign::add(int slot, const double* C) {
  kernels::transpose<width>(panel_.k, C, scratch_.padded_, scratch_.transposed_.data());
  kernels::product<true>(panel_.blocks * p(), width, scratch_.padded_, slot_of(slot), width, 1,
                         scratch_.transposed_.data(), scratch_.H.data());
}

}  // namespace metaspan
