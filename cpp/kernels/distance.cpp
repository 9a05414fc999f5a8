// The functions are templates over T. A T is either a double that belongs to one state, or a
// register of doubles that each belong to a different state. Decisions for a state (pivots, the end
// of its iteration) are made by masks that select numbers, not by branches. A state therefore has
// the same bits whether it is computed alone or beside other states.
#include "distance.hpp"

#include <cmath>
#include <cstring>

#include "trials.hpp"

namespace metaspan::kernels {
namespace {

/// A Gram matrix is squared at most kMostSquarings times. After kMostSquarings squarings, the
/// largest eigenvalue of the matrix is as exact as rounding allows, even if eigenvalues differ in
/// their last bits only. After every kSquaringsPerTest squarings, a test checks whether the
/// eigenvalues that still have weights agree.
constexpr int kMostSquarings = 56, kSquaringsPerTest = 10;

/// If the trace of P^2 is larger than kSettled, one more squaring makes the weights of all
/// eigenvectors except one smaller than the rounding error.
constexpr double kSettled = 1 - 0x1p-26;

/// If no entry of G P - lambda P is larger than kResidual, lambda is as exact as rounding allows.
constexpr double kResidual = 0x1p-51;

/// Operations on a T, which is a number of one state, or a register whose elements are numbers of
/// different states. Comparisons return masks, in which all bits of an element are set if the
/// comparison holds for this element.
template <class T>
struct Masks {
  using Mask = LaneBits;
};
template <>
struct Masks<double> {
  using Mask = std::uint64_t;
};
template <class T>
using Mask = typename Masks<T>::Mask;

inline std::uint64_t bits_of(double x) {
  std::uint64_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}
inline double number_of(std::uint64_t bits) {
  double x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}
inline LaneBits bits_of(Lane x) { return (LaneBits)x; }
inline Lane number_of(LaneBits bits) { return (Lane)bits; }

inline std::uint64_t larger(double a, double b) { return a > b ? ~std::uint64_t{0} : 0; }
inline LaneBits larger(Lane a, Lane b) { return (LaneBits)(a > b); }

template <class T>
inline T select(Mask<T> mask, T yes, T no) {
  return number_of((bits_of(yes) & mask) | (bits_of(no) & ~mask));
}
template <class T>
inline T magnitude(T x) {
  return number_of(bits_of(x) & std::uint64_t{0x7FFFFFFFFFFFFFFF});
}

inline double root(double x) { return std::sqrt(x); }
inline Lane root(Lane x) {
  for (int t = 0; t < kLane; ++t) x[t] = std::sqrt(x[t]);
  return x;
}
inline bool any(std::uint64_t mask) { return mask != 0; }
inline bool any(LaneBits mask) {
  std::uint64_t all = 0;
  for (int t = 0; t < kLane; ++t) all |= mask[t];
  return all != 0;
}

/// Scratch memory for numbers of type T, which are read and written one at a time.
template <class T>
class Numbers {
 public:
  explicit Numbers(double* memory) : memory_(memory) {}
  T operator[](std::ptrdiff_t i) const {
    T x;
    std::memcpy(&x, memory_ + i * kSize, sizeof x);
    return x;
  }
  void set(std::ptrdiff_t i, T x) const { std::memcpy(memory_ + i * kSize, &x, sizeof x); }
  Numbers from(std::ptrdiff_t i) const { return Numbers(memory_ + i * kSize); }

 private:
  static constexpr std::ptrdiff_t kSize = sizeof(T) / sizeof(double);
  double* memory_;
};

/// Swaps the rows a and b, of `count` numbers each, in those states in which the first number of b
/// has a larger magnitude than the first number of a.
template <class T>
inline void swap_if_larger(std::ptrdiff_t count, Numbers<T> a, Numbers<T> b) {
  const Mask<T> swaps = larger(magnitude(b[0]), magnitude(a[0]));
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    const T x = a[i], y = b[i];
    a.set(i, select<T>(swaps, y, x));
    b.set(i, select<T>(swaps, x, y));
  }
}

/// Solves M^T X = R^T, so that X^T = R M^{-1}, by elimination with partial pivoting on the rows
/// [M^T, R^T] (k, k + e). X overwrites the last e columns of these rows. If a pivot is zero, some
/// numbers of X are not finite.
template <class T>
inline void solve_tangents(std::ptrdiff_t k, std::ptrdiff_t e, Numbers<T> rows) {
  const std::ptrdiff_t length = k + e;
  for (std::ptrdiff_t c = 0; c < k; ++c) {
    const Numbers<T> pivot = rows.from(c * length + c);
    for (std::ptrdiff_t p = c + 1; p < k; ++p) {
      swap_if_larger<T>(length - c, pivot, rows.from(p * length + c));
    }
    for (std::ptrdiff_t p = c + 1; p < k; ++p) {
      const Numbers<T> row = rows.from(p * length + c);
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
template <class T>
inline T inner_product(std::ptrdiff_t depth, Numbers<T> a, Numbers<T> b, std::ptrdiff_t step) {
  T sum = {};
  for (std::ptrdiff_t q = 0; q < depth; ++q) sum += a[q * step] * b[q * step];
  return sum;
}

/// Computes the symmetric matrix out (p, p) whose entry (i, j) is the inner product of the vectors
/// i and j of A. Vector i begins at i * stride. Returns the trace of out.
template <class T>
inline T gram(std::ptrdiff_t p, std::ptrdiff_t depth, Numbers<T> A, std::ptrdiff_t stride,
              std::ptrdiff_t step, Numbers<T> out) {
  T trace = {};
  for (std::ptrdiff_t i = 0; i < p; ++i) {
    for (std::ptrdiff_t j = i; j < p; ++j) {
      const T entry = inner_product<T>(depth, A.from(i * stride), A.from(j * stride), step);
      out.set(i * p + j, entry);
      out.set(j * p + i, entry);
    }
    trace += out[i * p + i];
  }
  return trace;
}

/// Computes the largest magnitude of an entry of G P - lambda P for symmetric (p, p) matrices G and
/// P.
template <class T>
inline T residual(std::ptrdiff_t p, Numbers<T> G, Numbers<T> P, T lambda) {
  T most = {};
  for (std::ptrdiff_t i = 0; i < p; ++i) {
    for (std::ptrdiff_t j = 0; j < p; ++j) {
      const T entry = inner_product<T>(p, G.from(i * p), P.from(j * p), 1);
      const T off = magnitude(entry - lambda * P[i * p + j]);
      most = select<T>(larger(off, most), off, most);
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
template <class T>
inline T largest_eigenvalue(std::ptrdiff_t p, Numbers<T> G, Numbers<T> P, Numbers<T> square,
                            Mask<T> active) {
  for (std::ptrdiff_t i = 0; i < p * p; ++i) P.set(i, G[i]);
  for (int s = 1; s <= kMostSquarings && any(active); ++s) {
    const T trace = gram<T>(p, p, P, p, 1, square), inverse = 1.0 / trace;
    for (std::ptrdiff_t i = 0; i < p * p; ++i) {
      P.set(i, select<T>(active, square[i] * inverse, P[i]));
    }
    active &= ~larger(trace, T{} + kSettled);
    if (s % kSquaringsPerTest != 0) continue;
    active &= larger(residual<T>(p, G, P, inner_product<T>(p * p, G, P, 1)), T{} + kResidual);
  }
  return inner_product<T>(p * p, G, P, 1);
}

/// Computes the distance of one state, or of a register of states; element i of Z is at Z[i *
/// stride].
///
/// The tangents of the angles are the singular values of X^T = R M^{-1}, (14). X is first divided
/// by its largest number, so that tangents from 1e-300 to 1e300 keep their relative accuracy when X
/// is multiplied by X^T. The smaller of X X^T and X^T X is then divided by its trace.
template <class T>
inline T distance(std::ptrdiff_t k, std::ptrdiff_t e, const double* Z, std::ptrdiff_t stride,
                  double* scratch) {
  const std::ptrdiff_t length = k + e, p = e < k ? e : k;
  const Numbers<T> rows(scratch), G = rows.from(k * length), P = G.from(k * k);
  for (std::ptrdiff_t i = 0; i < k; ++i) {
    for (std::ptrdiff_t j = 0; j < length; ++j) {
      T x;
      std::memcpy(&x, Z + (j * k + i) * stride, sizeof x);
      rows.set(i * length + j, x);
    }
  }
  solve_tangents<T>(k, e, rows);
  T scale = {}, zero = {};
  // If R has no rows, X is empty, and only the pivots show whether M is singular.
  for (std::ptrdiff_t c = 0; e == 0 && c < k; ++c) zero += 0.0 * (1.0 / rows[c * length + c]);
  for (std::ptrdiff_t i = 0; i < k * e; ++i) {
    const T x = rows[i / e * length + k + i % e], size = magnitude(x);
    scale = select<T>(larger(size, scale), size, scale);
    zero += 0.0 * x;  // NaN if any number is not finite
  }
  const Mask<T> finite = larger(T{} + 1.0, magnitude(zero));
  const Mask<T> usable = finite & larger(scale, T{});
  for (std::ptrdiff_t i = 0; i < k * e; ++i) {
    const std::ptrdiff_t at = i / e * length + k + i % e;
    rows.set(at, rows[at] / scale);
  }
  const Numbers<T> X = rows.from(k);
  const T trace = e < k ? gram<T>(p, k, X, 1, length, G) : gram<T>(p, e, X, length, 1, G);
  for (std::ptrdiff_t i = 0; i < p * p; ++i) G.set(i, G[i] / trace);
  const T lambda = largest_eigenvalue<T>(p, G, P, P.from(k * k), usable);
  const T tangent = scale * root(lambda * trace);
  // If the tangent is above 1e150, its square could overflow, and the sine is 1 up to rounding.
  const T one = T{} + 1.0, sine = tangent / root(1.0 + tangent * tangent);
  const T capped = select<T>(larger(T{} + 1e150, tangent), sine, one);
  return select<T>(usable, capped, select<T>(finite, T{}, one));
}

}  // namespace

template <>
void distances<1>(std::ptrdiff_t k, std::ptrdiff_t e, const double* Z, double* scratch,
                  double* dist) {
  *dist = distance<double>(k, e, Z, 1, scratch);
}

template <>
void distances<kTrials>(std::ptrdiff_t k, std::ptrdiff_t e, const double* Z, double* scratch,
                        double* dist) {
  for (int t = 0; t < kTrials; t += kLane) {
    store(dist + t, distance<Lane>(k, e, Z + t, kTrials, scratch));
  }
}

}  // namespace metaspan::kernels
