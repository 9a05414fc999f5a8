// The factors C and C' of the gradient, (10), stored as a matrix or as a list of rank-one terms.
#pragma once

#include "lanes.hpp"
#include "metaspan/base/base.hpp"

namespace metaspan {

/// k rounded up to whole registers: the columns that the kernels store for a matrix of k columns.
inline Index padded(Index k) { return round_up(k, kernels::kLane); }

/// The factor C = sum_t s_t c_t^T (m, k) of one data set. Few terms are stored as a list, and X^T C
/// takes one sweep X^T s for each term. Many terms are summed into a matrix C, and X^T C is one
/// matrix product.
class Factors {
 public:
  /// Discards the contents and allocates memory for up to `most` terms. C is stored as a matrix if
  /// 2 most >= k.
  void reset(Index m, Index k, Index most) {
    m_ = m;
    k_ = k;
    whole_ = 2 * most >= k;
    count_ = 0;
    c_.assign(static_cast<std::size_t>((whole_ ? m : most) * padded(k)), 0.0);
    s_.assign(static_cast<std::size_t>(whole_ ? 0 : most * m), 0.0);
  }

  /// Makes this object a read-only view of a matrix C that is stored elsewhere.
  void borrow(const double* C,  // (m, padded(k))
              Index m, Index k) {
    m_ = m;
    k_ = k;
    whole_ = true;
    borrowed_ = C;
  }

  /// Adds the term s c^T.
  void add(const double* s,    // (m,)
           const double* c) {  // (k,)
    if (whole_) {
      for (Index i = 0; i < m_; ++i) {
        for (Index j = 0; j < k_; ++j)
          c_[static_cast<std::size_t>(i * padded(k_) + j)] += s[i] * c[j];
      }
      return;
    }
    for (Index i = 0; i < m_; ++i) s_[static_cast<std::size_t>(count_ * m_ + i)] = s[i];
    for (Index j = 0; j < k_; ++j) c_[static_cast<std::size_t>(count_ * padded(k_) + j)] = c[j];
    ++count_;
  }

  /// Multiplies C by a factor.
  void scale(double factor) {
    for (double& c : c_) c *= factor;
  }

  Index m() const { return m_; }
  /// Whether C is stored as a matrix, not as terms.
  bool whole() const { return whole_; }
  /// Returns C, (m, padded(k)), if C is stored as a matrix.
  const double* matrix() const { return borrowed_ != nullptr ? borrowed_ : c_.data(); }
  // For a C that is stored as terms: the number of terms, the vectors s_t (m,), and the rows c_t of
  // a matrix (count, padded(k)).
  Index count() const { return count_; }
  const double* s(Index t) const { return s_.data() + t * m_; }
  const double* c() const { return c_.data(); }

 private:
  Index m_ = 0, k_ = 0, count_ = 0;
  bool whole_ = false;
  const double* borrowed_ = nullptr;
  std::vector<double> s_, c_;
};

}  // namespace metaspan
