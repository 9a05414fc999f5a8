#include "metaspan/algebra/dense_design.hpp"

namespace metaspan {

/// Takes the memory for one task's slots, (9). In MAML, whose inner loop moves B, and wherever
/// contributions are clipped, (29), a slot holds K a and K' a, the products of its vector a of
/// samples with the Gram matrices. Otherwise a slot holds neither product, since the sums of (6)
/// are empty.
DenseDesign::Scratch::Scratch(const Method& method, Index k, Index max_m_in, Index max_m_out)
    : max_m_in_(max_m_in),
      stride_(method.adapt_B || method.clips() ? max_m_in + max_m_out : 0),
      slots_(static_cast<std::size_t>(method.slots())),
      products_(slots_.size() * static_cast<std::size_t>(stride_)),
      row_(static_cast<std::size_t>(padded(k))) {}

/// Computes B^T X^T a = Z^T a of (6), (k,), where a is the slot's vector of samples. The columns of
/// Z are padded with zeros to whole registers, and `row` receives the padded product, so the kernel
/// has no remainder loop.
void DenseDesign::features(int slot, double* out) {
  const bool outer = is_outer_slot(slot, outer_slot_);
  double* row = scratch_.row_.data();
  kernels::product<false>(1, outer ? task_.m_out : task_.m_in, padded(k_), at(slot).a, 0, 1,
                          outer ? task_.Z_out : task_.Z_in, row);
  std::copy_n(row, k_, out);
}

/// Returns X times the slot's vector X^T a, (m_in,): K a for an inner slot, K'^T a for the outer
/// slot. The product is computed on first use and kept until the slot changes, since (6) needs it
/// in every later step and (9) needs it once more.
const double* DenseDesign::inner_product(int slot) {
  double* out = scratch_.inner_of(slot);
  if (at(slot).has_inner) return out;
  at(slot).has_inner = true;
  if (is_outer_slot(slot, outer_slot_)) {
    kernels::transposed_times(task_.m_out, task_.m_in, task_.K_cross, at(slot).a, out,
                              task_.K_cross_stride);
  } else {
    kernels::times(task_.m_in, task_.m_in, task_.K, at(slot).a, out, task_.K_stride);
  }
  return out;
}

/// Returns X' times the vector of a slot, (m_out,): K' a = X' X^T a for an inner slot, and X' X'^T
/// a for an outer slot. Like the product K a, this product stays stored with the slot until the
/// vector a of the slot changes.
const double* DenseDesign::outer_product(int slot) {
  double* out = scratch_.outer_of(slot);
  if (at(slot).has_outer) return out;
  at(slot).has_outer = true;
  if (is_outer_slot(slot, outer_slot_)) {
    kernels::times(task_.m_out, task_.m_out, task_.K_outer, at(slot).a, out, task_.K_outer_stride);
  } else {
    kernels::times(task_.m_out, task_.m_in, task_.K_cross, at(slot).a, out, task_.K_cross_stride);
  }
  return out;
}

/// Computes the inner product of two vectors X^T a and X^T b of length d from the Gram matrices
/// alone: b . K a for two inner slots, b . K' a if slot b is the outer one. Slot `a` usually holds
/// K a or K' a already, so only the inner product of that vector with b is computed here.
void DenseDesign::dot(int a, int b, double* dots) {
  *dots = is_outer_slot(b, outer_slot_) ? kernels::dot(task_.m_out, outer_product(a), at(b).a)
                                        : kernels::dot(task_.m_in, inner_product(a), at(b).a);
}

/// Computes the inner residual of (2), r = X B_j v - y, (m_in,).
void DenseDesign::residual_in(const double* V, Terms<Columns> terms, int slot, double* r) {
  product_in(V, terms, slot, r);
  for (Index i = 0; i < task_.m_in; ++i) r[i] -= task_.y_in[i];
  if (slot != kNoSlot && task_.blocks > 1) keep_block<Columns>(task_.m_in, slot, task_.blocks, r);
}

/// Computes the outer residual of (7), r' = X' B_J v - y', (m_out,), by the second line of (6): Z'
/// v plus a multiple of K' r_l for each term, minus y'. The slot discards K a and K' a, which
/// belong to its previous residual.
void DenseDesign::residual_out(const double* V, Terms<Columns> terms, int slot, double* r) {
  kernels::times(task_.m_out, k_, task_.Z_out, V, r, padded(k_));
  for (int t = 0; t < terms.count; ++t) {
    Columns::add(task_.m_out, 1.0, terms.factor(t), outer_product(terms.slot(t)), r);
  }
  for (Index i = 0; i < task_.m_out; ++i) r[i] -= task_.y_out[i];
  if (slot != kNoSlot) at(slot) = {r, false, false};
}

/// Computes X B_j v, (m_in,), by the first line of (6): Z v plus a multiple of K r_l for each term.
/// These multiples are added in the order of the terms.
void DenseDesign::product_in(const double* V, Terms<Columns> terms, int slot, double* r) {
  kernels::times(task_.m_in, k_, task_.Z_in, V, r, padded(k_));
  for (int t = 0; t < terms.count; ++t) {
    Columns::add(task_.m_in, 1.0, terms.factor(t), inner_product(terms.slot(t)), r);
  }
  if (slot != kNoSlot) at(slot) = {r, false, false};
}

/// Adds the pair (s, c) of (9) to the factor C or C' of (10), where s is the residual of the slot.
void DenseDesign::add(int slot, const double* C) {
  (is_outer_slot(slot, outer_slot_) ? task_.C_out : task_.C_in)->add(at(slot).a, C);
}

}  // namespace metaspan
