// Code that the routes on arrays share besides the sweeps: means over the tasks of a round, and the
// memory of a thread.
#pragma once

#include <utility>

#include "metaspan/algebra/dense_design.hpp"
#include "metaspan/algebra/task_algebra.hpp"
#include "metaspan/data/round_outputs.hpp"
#include "metaspan/data/samples.hpp"

namespace metaspan {

/// Returns the weights of the tasks of a round, (n,), or nothing if all of them are 1.
template <class XScalar>
Vec weights_of(const TaskSet<XScalar>& tasks, const TaskSelection& taken) {
  Vec out(tasks.weights.empty() ? 0 : taken.n);
  for (Index i = 0; i < out.size(); ++i) out[i] = tasks.weight(taken[i]);
  return out;
}

/// Collects the outputs of the tasks of a round. The outputs of every task have their own row, and
/// a mean adds these rows in the order of the tasks. The bits of a mean therefore do not depend on
/// which thread processed which task.
class RoundMeans {
 public:
  RoundMeans(RoundOutputs& out, Index n, Index k, Index parameters, bool losses,
             Vec weights)  // (n,) or empty, see RoundOutputs
      : out_(out), omegas_(n, parameters) {
    out.weights = std::move(weights);
    if (losses) out.losses.resize(3, n);
    out.adapted.resize(n, k);
  }

  /// Copies the outputs of tasks [first, first + tasks) from the algebra that has processed these
  /// tasks.
  template <class Design>
  void take(const TaskAlgebra<Design>& algebra, Index first, Index tasks, bool losses) {
    using Loss = typename TaskAlgebra<Design>::Loss;
    const Index k = out_.adapted.cols(), parameters = omegas_.cols();
    omegas_.middleRows(first, tasks) =
        ConstMat(algebra.grad_w(), parameters, Design::width).leftCols(tasks).transpose();
    out_.adapted.middleRows(first, tasks) =
        ConstMat(algebra.adapted(), k, Design::width).leftCols(tasks).transpose();
    for (int which = 0; losses && which < 3; ++which) {
      for (Index t = 0; t < tasks; ++t) {
        out_.losses(which, first + t) = algebra.loss(static_cast<Loss>(which))[t];
      }
    }
  }

  /// Copies the same outputs from rows, one for each task.
  void take_rows(Index first, Index tasks,
                 const double* omega,     // (tasks, parameters)
                 const double* adapted,   // (tasks, k)
                 const double* losses) {  // (3, tasks), or null
    omegas_.middleRows(first, tasks) = ConstMat(omega, tasks, omegas_.cols());
    out_.adapted.middleRows(first, tasks) = ConstMat(adapted, tasks, out_.adapted.cols());
    if (losses != nullptr) out_.losses.middleCols(first, tasks) = ConstMat(losses, 3, tasks);
  }

  /// Computes grad_w, the mean (47) of the omega of all tasks.
  void finish() {
    if (out_.weights.size() > 0) omegas_ = out_.weights.asDiagonal() * omegas_;
    out_.w = omegas_.colwise().sum() / static_cast<double>(omegas_.rows());
  }

 private:
  RoundOutputs& out_;
  Mat omegas_;
};

/// A thread's memory for tasks that DenseDesign processes one at a time.
struct DenseWorkspace {
  DenseWorkspace(const Method& method, Index k, Index most_in, Index most_out)
      : algebra(method, k, most_in, most_out), scratch(method, k, most_in, most_out) {}
  TaskAlgebra<DenseDesign> algebra;
  DenseDesign::Scratch scratch;
};

}  // namespace metaspan
