// The rows of all samples of a pool in law, (24) and (36), and products with these rows. The zeros
// above the diagonal of the triangular part are not stored.
#pragma once

#include "metaspan/base/cancel.hpp"
#include "metaspan/random/features.hpp"

namespace metaspan {

/// The rows [P, L] of N samples, (36), with D + min(N, d - D) columns; the last nonzero entry of
/// row i is in column D + i at most. Panels of kPanelRows rows are stored one after the other. A
/// panel is stored column by column, without the columns that are zero in all of its rows. The
/// order of all sums depends only on shapes.
class PackedRows {
 public:
  /// Bytes of the rows.
  static double bytes(Index N, Index D, double d);

  /// Draws the rows; row i has the bits of pooled_row().
  PackedRows(const FeatureLaw& law, Key features, Key radii, double d, Index D, Index N,
             int threads, Cancel* cancel);

  Index rows() const { return N_; }
  Index columns() const { return columns_; }

  /// Computes Z = X B for the rows [first, last).
  void features(Index first, Index last, Index k,
                const double* B,  // (columns(), k)
                int threads, Cancel* cancel,
                double* Z) const;  // (last - first, k)

  /// Computes out += X^T C for the rows [first, last). Every entry of out is one sum in the order
  /// of the rows, so calls for consecutive ranges give the same bits as one call for all rows.
  void combine(Index first, Index last, Index k,
               const double* C,  // (last - first, k)
               int threads, Cancel* cancel,
               double* out) const;  // (columns(), k)

  /// Computes the Gram matrices of `tasks` consecutive sets of m rows, the first of which begins at
  /// row `first`.
  void grams(Index first, Index m, Index tasks, int threads, Cancel* cancel,
             double* K) const;  // (tasks, m, m)

  /// Copies the columns [begin, end) of the rows [first, last). Columns beyond the end of a panel
  /// are zero.
  void copy(Index first, Index last, Index begin, Index end,
            double* out) const;  // (last - first, end - begin)

 private:
  Index length(Index panel) const;  // columns of a panel
  void draw(const FeatureLaw& law, Key features, Key radii, double d, Index panel);
  const double* panel_data(Index panel) const {
    return values_.data() + starts_[static_cast<std::size_t>(panel)];
  }

  Index N_, D_, columns_;
  std::vector<Index> starts_;  // of the panels in values_
  Vec values_;
};

}  // namespace metaspan
