// The user's own data: training, adaptation and features on arrays in memory, (11).
#pragma once

#include <functional>

#include "metaspan/engines/engine.hpp"
#include "metaspan/sweeps/dual_gram.hpp"
#include "metaspan/sweeps/routes.hpp"

namespace metaspan {

/// A batch, and what is known of its tasks.
template <class XScalar>
struct ArraysData {
  TaskSet<XScalar> tasks;
  Mat B_star;  // (d, k_star), or empty
  Mat heads;   // (N, k_star), or empty
};

/// Where a trial starts, and how it takes tasks.
template <class BScalar>
struct ArraysStart {
  const BScalar* B;  // (d, k)
  Vec w;             // (k,)
  const double* A;   // (N, k) where the dual route stands, or null
  Index n;           // tasks a round, without replacement; all of them in order if n is all
  std::uint64_t seed, trial;
};

/// A training run on arrays.
template <class BScalar>
class ArraysEngine : public Engine {
 public:
  bool resolves_distance() const override { return false; }
  virtual void export_B(BScalar* out,  // (d, k)
                        int threads) const = 0;
  /// A of the dual route, (N, k) with N the samples of the batch; empty on the others.
  virtual Mat export_A() const { return {}; }
};

/// What happens before the gradient of a round: (round, heads that are given or null).
using BeforeRound = std::function<void(Index, const double*)>;

/// By sweeps over the data in every round. B is kept in its own type. `data` must outlive it;
/// `before` may change what is in it.
template <class XScalar, class BScalar>
std::unique_ptr<ArraysEngine<BScalar>> make_arrays(RouteKind route, const Method& method,
                                                   const ArraysData<XScalar>& data, Index k,
                                                   const ArraysStart<BScalar>& start,
                                                   BeforeRound before = {});

/// By (24): B_t = B_0 + X^T A_t, at O(N^2 k) a round whatever d is. `data` and `gram` must outlive
/// it.
template <class XScalar, class BScalar>
std::unique_ptr<ArraysEngine<BScalar>> make_dual(const Method& method,
                                                 const ArraysData<XScalar>& data,
                                                 const DualGram& gram, Index k,
                                                 const ArraysStart<BScalar>& start, int threads,
                                                 Cancel* cancel);

/// The inner loop (2) alone: w_J of every task and, unless `B_J` is null, its representation too.
template <class XScalar, class BScalar>
void adapt_on_arrays(const Method& method,
                     const BScalar* B,  // (d, k)
                     const double* w,   // (k,)
                     Index k, const TaskSet<XScalar>& tasks,
                     double* w_J,   // (n, k) out
                     BScalar* B_J,  // (n, d, k) out, or null
                     int threads, Cancel* cancel);

/// Z = X B for every inner data set, in double, one below the other.
template <class XScalar, class BScalar>
Mat project(const BScalar* B,  // (d, k)
            Index k, const TaskSet<XScalar>& tasks, int threads, Cancel* cancel);

}  // namespace metaspan
