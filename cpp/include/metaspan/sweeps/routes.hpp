// Two ways to a round's gradient on arrays, both by sweeps over the data: by Z = X B and the Grams,
// (5), or by one vector of length d at a time.
#pragma once

#include <memory>

#include "metaspan/algebra/method.hpp"
#include "metaspan/sweeps/sweeps.hpp"

namespace metaspan {

enum class RouteKind {
  gram,
  vector,
  vector_float32,  // the vector route with sums over float data in single precision
};

/// A route on the data of one batch. Memory is taken when it is made, and kept.
template <class XScalar, class BScalar>
class Route {
 public:
  virtual ~Route() = default;

  /// grad_B and grad_w of (10), means over the tasks taken, and what `out` is asked to tell of
  /// them. The same bits for any number of threads. Throws Cancelled.
  virtual void gradient(const BScalar* B,  // (d, k)
                        const double* w,   // (k,)
                        const TaskSelection& taken,
                        bool losses,      // with MAML they may need products that nothing else does
                        BScalar* grad_B,  // (d, k) out
                        RoundOutputs& out, int threads, Cancel* cancel) = 0;
};

/// Time of the Gram route: two sweeps over X_out and one or two over X_in; O(n d k (m_in + m_out))
/// and, for MAML, O(n d m_in (m_in + m_out)). Memory O(n (m_in + m_out) k) and, for MAML, O(n m_in
/// (m_in + m_out)). The vector route: 2 J + 2 sweeps, 2 J more for exact methods, O(n d (m_in +
/// m_out + k)) each; memory O(d k) and a block of 2 J + 1 vectors of length d a task.
/// Of sparse samples, entries count in place of d (m_in + m_out).
template <class XScalar, class BScalar>
std::unique_ptr<Route<XScalar, BScalar>> make_route(RouteKind kind, const Method& method,
                                                    const TaskSet<XScalar>& tasks, Index k);

/// Heads after the inner loop by the vector route, of a method that does not move B: 2 J passes
/// over the data and J products with B^T a task. Tasks need no outer sets.
template <class XScalar, class BScalar>
void adapt_by_vectors(const Method& method,
                      const BScalar* B,  // (d, k)
                      const double* w,   // (k,)
                      Index k, const TaskSet<XScalar>& tasks,
                      double* w_J,  // (n, k) out
                      int threads, Cancel* cancel);

}  // namespace metaspan
