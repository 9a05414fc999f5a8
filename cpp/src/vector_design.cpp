#include "metaspan/vector_design.hpp"

#include <type_traits>

#include "metaspan/error.hpp"
#include "metaspan/parallel.hpp"
#include "sweep.hpp"

namespace metaspan {

template <class XScalar>
VectorDesign<XScalar>::Scratch::Scratch(int inner_steps, bool all_slots, Index d, Index k,
                                        Index most_m, int threads)
    : vectors_(new double[static_cast<std::size_t>(all_slots ? 0 : inner_steps * d)]),
      features_(static_cast<std::size_t>(slots_of(inner_steps) * k)),
      parts_(static_cast<std::size_t>(ceil_div(d, kPiece) * std::max(most_m, k))),
      pieces_(static_cast<std::size_t>(threads * kPiece)),
      scaled_(static_cast<std::size_t>(most_m)) {}

template <class XScalar>
double* VectorDesign<XScalar>::vector(int slot) {
  if (terms_.all_slots) return terms_.rows + slot * round_.d;
  return slot == round_.outer_slot ? terms_.rows : scratch_.vectors_.get() + slot * round_.d;
}

/// body(first column, columns, piece, thread).
template <class XScalar>
template <class Body>
void VectorDesign<XScalar>::each_piece(Body&& body) {
  const Index pieces = ceil_div(round_.d, kPiece);
  const bool backwards = scratch_.backwards_;
  scratch_.backwards_ = !backwards;
  parallel_for(round_.threads, pieces, round_.cancel, [&](Index i, int thread) {
    const Index piece = backwards ? pieces - 1 - i : i, first = piece * kPiece;
    body(first, std::min(kPiece, round_.d - first), piece, thread);
  });
  if (round_.cancel != nullptr && round_.cancel->requested()) throw Cancelled();
}

/// out = scale times the sum of the parts, in the order of the pieces.
template <class XScalar>
void VectorDesign<XScalar>::sum_parts(Index count, double scale, double* out) const {
  const Index pieces = ceil_div(round_.d, kPiece);
  const double* part = scratch_.parts_.data();
  std::copy_n(part, count, out);
  for (Index p = 1; p < pieces; ++p) {
    for (Index i = 0; i < count; ++i) out[i] += part[p * count + i];
  }
  for (Index i = 0; i < count; ++i) out[i] *= scale;
}

/// out = X u on some columns.
template <class XScalar>
void VectorDesign<XScalar>::times(const Samples<XScalar>& set, Index first, Index columns,
                                  const double* u, double* out) const {
  if constexpr (std::is_same_v<XScalar, float>) {
    if (round_.single) {
      return kernels::sweep_times_single(set.m, columns, set.X + first, set.stride, u, out);
    }
  }
  kernels::sweep_times(set.m, columns, set.X + first, set.stride, u, out);
}

/// out = X^T a on some columns, a in the scratch.
template <class XScalar>
void VectorDesign<XScalar>::combine(const Samples<XScalar>& set, Index first, Index columns,
                                    double* out) const {
  const double* a = scratch_.scaled_.data();
  if constexpr (std::is_same_v<XScalar, float>) {
    if (round_.single) {
      return kernels::sweep_combine_single(set.m, columns, set.X + first, set.stride, a, out);
    }
  }
  kernels::sweep_combine<false>(set.m, columns, set.X + first, set.stride, a, out);
}

template <class XScalar>
void VectorDesign<XScalar>::pull(const Samples<XScalar>& set, int slot, const double* a) {
  const double scale = normalisation(set.m);
  for (Index i = 0; i < set.m; ++i) scratch_.scaled_[static_cast<std::size_t>(i)] = scale * a[i];
  double* v = vector(slot);
  const Index d = round_.d, k = round_.k;
  each_piece([&](Index first, Index columns, Index piece, int) {
    combine(set, first, columns, v + first);
    kernels::sweep_times(k, columns, round_.B_t + first, d, v + first,
                         scratch_.parts_.data() + piece * k);
  });
  sum_parts(k, 1.0, scratch_.features_.data() + slot * k);
}

template <class XScalar>
void VectorDesign<XScalar>::apply(const Samples<XScalar>& set, const double* V,
                                  metaspan::Terms<1> terms, double* out) {
  const Index d = round_.d;
  each_piece([&](Index first, Index columns, Index piece, int thread) {
    double* u = scratch_.pieces_.data() + thread * kPiece;
    kernels::sweep_combine<false>(round_.k, columns, round_.B_t + first, d, V, u);
    for (int t = 0; t < terms.count; ++t) {
      const Term<1>& term = terms.begin[t];
      kernels::sweep_combine<true>(1, columns, vector(term.slot) + first, d, term.factor, u);
    }
    times(set, first, columns, u, scratch_.parts_.data() + piece * set.m);
  });
  sum_parts(set.m, normalisation(set.m), out);
}

template <class XScalar>
void VectorDesign<XScalar>::dot(int a, int b, double* dots) {
  const double *v = vector(a), *u = vector(b);
  each_piece([&](Index first, Index columns, Index piece, int) {
    scratch_.parts_[static_cast<std::size_t>(piece)] = kernels::dot(columns, v + first, u + first);
  });
  sum_parts(1, 1.0, dots);
}

template class VectorDesign<float>;
template class VectorDesign<double>;

}  // namespace metaspan
