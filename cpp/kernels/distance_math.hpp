// The distance (20) of small states as templates that the CPU and a CUDA device compile. A T is
// either a double that belongs to one state, or a register of doubles that each belong to a
// different state. Decisions for a state (pivots, the end of its iteration) are made by masks that
// select numbers, not by branches. A state therefore has the same bits whether it is computed alone
// or beside other states.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "metaspan/base/host_device.hpp"

namespace metaspan::kernels {

/// The largest k for which the kernel takes less time than a tridiagonal eigenvalue solver.
constexpr std::ptrdiff_t kMostAngles = 8;

/// Doubles of scratch memory for each column of a panel: the equations of R M^{-1}, (k, k + e), and
/// three matrices (k, k), which hold a Gram matrix, its power, and the square of the power.
METASPAN_HD constexpr std::ptrdiff_t distance_scratch(std::ptrdiff_t k, std::ptrdiff_t e) {
  return k * (k + e) + 3 * k * k;
}

/// Operations on a T, which read() and write() find in memory. Comparisons return masks, in which
/// all bits of an element are set if the comparison holds for this element. distance.cpp adds the
/// operations on registers.
template <class T>
struct Bits;

template <>
struct Bits<double> {
  using Mask = std::uint64_t;
  METASPAN_HD static double read(const double* memory) { return *memory; }
  METASPAN_HD static void write(double* memory, double x) { *memory = x; }
  METASPAN_HD static Mask of(double x) {
    Mask bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
  }
  METASPAN_HD static double number(Mask bits) {
    double x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
  }
  METASPAN_HD static Mask larger(double a, double b) { return a > b ? ~Mask{0} : 0; }
  METASPAN_HD static double root(double x) { return std::sqrt(x); }
  METASPAN_HD static bool any(Mask mask) { return mask != 0; }
};

/// Scratch memory for numbers of type T, which are read and written one at a time. Two numbers that
/// follow each other begin `Step` doubles apart.
template <class T, int Step>
class Numbers {
 public:
  using Value = T;
  METASPAN_HD explicit Numbers(double* memory) : memory_(memory) {}
  METASPAN_HD T operator[](std::ptrdiff_t i) const { return Bits<T>::read(memory_ + i * Step); }
  METASPAN_HD void set(std::ptrdiff_t i, T x) const { Bits<T>::write(memory_ + i * Step, x); }
  METASPAN_HD Numbers from(std::ptrdiff_t i) const { return Numbers(memory_ + i * Step); }

 private:
  double* memory_;
};

namespace angles {

/// If the trace of P^2 is larger than kSettled, one more squaring makes the weights of all
/// eigenvectors except one smaller than the rounding error.
constexpr double kSettled = 1 - 0x1p-26;

/// If no entry of G P - lambda P is larger than kResidual, lambda is as exact as rounding allows.
constexpr double kResidual = 0x1p-51;

/// A Gram matrix is squared at most kMostSquarings times. After kMostSquarings squarings, the
/// largest eigenvalue of the matrix is as exact as rounding allows, even if eigenvalues differ in
/// their last bits only. After every kSquaringsPerTest squarings, a test checks whether the
/// eigenvalues that still have weights agree.
constexpr int kMostSquarings = 56, kSquaringsPerTest = 10;

template <class T>
using Mask = typename Bits<T>::Mask;

template <class T>
METASPAN_HD inline T select(Mask<T> mask, T yes, T no) {
  return Bits<T>::number((Bits<T>::of(yes) & mask) | (Bits<T>::of(no) & ~mask));
}
template <class T>
METASPAN_HD inline T magnitude(T x) {
  return Bits<T>::number(Bits<T>::of(x) & std::uint64_t{0x7FFFFFFFFFFFFFFF});
}

/// Swaps the rows a and b, of `count` numbers each, in those states in which the first number of b
/// has a larger magnitude than the first number of a.
template <class N, class T = typename N::Value>
METASPAN_HD inline void swap_if_larger(std::ptrdiff_t count, N a, N b) {
  const Mask<T> swaps = Bits<T>::larger(magnitude<T>(b[0]), magnitude<T>(a[0]));
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    const T x = a[i], y = b[i];
    a.set(i, select<T>(swaps, y, x));
    b.set(i, select<T>(swaps, x, y));
  }
}

/// Solves M^T X = R^T, so that X^T = R M^{-1}, by elimination with partial pivoting on the rows
/// [M^T, R^T] (k, k + e). X overwrites the last e columns of these rows. If a pivot is zero, some
/// numbers of X are not finite.
template <class Size, class N, class T = typename N::Value>
METASPAN_HD inline void solve_tangents(Size k, Size e, N rows) {
  const std::ptrdiff_t length = k + e;
  for (std::ptrdiff_t c = 0; c < k; ++c) {
    const N pivot = rows.from(c * length + c);
    for (std::ptrdiff_t p = c + 1; p < k; ++p) {
      swap_if_larger(length - c, pivot, rows.from(p * length + c));
    }
    for (std::ptrdiff_t p = c + 1; p < k; ++p) {
      const N row = rows.from(p * length + c);
      const T multiple = row[0] / pivot[0];
      for (std::ptrdiff_t j = 1; j < length - c; ++j) row.set(j, row[j] - multiple * pivot[j]);
    }
  }
  for (std::ptrdiff_t c = k - 1; c >= 0; --c) {
    for (std::ptrdiff_t j = k; j < length; ++j) {
      T x = rows[c * length + j];
      for (std::ptrdiff_t q = c + 1; q < k; ++q) x -= rows[c * length + q] * rows[q * length + j];
      rows.set(c * length + j, x / rows[c * length + c]);
    }
  }
}

/// Computes the sum over q < depth, in rising order, of a[q * step] * b[q * step].
template <class Size, class N, class T = typename N::Value>
METASPAN_HD inline T inner_product(Size depth, N a, N b, std::ptrdiff_t step) {
  T sum = {};
  for (std::ptrdiff_t q = 0; q < depth; ++q) sum += a[q * step] * b[q * step];
  return sum;
}

/// Computes the symmetric matrix out (p, p) whose entry (i, j) is the inner product of the vectors
/// i and j of A. Vector i begins at i * stride. Returns the trace of out.
template <class Size, class N, class T = typename N::Value>
METASPAN_HD inline T gram(Size p, Size depth, N A, std::ptrdiff_t stride, std::ptrdiff_t step,
                          N out) {
  T trace = {};
  for (std::ptrdiff_t i = 0; i < p; ++i) {
    for (std::ptrdiff_t j = i; j < p; ++j) {
      const T entry = inner_product(depth, A.from(i * stride), A.from(j * stride), step);
      out.set(i * p + j, entry);
      out.set(j * p + i, entry);
    }
    trace += out[i * p + i];
  }
  return trace;
}

/// Computes the largest magnitude of an entry of G P - lambda P for symmetric (p, p) matrices G and
/// P.
template <class Size, class N, class T = typename N::Value>
METASPAN_HD inline T residual(Size p, N G, N P, T lambda) {
  T most = {};
  for (std::ptrdiff_t i = 0; i < p; ++i) {
    for (std::ptrdiff_t j = 0; j < p; ++j) {
      const T entry = inner_product(p, G.from(i * p), P.from(j * p), 1);
      const T off = magnitude<T>(entry - lambda * P[i * p + j]);
      most = select<T>(Bits<T>::larger(off, most), off, most);
    }
  }
  return most;
}

/// Computes the largest eigenvalue of positive semidefinite matrices G (p, p) of trace 1: each step
/// P <- P^2 / tr P^2 of the iteration, which starts from P = G, squares the weights of all
/// eigenvectors and normalises them. P therefore tends to the normalised projector on the
/// eigenvectors of the largest eigenvalue, and this eigenvalue is lambda = tr(G P). The iteration
/// of a state ends when one eigenvector has all the weight. The iteration of a state also ends if
/// the test after every kSquaringsPerTest squarings finds that the eigenvalues of all remaining
/// eigenvectors agree. After the end of its iteration, the P of a state does not change.
template <class Size, class N, class T = typename N::Value>
METASPAN_HD inline T largest_eigenvalue(Size p, N G, N P, N square, Mask<T> active) {
  for (std::ptrdiff_t i = 0; i < p * p; ++i) P.set(i, G[i]);
  for (int s = 1; s <= kMostSquarings && Bits<T>::any(active); ++s) {
    const T trace = gram(p, p, P, p, 1, square), inverse = 1.0 / trace;
    for (std::ptrdiff_t i = 0; i < p * p; ++i) {
      P.set(i, select<T>(active, square[i] * inverse, P[i]));
    }
    active &= ~Bits<T>::larger(trace, T{} + kSettled);
    if (s % kSquaringsPerTest != 0) continue;
    active &= Bits<T>::larger(residual(p, G, P, inner_product(p * p, G, P, 1)), T{} + kResidual);
  }
  return inner_product(p * p, G, P, 1);
}

}  // namespace angles

/// Computes the distance of one state, or of a register of states; element i of Z is at Z[i *
/// stride].
///
/// The tangents of the angles are the singular values of X^T = R M^{-1}, (14). X is first divided
/// by its largest number, so that tangents from 1e-300 to 1e300 keep their relative accuracy when X
/// is multiplied by X^T. The smaller of X X^T and X^T X is then divided by its trace.
template <class Size, class N, class T = typename N::Value>
METASPAN_HD inline T distance(Size k, Size e, const double* Z, std::ptrdiff_t stride, N rows) {
  using namespace angles;
  const std::ptrdiff_t length = k + e;
  const Size p = e < k ? e : k;
  const N G = rows.from(k * length), P = G.from(k * k);
  for (std::ptrdiff_t i = 0; i < k; ++i) {
    for (std::ptrdiff_t j = 0; j < length; ++j) {
      rows.set(i * length + j, Bits<T>::read(Z + (j * k + i) * stride));
    }
  }
  solve_tangents(k, e, rows);
  T scale = {}, zero = {};
  // If R has no rows, X is empty, and only the pivots show whether M is singular.
  for (std::ptrdiff_t c = 0; e == 0 && c < k; ++c) zero += 0.0 * (1.0 / rows[c * length + c]);
  for (std::ptrdiff_t c = 0; c < k; ++c) {
    for (std::ptrdiff_t j = k; j < length; ++j) {
      const T x = rows[c * length + j], size = magnitude<T>(x);
      scale = select<T>(Bits<T>::larger(size, scale), size, scale);
      zero += 0.0 * x;  // NaN if any number is not finite
    }
  }
  const Mask<T> finite = Bits<T>::larger(T{} + 1.0, magnitude<T>(zero));
  const Mask<T> usable = finite & Bits<T>::larger(scale, T{});
  for (std::ptrdiff_t c = 0; c < k; ++c) {
    for (std::ptrdiff_t j = k; j < length; ++j) {
      rows.set(c * length + j, rows[c * length + j] / scale);
    }
  }
  const N X = rows.from(k);
  const T trace = e < k ? gram(p, k, X, 1, length, G) : gram(p, e, X, length, 1, G);
  for (std::ptrdiff_t i = 0; i < p * p; ++i) G.set(i, G[i] / trace);
  const T lambda = largest_eigenvalue(p, G, P, P.from(k * k), usable);
  const T tangent = scale * Bits<T>::root(lambda * trace);
  // If the tangent is above 1e150, its square could overflow, and the sine is 1 up to rounding.
  const T one = T{} + 1.0, sine = tangent / Bits<T>::root(1.0 + tangent * tangent);
  const T capped = select<T>(Bits<T>::larger(T{} + 1e150, tangent), sine, one);
  return select<T>(usable, capped, select<T>(finite, T{}, one));
}

}  // namespace metaspan::kernels
