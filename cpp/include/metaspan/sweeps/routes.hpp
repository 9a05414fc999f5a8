// The two routes of (11), which compute the gradient of a round from samples with all d features.
// The Gram route forms Z and the Gram matrices of (5). The vector route sweeps over the data with
// one vector of length d at a time. The vector route forms Z for inner sets only, and only if
// forming Z takes less time than the sweeps that Z replaces.
#pragma once

#include <memory>

#include "metaspan/algebra/method.hpp"
#include "metaspan/data/round_outputs.hpp"
#include "metaspan/sweeps/sweeps.hpp"

namespace metaspan {

/// The routes that make_route() offers.
enum class RouteKind {
  gram,
  vector,
  vector_float32,  // the vector route, with sums over float32 data in single precision
};

/// A route on the data of one batch. The route reuses its memory in every round.
template <class XScalar, class BScalar>
class Route {
 public:
  virtual ~Route() = default;

  /// Computes grad_B and grad_w of (10) as means over the tasks of the round. Also computes the
  /// adapted head of each task and, if `losses` is true, the losses of each task. The bits do not
  /// depend on the number of threads. Throws Cancelled.
  virtual void gradient(const BScalar* B,  // (d, k)
                        const double* w,   // (parameters,)
                        const TaskSelection& taken,
                        bool losses,      // for MAML the losses may need an extra Gram matrix
                        BScalar* grad_B,  // (d, k) out, or null: no grad_B and no grad_w
                        RoundOutputs& out, int threads, Cancel* cancel) = 0;
};

/// Makes a route on `tasks`. The tasks must outlive the route.
///
/// The Gram route makes two sweeps over X_out and one or two sweeps over X_in. The time of the Gram
/// route is O(n d k (m_in + m_out)); MAML adds O(n d m_in (m_in + m_out)). The memory of the Gram
/// route is O(n (m_in + m_out) k); MAML adds O(n m_in (m_in + m_out)). The vector route makes 2 J +
/// 2 sweeps, or 4 J + 2 for exact methods, each of which takes O(n d (m_in + m_out + k)). If the
/// vector route forms Z of the inner sets, all sweeps over the inner sets together take O(n d m_in
/// k); exact methods add O(n d m_in J). The memory of the vector route is O(d k) plus up to 2 J + 1
/// vectors of length d for each task of a block. For sparse samples, the number of entries replaces
/// d (m_in + m_out) in these costs.
template <class XScalar, class BScalar>
std::unique_ptr<Route<XScalar, BScalar>> make_route(RouteKind kind, const Method& method,
                                                    const TaskSet<XScalar>& tasks, Index k);

/// Computes the heads after the inner loop by the vector route, for a method that does not adapt B.
/// For each task, the route makes 2 J sweeps over the inner set and J products with B^T. If forming
/// Z of the inner set takes less time than these sweeps, the route forms Z instead. Outer sets are
/// not needed.
template <class XScalar, class BScalar>
void adapt_by_vectors(const Method& method,
                      const BScalar* B,  // (d, k)
                      const double* w,   // (parameters,)
                      Index k, const TaskSet<XScalar>& tasks,
                      double* w_J,  // (n, k) out
                      int threads, Cancel* cancel);

}  // namespace metaspan
