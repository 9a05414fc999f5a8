// A double whose operations are rounded one by one. nvcc contracts products and sums of doubles to
// FMA instructions, which is right for sweeps, but would change the bits of random numbers.
#pragma once

#include "launch.hpp"
#include "normal_math.hpp"

namespace metaspan::cuda {

/// The Number of normal_math.hpp on a device.
struct Exact {
  double value;

  __device__ Exact(double x) : value(x) {}  // NOLINT(google-explicit-constructor): a literal is one
  __device__ explicit operator double() const { return value; }

  __device__ friend Exact operator+(Exact a, Exact b) { return __dadd_rn(a.value, b.value); }
  __device__ friend Exact operator-(Exact a, Exact b) { return __dsub_rn(a.value, b.value); }
  __device__ friend Exact operator*(Exact a, Exact b) { return __dmul_rn(a.value, b.value); }
  __device__ friend Exact operator/(Exact a, Exact b) { return __ddiv_rn(a.value, b.value); }
  __device__ friend Exact operator-(Exact a) { return -a.value; }
  __device__ friend Exact square_root(Exact a) { return __dsqrt_rn(a.value); }
};

}  // namespace metaspan::cuda
