#include "metaspan/algebra/design.hpp"

namespace metaspan {

DenseDesign::Scratch::Scratch(int inner_steps, bool adapts_B, Index k, Index max_m_in,
                              Index max_m_out)
    : max_m_in_(max_m_in),
      stride_(adapts_B ? max_m_in + max_m_out : 0),
      slots_(static_cast<std::size_t>(slots_of(inner_steps))),
      products_(slots_.size() * static_cast<std::size_t>(stride_)),
      row_(static_cast<std::size_t>(padded(k))) {}

void DenseDesign::features(int slot, double* out) {
  const bool outer = slot == outer_slot_;
  double* row = scratch_.row_.data();
  kernels::product<false>(1, outer ? task_.m_out : task_.m_in, padded(k_), at(slot).a, 0, 1,
                          outer ? task_.Z_out : task_.Z_in, row);
  std::copy_n(row, k_, out);
}

/// K a, or K'^T a of the outer slot.
const double* DenseDesign::inner_product(int slot) {
  double* out = scratch_.inner_of(slot);
  if (at(slot).has_inner) return out;
  at(slot).has_inner = true;
  if (slot == outer_slot_) {
    kernels::transposed_times(task_.m_out, task_.m_in, task_.K_cross, at(slot).a, out,
                              task_.K_cross_stride);
  } else {
    kernels::times(task_.m_in, task_.m_in, task_.K, at(slot).a, out, task_.K_stride);
  }
  return out;
}

const double* DenseDesign::outer_product(int slot) {
  double* out = scratch_.outer_of(slot);
  if (at(slot).has_outer) return out;
  at(slot).has_outer = true;
  kernels::times(task_.m_out, task_.m_in, task_.K_cross, at(slot).a, out, task_.K_cross_stride);
  return out;
}

void DenseDesign::dot(int a, int b, double* dots) {
  *dots = b == outer_slot_ ? kernels::dot(task_.m_out, outer_product(a), at(b).a)
                           : kernels::dot(task_.m_in, inner_product(a), at(b).a);
}

void DenseDesign::residual_in(const double* V, Terms<1> terms, int slot, double* r) {
  product_in(V, terms, slot, r);
  for (Index i = 0; i < task_.m_in; ++i) r[i] -= task_.y_in[i];
}

void DenseDesign::residual_out(const double* V, Terms<1> terms, int slot, double* r) {
  kernels::times(task_.m_out, k_, task_.Z_out, V, r, padded(k_));
  for (int t = 0; t < terms.count; ++t) {
    const Term<1>& term = terms.begin[t];
    kernels::add_columns<1>(task_.m_out, 1.0, term.factor, outer_product(term.slot), r);
  }
  for (Index i = 0; i < task_.m_out; ++i) r[i] -= task_.y_out[i];
  at(slot) = {r, false, false};
}

void DenseDesign::product_in(const double* V, Terms<1> terms, int slot, double* r) {
  kernels::times(task_.m_in, k_, task_.Z_in, V, r, padded(k_));
  for (int t = 0; t < terms.count; ++t) {
    const Term<1>& term = terms.begin[t];
    kernels::add_columns<1>(task_.m_in, 1.0, term.factor, inner_product(term.slot), r);
  }
  if (slot != kNoSlot) at(slot) = {r, false, false};
}

void DenseDesign::add(int slot, const double* C) {
  (slot == outer_slot_ ? task_.C_out : task_.C_in)->add(at(slot).a, C);
}

}  // namespace metaspan
