// The transformation of standard normals into heads, for panels of the CPU and single columns of a
// device. See normal_math.hpp for Number.
#pragma once

#include <cstddef>

#include "normal_math.hpp"

namespace metaspan::kernels {

/// The parameters of a distribution of heads: mean + scale * (factor g), or radius * g / |g|. Null
/// pointers stand for mean 0 and for scales and factors I.
struct HeadShape {
  bool sphere = false;
  std::ptrdiff_t k_star = 0;
  double radius = 1;
  const double* mean = nullptr;    // (k_star,)
  const double* scale = nullptr;   // (k_star,) diagonal
  const double* factor = nullptr;  // (k_star, k_star) lower triangular
};

/// Scales the standard normals of each column to a vector of length `radius`.
template <class Number>
METASPAN_HD inline void place_on_sphere(const HeadShape& law, std::ptrdiff_t width,
                                        std::ptrdiff_t stride, double* out) {
  for (std::ptrdiff_t t = 0; t < width; ++t) {
    Number square = 0.0;
    for (std::ptrdiff_t i = 0; i < law.k_star; ++i) {
      const Number x = out[i * stride + t];
      square = square + x * x;
    }
    const Number factor = law.radius / square_root(square);
    for (std::ptrdiff_t i = 0; i < law.k_star; ++i) {
      out[i * stride + t] = static_cast<double>(out[i * stride + t] * factor);
    }
  }
}

/// Transforms the standard normals of a panel in place into heads. From standard normals g, a
/// Gaussian head is mean + scale * (factor g), and a head uniform on the sphere is radius * g /
/// |g|.
template <class Number>
METASPAN_HD inline void place_heads(const HeadShape& law, std::ptrdiff_t width,
                                    std::ptrdiff_t stride,  // between rows, at least `width`
                                    double* out) {          // (k_star, width)
  if (law.sphere) return place_on_sphere<Number>(law, width, stride, out);
  if (law.factor != nullptr) {
    // The factor is lower triangular, so row i of the product needs the normals of rows 0 to i
    // only. The product can therefore overwrite the normals if the rows are computed from the last
    // row to the first.
    for (std::ptrdiff_t i = law.k_star - 1; i >= 0; --i) {
      for (std::ptrdiff_t t = 0; t < width; ++t) {
        Number sum = 0.0;
        for (std::ptrdiff_t j = 0; j <= i; ++j) {
          sum = sum + Number(law.factor[i * law.k_star + j]) * out[j * stride + t];
        }
        out[i * stride + t] = static_cast<double>(sum);
      }
    }
  }
  if (law.scale == nullptr && law.mean == nullptr) return;
  for (std::ptrdiff_t i = 0; i < law.k_star; ++i) {
    const Number scale = law.scale != nullptr ? law.scale[i] : 1.0;
    const Number mean = law.mean != nullptr ? law.mean[i] : 0.0;
    for (std::ptrdiff_t t = 0; t < width; ++t) {
      out[i * stride + t] = static_cast<double>(scale * out[i * stride + t] + mean);
    }
  }
}

}  // namespace metaspan::kernels
