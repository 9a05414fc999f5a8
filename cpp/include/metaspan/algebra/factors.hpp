// The factors C of the gradient, (10), as few columns as they need.
#pragma once

#include "lanes.hpp"
#include "metaspan/base/base.hpp"

namespace metaspan {

/// Columns of a matrix of k columns with those that fill the last register.
inline Index padded(Index k) { return round_up(k, kernels::kLane); }

/// C = sum_t s_t c_t^T of one data set: by its terms where they are few, since each costs a sweep
/// X^T s, and as the matrix C where they are not.
class Factors {
 public:
  /// Takes the memory for up to `most` terms, and forgets what was there.
  void reset(Index m, Index k, Index most) {
    m_ = m;
    k_ = k;
    whole_ = 2 * most >= k;
    count_ = 0;
    c_.assign(static_cast<std::size_t>((whole_ ? m : most) * padded(k)), 0.0);
    s_.assign(static_cast<std::size_t>(whole_ ? 0 : most * m), 0.0);
  }

  /// C as it is elsewhere: whole, to be read alone.
  void borrow(const double* C,  // (m, padded(k))
              Index m, Index k) {
    m_ = m;
    k_ = k;
    whole_ = true;
    borrowed_ = C;
  }

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

  void scale(double factor) {
    for (double& c : c_) c *= factor;
  }

  Index m() const { return m_; }
  bool whole() const { return whole_; }
  /// C, (m, padded(k)), if whole.
  const double* matrix() const { return borrowed_ != nullptr ? borrowed_ : c_.data(); }
  Index count() const { return count_; }                         // of terms, if not
  const double* s(Index t) const { return s_.data() + t * m_; }  // (m,)
  const double* c() const { return c_.data(); }  // (count, padded(k))  c_t one below the other

 private:
  Index m_ = 0, k_ = 0, count_ = 0;
  bool whole_ = false;
  const double* borrowed_ = nullptr;
  std::vector<double> s_, c_;
};

}  // namespace metaspan
