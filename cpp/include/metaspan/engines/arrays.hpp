// The user's own data: gradients and adaptation on arrays in memory, (11).
#pragma once

#include "metaspan/cancel.hpp"
#include "metaspan/method.hpp"

namespace metaspan {

/// One data set of one task, in place: rows contiguous, `stride` elements from one to the next.
template <class Scalar>
struct Samples {
  const Scalar* X = nullptr;  // (m, d)
  Index stride = 0;
  const Scalar* y = nullptr;  // (m,)
  Index m = 0;
};

/// What a gradient on arrays returns besides grad_B.
struct ArraysGradient {
  Vec w;        // (k,)    grad_w, the mean over tasks
  Mat losses;   // (3, n)  inner before, inner after, outer
  Mat adapted;  // (n, k)  w_J
};

/// grad_B and grad_w of (10), means over the tasks, by the Gram route (5). X in its own type, B in
/// its own; sums in double. Two sweeps over X_out and one or two over X_in; O(n d k (m_in + m_out))
/// and, for MAML, O(n d m_in (m_in + m_out)). Memory O(n (m_in + m_out) k), and O(n m_in (m_in +
/// m_out)) for MAML. Throws Cancelled.
template <class XScalar, class BScalar>
ArraysGradient gradient_on_arrays(const Method& method,
                                  const BScalar* B,  // (d, k)
                                  const double* w,   // (k,)
                                  Index d, Index k,
                                  const std::vector<Samples<XScalar>>& inner,  // (n,)
                                  const std::vector<Samples<XScalar>>& outer,  // (n,)
                                  bool losses,      // without them K is left out where J <= 1
                                  BScalar* grad_B,  // (d, k) out
                                  int threads, Cancel* cancel);

/// The inner loop (2) alone: w_J of every task and, unless `B_J` is null, its representation too.
template <class XScalar, class BScalar>
void adapt_on_arrays(const Method& method,
                     const BScalar* B,                                              // (d, k)
                     const double* w,                                               // (k,)
                     Index d, Index k, const std::vector<Samples<XScalar>>& inner,  // (n,)
                     double* w_J,                                                   // (n, k) out
                     BScalar* B_J,  // (n, d, k) out, or null
                     int threads, Cancel* cancel);

/// Z = X B for every data set, in double, one below the other.
template <class XScalar, class BScalar>
Mat project(const BScalar* B,  // (d, k)
            Index d, Index k, const std::vector<Samples<XScalar>>& sets, int threads);

}  // namespace metaspan
