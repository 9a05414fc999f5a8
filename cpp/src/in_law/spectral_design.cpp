#include "metaspan/in_law/spectral_design.hpp"

#include <cmath>

namespace metaspan {

SpectralDesign::Scratch::Scratch(const Method& method, Index k_star, Index k) : padded_(padded(k)) {
  const auto size = static_cast<std::size_t>((k_star + k) * width);
  const auto blocks = static_cast<std::size_t>(blocks_of(method));
  H.resize(blocks * static_cast<std::size_t>((k_star + k) * padded_));
  u_.resize(blocks * size);
  product_.resize(size);
  slots_.resize(blocks * size * static_cast<std::size_t>(slots_of(method.inner_steps)));
  transposed_.resize(static_cast<std::size_t>(width * padded_));
}

/// u = B V + terms [- theta]; slot <- Sigma u; r = |Sigma^{1/2} u|.
void SpectralDesign::chain(const double* V, Terms<width> terms, bool less_truth, Index present,
                           int slot, double* r) {
  double* u = scratch_.u_.data();
  const Index block = p() * width, star = panel_.k_star * width;
  std::fill_n(u, size(), 0.0);
  for (Index i = 0; less_truth && i < star; ++i) u[i] = -panel_.heads[i];
  std::copy_n(V, panel_.k * width, u + star);
  for (int t = 0; t < terms.count; ++t) {
    const Term<width>& term = terms.begin[t];
    kernels::add_columns<width>(panel_.blocks * p(), 1.0, term.factor, slot_of(term.slot), u);
  }
  for (Index i = 0; present < width && i < panel_.blocks * p(); ++i) {
    std::fill(u + i * width + present, u + (i + 1) * width, 0.0);
  }
  if (panel_.losses && less_truth) {
    form(u, u, 1, r);
    for (int t = 0; t < width; ++t) r[t] = std::sqrt(std::max(0.0, r[t]));
  } else {
    std::fill_n(r, width, 0.0);
  }
  if (slot == kNoSlot) return;
  std::fill_n(slot_of(slot), block, 0.0);
  std::copy_n(u, size() - block, slot_of(slot) + block);
}

/// sum_ij a_i^T U^T Sigma^(i + j + more) U b_j, blocks of zeros left out.
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
      const Mat& G = panel_.moments[static_cast<std::size_t>(i + j + more)];
      kernels::product<false>(p(), p(), width, G.data(), p(), 1, b + j * block,
                              scratch_.product_.data());
      double dots[width];
      kernels::dot_columns<width>(p(), a + i * block, scratch_.product_.data(), dots);
      for (int t = 0; t < width; ++t) out[t] += dots[t];
    }
  }
}

void SpectralDesign::features(int slot, double* out) const {
  const Index block = p() * width;
  std::fill_n(out, panel_.k * width, 0.0);
  for (int b = 1; b < panel_.blocks; ++b) {
    const Mat& G = panel_.moments[static_cast<std::size_t>(b)];
    kernels::product<true>(panel_.k, p(), width, G.data() + panel_.k_star * p(), p(), 1,
                           slot_of(slot) + b * block, out);
  }
}

void SpectralDesign::dot(int a, int b, double* dots) const {
  form(slot_of(a), slot_of(b), 0, dots);
}

void SpectralDesign::add(int slot, const double* C) {
  kernels::transpose<width>(panel_.k, C, scratch_.padded_, scratch_.transposed_.data());
  kernels::product<true>(panel_.blocks * p(), width, scratch_.padded_, slot_of(slot), width, 1,
                         scratch_.transposed_.data(), scratch_.H.data());
}

}  // namespace metaspan
