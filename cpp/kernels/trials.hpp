// Products of panels whose columns are trials. Every trial has separate matrices, and the last axis
// of all arrays is the trial. The functions are serial, take pointers and shapes, and allocate no
// memory.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "lanes.hpp"

namespace metaspan::kernels {

/// Number of trials that are advanced together, one trial in each column of a panel. A row of the
/// panel fills two registers of AVX-512, which hides the latency of the short sums of a small
/// state.
constexpr int kTrials = 16;

namespace detail {

/// Computes `Rows` rows of out = A V. Each element of out is a sum over p in rising order.
template <int Width, int Rows>
inline void trial_rows(std::ptrdiff_t depth, const double* A, std::ptrdiff_t a_row,
                       std::ptrdiff_t a_step, const double* V, double* out) {
  constexpr int kLanes = Width / kLane;
  Lane sum[Rows][kLanes] = {};
  for (std::ptrdiff_t p = 0; p < depth; ++p) {
    for (int c = 0; c < kLanes; ++c) {
      const Lane v = load(V + p * Width + c * kLane);
      for (int r = 0; r < Rows; ++r) {
        sum[r][c] += load(A + (r * a_row + p * a_step) * Width + c * kLane) * v;
      }
    }
  }
  for (int r = 0; r < Rows; ++r) {
    for (int c = 0; c < kLanes; ++c) store(out + r * Width + c * kLane, sum[r][c]);
  }
}

}  // namespace detail

/// Computes out[i, t] = sum_p A[i, p, t] V[p, t]. The sum of an element has the same order as in
/// product() of panel.hpp, so that a trial has the same bits whether it is computed alone or beside
/// other trials.
template <int Width>
inline void trial_product(std::ptrdiff_t rows, std::ptrdiff_t depth,
                          const double* A,  // (rows, depth, Width), element (i, p) at i a_row + p
                                            // a_step, in units of Width
                          std::ptrdiff_t a_row, std::ptrdiff_t a_step,
                          const double* V,  // (depth, Width)
                          double* out) {    // (rows, Width)
  static_assert(Width % kLane == 0, "trials fill whole registers");
  constexpr int kRows = 8 * kLane / Width < 1 ? 1 : 8 * kLane / Width;  // 8 sums in registers
  std::ptrdiff_t i = 0;
  for (; i + kRows <= rows; i += kRows) {
    detail::trial_rows<Width, kRows>(depth, A + i * a_row * Width, a_row, a_step, V,
                                     out + i * Width);
  }
  for (; i < rows; ++i) {
    detail::trial_rows<Width, 1>(depth, A + i * a_row * Width, a_row, a_step, V, out + i * Width);
  }
}

/// A term a c^T of grad_B, (10), in every trial of a panel.
struct TrialTerm {
  const double* a;  // (rows, Width)
  const double* c;  // (columns, Width)
};

namespace detail {

/// Adds all terms to `Columns` columns of a row of G. The terms are added to each number of G in
/// order.
template <int Width, int Columns>
inline void add_to_columns(std::ptrdiff_t row, std::ptrdiff_t column, const TrialTerm* terms,
                           std::ptrdiff_t count, double* G) {
  constexpr int kLanes = Width / kLane;
  Lane sum[Columns][kLanes];
  for (int j = 0; j < Columns; ++j) {
    for (int l = 0; l < kLanes; ++l) sum[j][l] = load(G + j * Width + l * kLane);
  }
  for (std::ptrdiff_t p = 0; p < count; ++p) {
    for (int l = 0; l < kLanes; ++l) {
      const Lane a = load(terms[p].a + row * Width + l * kLane);
      for (int j = 0; j < Columns; ++j) {
        sum[j][l] += a * load(terms[p].c + (column + j) * Width + l * kLane);
      }
    }
  }
  for (int j = 0; j < Columns; ++j) {
    for (int l = 0; l < kLanes; ++l) store(G + j * Width + l * kLane, sum[j][l]);
  }
}

}  // namespace detail

/// Computes G[i, j, t] += sum_p a_p[i, t] c_p[j, t], where the terms p are added in order.
template <int Width>
inline void add_trial_terms(std::ptrdiff_t rows, std::ptrdiff_t columns,
                            const TrialTerm* terms,  // (count,)
                            std::ptrdiff_t count,
                            double* G) {  // (rows, columns, Width), in and out
  constexpr int kColumns = 8 * kLane / Width < 1 ? 1 : 8 * kLane / Width;
  for (std::ptrdiff_t i = 0; i < rows; ++i) {
    double* row = G + i * columns * Width;
    std::ptrdiff_t j = 0;
    for (; j + kColumns <= columns; j += kColumns) {
      detail::add_to_columns<Width, kColumns>(i, j, terms, count, row + j * Width);
    }
    for (; j < columns; ++j) {
      detail::add_to_columns<Width, 1>(i, j, terms, count, row + j * Width);
    }
  }
}

/// Replaces most[t] by the maximum of most[t] and all magnitudes of x[i, t]. The bits of the
/// magnitudes are compared as integers, which gives the order of the doubles and places NaN above
/// infinity. The maximum does not depend on the order of the comparisons.
template <int Width>
inline void raise_to_magnitudes(std::ptrdiff_t rows,
                                const double* x,  // (rows, Width)
                                double* most) {   // (Width,) in and out, at least 0
  constexpr std::int64_t kMagnitude = 0x7FFFFFFFFFFFFFFF;
  using SignedLane = std::int64_t __attribute__((vector_size(kLaneBytes)));
  using Words = std::conditional_t<Width % kLane == 0, SignedLane, std::int64_t>;
  constexpr int kWords = sizeof(Words) / sizeof(double), kRegisters = Width / kWords;
  Words largest[kRegisters];
  std::memcpy(largest, most, sizeof largest);
  for (std::ptrdiff_t i = 0; i < rows; ++i) {
    for (int c = 0; c < kRegisters; ++c) {
      Words bits;
      std::memcpy(&bits, x + i * Width + c * kWords, sizeof bits);
      bits &= kMagnitude;
      largest[c] = bits > largest[c] ? bits : largest[c];
    }
  }
  std::memcpy(most, largest, sizeof largest);
}

}  // namespace metaspan::kernels
