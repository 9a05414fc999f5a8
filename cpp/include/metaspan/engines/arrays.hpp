// Engines on data with all d features, (11), by the routes of sweeps/ or by the dual form (24).
// Also functions that adapt heads and compute features Z on such data.
#pragma once

#include <functional>

#include "metaspan/engines/engine.hpp"
#include "metaspan/sweeps/dual_gram.hpp"
#include "metaspan/sweeps/routes.hpp"

namespace metaspan {

/// A batch and, where it is known, its ground truth.
template <class XScalar>
struct ArraysData {
  TaskSet<XScalar> tasks;
  Mat B_star;  // (d, k_star), or empty
  Mat heads;   // (N, k_star), or empty
};

/// The start of a trial, and the number of tasks that it chooses in a round.
template <class BScalar>
struct ArraysStart {
  const BScalar* B;  // (d, k)
  Vec w;             // (parameters,)
  const double* A;   // (N, k)  if a dual run is resumed; otherwise null
  Index n;           // tasks a round; see RoundChoice
  std::uint64_t seed, trial;
  // The c - 1 blocks beside B of (28), and those beside w and A.
  const BScalar* memory = nullptr;   // (c - 1, d, k); not used by the dual route
  Vec w_memory{};                    // ((c - 1) k,)
  const double* A_memory = nullptr;  // (c - 1, N, k)
};

/// An engine that holds B at full size.
template <class BScalar>
class ArraysEngine : public Engine {
 public:
  bool resolves_distance() const override { return false; }
  /// Writes B; on the dual route the block that is the result, (28).
  virtual void export_B(BScalar* out,  // (d, k)
                        int threads) const = 0;
  /// Returns A of (24), (N, k) for the N samples of the batch; empty on every other route.
  virtual Mat export_A() const { return {}; }
  /// Returns w and the blocks beside it, (c k,).
  virtual Vec export_heads() const = 0;
  /// Writes the blocks beside B that the outer step remembers, (c - 1, d, k).
  virtual void export_memory(BScalar* /*out*/) const {}
  /// Returns the blocks beside A on the dual route, ((c - 1) N, k).
  virtual Mat export_A_memory() const { return {}; }
};

/// A function that is called before the gradient of a round. Its arguments are the round and the
/// heads that the caller passes, or null without heads.
using BeforeRound = std::function<void(Index, const double*)>;

/// Makes an engine that sweeps over the data in every round. B is kept as BScalar. `data` must
/// outlive the engine; `before` may change its contents.
template <class XScalar, class BScalar>
std::unique_ptr<ArraysEngine<BScalar>> make_arrays(RouteKind route, const Method& method,
                                                   const ArraysData<XScalar>& data, Index k,
                                                   const ArraysStart<BScalar>& start,
                                                   BeforeRound before = {});

/// Makes an engine of the dual form (24), B_t = B_0 + X_all^T A_t. A round takes O(N^2 k) for any
/// d. `data` and `gram` must outlive the engine.
template <class XScalar, class BScalar>
std::unique_ptr<ArraysEngine<BScalar>> make_dual(const Method& method,
                                                 const ArraysData<XScalar>& data,
                                                 const DualGram& gram, Index k,
                                                 const ArraysStart<BScalar>& start, int threads,
                                                 Cancel* cancel);

/// Runs the inner loop (2) alone. Writes w_J of every task and, unless `B_J` is null, its B_J.
template <class XScalar, class BScalar>
void adapt_on_arrays(const Method& method,
                     const BScalar* B,  // (d, k)
                     const double* w,   // (parameters,)
                     Index k, const TaskSet<XScalar>& tasks,
                     double* w_J,   // (n, k) out
                     BScalar* B_J,  // (n, d, k) out, or null
                     int threads, Cancel* cancel);

/// Returns Z = X B of every inner set, in double, stacked in the order of the tasks.
template <class XScalar, class BScalar>
Mat project(const BScalar* B,  // (d, k)
            Index k, const TaskSet<XScalar>& tasks, int threads, Cancel* cancel);

}  // namespace metaspan
