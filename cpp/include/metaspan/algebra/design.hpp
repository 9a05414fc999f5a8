// The Design concept: a compile-time interface for the products with X, X' and their transposes
// that the task algebra requests. All data are normalised: X and y are divided by sqrt(m_in), or by
// sqrt(m_out) in the outer set, so the algebra needs no sample counts.
#pragma once

#include "metaspan/algebra/columns.hpp"
#include "metaspan/algebra/method.hpp"

namespace metaspan {

// clang-format off
// A Design serves `width` tasks of a panel. A panel of vectors of length p is a row-major block
// (p, width), a column per task, whose rows are Columns::stride numbers apart. The algebra never
// handles a vector of length d: it refers to X^T a and X'^T a by the number of a slot, in which the
// design represents this vector. A Design has
//
//   using Columns;                     how it and the algebra access the columns of a panel
//   static constexpr int width;        Columns::width
//   Index tasks();                     columns that are tasks; the other columns must stay finite
//   Index m_in(), m_out();             rows of a panel of residuals
//   Index tracked();                   how many of these rows, the last ones, are no samples:
//                                      linear operations include these rows, inner products do not
//   void residual_in(V, terms, slot, r);   r = X (B V + sum of factor slot) - y  (m_in, width), and
//                                          slot <- X^T r unless slot is kNoSlot; the caller must
//                                          keep r while it uses the slot. With fresh steps, only
//                                          block number `slot` of a finite inner set enters the
//                                          slot, see keep_block(); r may then be 0 in other blocks
//   void residual_out(V, terms, slot, r);  residual_in on the outer set; 0 where there is no task
//   void product_in(V, terms, slot, r);    r = X (B V + sum of factor slot), without y
//   void normal_equations(G, b);           Z^T Z (triangle(k), width), Z^T y (k, width) of (26)
//   void features(slot, out);              out = B^T slot  (k, width)
//   void dot(a, b, dots);                  dots = slot a . slot b  (width,); terms may refer to a
//   void add(slot, C);                     adds the term slot c^T of (10) to grad_B, for every task
// clang-format on

/// A sum of slots, each multiplied by its factors: -alpha sum_l g_l (..) of (6) and, in backward
/// step j, the terms of Omega, (9): X'^T s', then X^T r_bar_i and g_i of i = J - 1 .. j + 1. The
/// slots follow from the counts, so only the factors are stored, and a call passes two registers.
template <class Columns>
struct Terms {
  const double* factors = nullptr;  // (count, width)
  int count = 0;
  int moves = 0;  // terms of (6); j in a backward step, which has 2 (J - j) - 1 further terms

  METASPAN_HD int slot(int t) const {
    if (t < moves) return t;
    const int steps = moves + (count - moves + 1) / 2, pair = t - moves - 1;  // J
    if (pair < 0) return steps;
    const int i = steps - 1 - pair / 2;
    return pair % 2 == 0 ? steps + 1 + i : i;
  }
  METASPAN_HD const double* factor(int t) const { return factors + t * Columns::stride; }
};

constexpr int kNoSlot = -1;

/// Multiplies the rows of block number `block` of an inner residual r, (m, width), by `blocks`, and
/// sets all other rows to zero. The m rows form `blocks` equal blocks. X and r are normalised for m
/// samples, so X^T r becomes the product of the block alone, normalised for its m / blocks samples.
template <class Columns>
METASPAN_HD void keep_block(Index m, int block, int blocks, double* r) {
  const Index first = block * m / blocks, last = (block + 1) * m / blocks;
  Columns::fill(first, 0.0, r);
  double* kept = r + first * Columns::stride;
  Columns::each(last - first, [=](Index i) { kept[i] *= blocks; });
  Columns::fill(m - last, 0.0, r + last * Columns::stride);
}

}  // namespace metaspan
