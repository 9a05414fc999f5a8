// Tests that the algebra gives the same results on panels as on single tasks: SharedDesign, with
// panels of both widths, is compared with DenseDesign on the equivalent data sets of (13). The file
// also tests the choice of the tasks of a round.
#include <cmath>

#include "check.hpp"
#include "metaspan/algebra/dense_design.hpp"
#include "metaspan/algebra/shared_design.hpp"
#include "metaspan/algebra/task_algebra.hpp"
#include "metaspan/random/random.hpp"

namespace metaspan {
namespace {

using test::check;

/// The results of the algebra for a few tasks.
struct Gradient {
  Mat G;       // (D, k), summed over the tasks
  Mat grad_w;  // (k, tasks)
  Vec losses;  // (tasks,) outer
};

/// Computes all tasks in one panel, by SharedDesign.
template <int kWidth>
Gradient by_panels(const Method& method, const Mat& Z, const Mat& heads, const Vec& w) {
  const Index k = Z.cols(), k_star = heads.rows(), tasks = heads.cols();
  const Index padded = round_up(k, kernels::kLane);
  Mat panel = Mat::Zero(k_star, kWidth), G = Mat::Zero(Z.rows(), padded), scratch(kWidth, padded);
  panel.leftCols(tasks) = heads;
  std::vector<const double*> slots(static_cast<std::size_t>(method.slots()));
  SharedDesign<kWidth> design(Z, panel.data(), k_star, tasks, false, {},
                              {G.data(), padded, scratch.data(), slots.data()});
  TaskAlgebra<SharedDesign<kWidth>> algebra(method, k, Z.rows(), Z.rows());
  algebra.gradient(design, w.data(), true);
  return {G.leftCols(k), ConstMat(algebra.grad_w(), k, kWidth).leftCols(tasks),
          ConstVec(algebra.loss(algebra.outer), tasks)};
}

/// Computes each task alone, by DenseDesign with X = X' = sqrt(D) I. In normalised units Z = Z' =
/// [M; R] and K = K' = I.
Gradient one_by_one(const Method& method, const Mat& Z, const Mat& heads, const Vec& w) {
  const Index D = Z.rows(), k = Z.cols(), tasks = heads.cols();
  const Mat identity = Mat::Identity(D, D);
  Mat Z_padded = Mat::Zero(D, padded(k));
  Z_padded.leftCols(k) = Z;
  Gradient all{Mat::Zero(D, k), Mat(k, tasks), Vec(tasks)};
  for (Index t = 0; t < tasks; ++t) {
    Vec y = Vec::Zero(D);
    y.head(heads.rows()) = heads.col(t);
    Factors C_in, C_out;
    C_in.reset(D, k, k);  // whole
    C_out.reset(D, k, k);
    DenseDesign::Scratch scratch(method, k, D, D);
    DenseDesign design(k, method.inner_steps,
                       {D, D, Z_padded.data(), y.data(), Z_padded.data(), y.data(), identity.data(),
                        D, identity.data(), D, &C_in, &C_out},
                       scratch);
    TaskAlgebra<DenseDesign> algebra(method, k, D, D);
    algebra.gradient(design, w.data(), true);
    for (const Factors* C : {&C_in, &C_out}) {
      all.G += ConstMat(C->matrix(), D, padded(k)).leftCols(k);
    }
    all.grad_w.col(t) = ConstVec(algebra.grad_w(), k);
    all.losses[t] = *algebra.loss(algebra.outer);
  }
  return all;
}

bool close(const Mat& a, const Mat& b) { return (a - b).norm() <= 1e-13 * (1 + b.norm()); }

void test_panels_are_tasks_side_by_side() {
  for (const int steps : {0, 1, 2, 4}) {
    for (const int kind : {0, 1, 2, 3}) {
      const Method method{0.2, 0.1, steps, kind % 2 == 1, kind / 2 == 1};
      for (const Index k : {1, 3, 7}) {
        const Mat Z = Mat::Random(3 + k, k), heads = Mat::Random(3, 2);
        const Vec w = Vec::Random(k);
        const Gradient expected = one_by_one(method, Z, heads, w);
        const Gradient narrow = by_panels<kNarrow>(method, Z, heads, w);
        const Gradient wide = by_panels<kWide>(method, Z, heads, w);
        for (const Gradient& panel : {narrow, wide}) {
          check(close(panel.G, expected.G), "the gradient of a panel is the sum over its tasks");
          check(close(panel.grad_w, expected.grad_w), "a panel has the grad_w of each task");
          check(close(panel.losses, expected.losses), "a panel has the loss of each task");
        }
      }
    }
  }
}

void test_choice_is_without_replacement_and_leaves_no_trace() {
  std::vector<Index> order(10), swaps(10), taken(10), seen(10);
  for (Index i = 0; i < 10; ++i) order[static_cast<std::size_t>(i)] = i;
  for (std::uint64_t round = 0; round < 1000; ++round) {
    choose(derive_key(3, 0, round, Stream::pool), 10, 4, order.data(), swaps.data(), taken.data());
    for (std::size_t i = 0; i < 4; ++i) {
      ++seen[static_cast<std::size_t>(taken[i])];
      for (std::size_t j = 0; j < i; ++j) check(taken[i] != taken[j], "no index is taken twice");
    }
  }
  for (Index i = 0; i < 10; ++i) {
    const auto at = static_cast<std::size_t>(i);
    check(order[at] == i, "the order is restored");
    // The expected count of each index is 400, with a standard deviation of 15.5. With a tolerance
    // of five standard deviations, the check fails by chance with a probability of about 1e-5 over
    // all indices.
    check(std::abs(static_cast<double>(seen[at]) - 400) < 78, "every index is equally likely");
  }
}

}  // namespace
}  // namespace metaspan

int main() {
  metaspan::test_panels_are_tasks_side_by_side();
  metaspan::test_choice_is_without_replacement_and_leaves_no_trace();
  return metaspan::test::failures;
}
