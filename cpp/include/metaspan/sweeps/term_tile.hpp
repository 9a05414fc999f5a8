// Terms v c^T of some rows of the gradient, added some at a time.
#pragma once

#include <algorithm>

#include "metaspan/base/sizes.hpp"
#include "panel.hpp"

namespace metaspan {

/// Vectors v and the rows c that they are multiplied with, until there are enough of them to add
/// all at once: a term by itself would read and write the sum for two operations a number.
class TermTile {
 public:
  /// With no rows it takes no term.
  TermTile(Index rows, Index width, Index stride)
      : rows_(rows), v_(rows > 0 ? kTermsAtOnce : 0, stride), c_(kTermsAtOnce, width) {}

  /// The next v, (rows,), to be written before the next call; terms there may go into `sum`,
  /// (rows, width).
  double* next(const double* c,  // (width,)
               Mat& sum) {
    if (count_ == kTermsAtOnce) add_to(sum);
    std::copy_n(c, c_.cols(), c_.data() + count_ * c_.cols());
    return v_.data() + count_++ * v_.cols();
  }

  /// Adds what is left.
  void add_to(Mat& sum) {
    if (count_ == 0) return;
    kernels::product<true>(rows_, count_, sum.cols(), v_.data(), 1, v_.cols(), c_.data(),
                           sum.data());
    count_ = 0;
  }

 private:
  Index rows_;
  Mat v_;  // (kTermsAtOnce, stride)
  Mat c_;  // (kTermsAtOnce, width)
  Index count_ = 0;
};

}  // namespace metaspan
