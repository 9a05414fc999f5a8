// A buffer of rank-one terms v c^T for a tile of rows of the gradient.
#pragma once

#include <algorithm>

#include "metaspan/base/sizes.hpp"
#include "panel.hpp"

namespace metaspan {

/// Collects kTermsAtOnce pairs of a vector v and a row c, then adds the sum of the products v c^T
/// of these pairs to the gradient. If every product were added separately, each number of the
/// gradient would be read and written for only two operations.
class TermTile {
 public:
  /// If `rows` is 0, next() must not be called.
  TermTile(Index rows, Index width, Index stride)
      : rows_(rows), v_(rows > 0 ? kTermsAtOnce : 0, stride), c_(kTermsAtOnce, width) {}

  /// Returns memory for the next vector v, (rows,). The caller must fill this memory before it
  /// calls next() or add_to(). If the buffer is full, next() first adds the terms in the buffer to
  /// `sum`, (rows, width).
  double* next(const double* c,  // (width,)
               double* sum) {
    if (count_ == kTermsAtOnce) add_to(sum);
    std::copy_n(c, c_.cols(), c_.data() + count_ * c_.cols());
    return v_.data() + count_++ * v_.cols();
  }

  /// Adds the remaining terms to `sum`.
  void add_to(double* sum) {
    if (count_ == 0) return;
    kernels::product<true>(rows_, count_, c_.cols(), v_.data(), 1, v_.cols(), c_.data(), sum);
    count_ = 0;
  }

 private:
  Index rows_;
  Mat v_;  // (kTermsAtOnce, stride)
  Mat c_;  // (kTermsAtOnce, width)
  Index count_ = 0;
};

}  // namespace metaspan
