// The normal equations of a solved head, (26), from Z = X B and y of one task. They are in a
// separate file because the functions that the compiler inlines into a file decide the last bits of
// the sums in that file.
#include "cholesky.hpp"
#include "metaspan/algebra/dense_design.hpp"

namespace metaspan {

/// Computes Z^T Z and Z^T y of (26) sample by sample, so that Z is read once.
void DenseDesign::normal_equations(double* G, double* b) const {
  std::fill_n(G, kernels::triangle(k_), 0.0);
  std::fill_n(b, k_, 0.0);
  for (Index i = 0; i < task_.m_in; ++i) {
    const double* z = task_.Z_in + i * padded(k_);
    kernels::add_outer<1>(k_, z, G);
    for (Index j = 0; j < k_; ++j) b[j] += task_.y_in[i] * z[j];
  }
}

}  // namespace metaspan
