// The true parameters of tasks whose rows are generated.
#pragma once

#include <algorithm>

#include "metaspan/random/random.hpp"
#include "sweep.hpp"

namespace metaspan {

/// The true parameters theta_i = B_star w_star + xi_i, from which the responses of generated rows
/// are computed, (12) and (33).
struct Truth {
  Mat B_star_t;        // (k_star, d)
  Mat minus_heads;     // (n, k_star)  -w_star of the tasks
  double xi_std = 0;   // standard deviation tau / sqrt(d) of the entries of xi; 0: xi = 0
  Key xi{};            // stream of standard normals; those of xi are row 0 of each task
  Index offset = 0;    // column among all d of the first column, even
  double noise = 0;    // standard deviation of the noise of responses
  Key noises[2] = {};  // streams of the noise of the inner and the outer sets

  /// Subtracts entries [first, first + columns) of theta of a task from u, with `first` even. xi is
  /// generated where it is used, like the rows of X, so no (n, d) array holds it. The rows of a set
  /// of m samples take m times as many random numbers as xi.
  void subtract(Index task, Index first, Index columns, double* u) const {
    kernels::sweep_combine<true>(B_star_t.rows(), columns, B_star_t.data() + first, B_star_t.cols(),
                                 minus_heads.row(task).data(), u);
    constexpr Index kSome = 1024;  // numbers at a time, even
    double g[kSome];
    for (Index begin = 0; xi_std != 0 && begin < columns; begin += kSome) {
      const Index count = std::min(kSome, columns - begin);
      normal_row(xi, task, 0, offset + first + begin, count, g);
      for (Index i = 0; i < count; ++i) u[begin + i] -= xi_std * g[i];
    }
  }
};

}  // namespace metaspan
