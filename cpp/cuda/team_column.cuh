// A column of a panel that a team of threads serves, for tasks whose products take long.
#pragma once

#include "launch.hpp"
#include "metaspan/algebra/columns.hpp"
#include "metaspan/cuda/panels.hpp"

namespace metaspan::cuda {

/// The policy by which the algebra accesses columns: a block of threads serves a panel of 32 tasks.
/// Thread (rank, lane) serves column `lane` and, of every panel of vectors, the rows rank, rank +
/// Ranks, ...; small sums and systems are left to the first rank. Every function starts with a
/// barrier, so it reads what earlier functions wrote, and overwrites nothing that they still read.
/// The order of a sum depends on Ranks, not on the launch.
template <int Ranks>
struct TeamColumn {
  static constexpr int width = 1, stride = kPanelColumns;

  __device__ static int rank() { return static_cast<int>(threadIdx.x) / stride; }
  __device__ static int lane() { return static_cast<int>(threadIdx.x) % stride; }

  template <class Body>
  __device__ static void each(Index rows, Body body) {
    __syncthreads();
    for (Index row = rank(); row < rows; row += Ranks) body(row * stride);
  }
  template <class Body>
  __device__ static void each_in_column(Index rows, Body body) {
    __syncthreads();
    for (Index row = rank(); row < rows; row += Ranks) body(row * stride, 0);
  }
  __device__ static void fill(Index rows, double value, double* out) {
    each(rows, [=](Index i) { out[i] = value; });
  }
  __device__ static void copy(Index rows, const double* from, double* to) {
    each(rows, [=](Index i) { to[i] = from[i]; });
  }
  __device__ static double first(const double* row) {
    __syncthreads();
    return *row;
  }
  __device__ static void put(const double* values, double* row) {
    __syncthreads();
    if (rank() == 0) *row = *values;
  }
  /// Every rank sums its rows; the sums of the ranks, in shared memory, are added in order.
  __device__ static void dot(Index rows, const double* a, const double* b, double* dots) {
    METASPAN_SHARED_ARRAY(double, sums, Ranks* stride);
    __syncthreads();
    double sum = 0;
    for (Index row = rank(); row < rows; row += Ranks) sum += a[row * stride] * b[row * stride];
    sums[threadIdx.x] = sum;
    __syncthreads();
    *dots = sums[lane()];
    for (int other = 1; other < Ranks; ++other) *dots += sums[other * stride + lane()];
  }
  __device__ static void add(Index rows, double scale, const double* factor, const double* a,
                             double* out) {
    const double f = scale * *factor;
    each(rows, [=](Index i) { out[i] += f * a[i]; });
  }
  __device__ static void factor_cholesky(Index k, double* G) {
    __syncthreads();
    if (rank() == 0) kernels::factor_cholesky<1, stride>(k, G);
  }
  __device__ static void solve_cholesky(Index k, const double* L, double* b) {
    __syncthreads();
    if (rank() == 0) kernels::solve_cholesky<1, stride>(k, L, b);
  }
};

}  // namespace metaspan::cuda
