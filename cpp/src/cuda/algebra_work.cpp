// The work of the task algebra on a device, counted by running the algebra on a design that has no
// numbers.
#include <algorithm>
#include <vector>

#include "metaspan/algebra/attention_impl.hpp"
#include "metaspan/algebra/contributions_impl.hpp"
#include "metaspan/algebra/task_algebra_impl.hpp"
#include "metaspan/cuda/algebra.hpp"

namespace metaspan::cuda {
namespace {

constexpr Index kTile = 2;  // rows and columns of Z^T Z that the device sums together

/// A Design, see design.hpp, that only counts how often the device reads each panel of a task. Like
/// the design of the device it keeps the products of a slot with Gram matrices.
class CountingDesign {
 public:
  using Columns = PanelColumns<1>;
  static constexpr int width = Columns::width;

  CountingDesign(const Method& method, Index k)
      : k_(static_cast<double>(k)),
        steps_(method.inner_steps),
        known_(2 * static_cast<std::size_t>(method.slots())) {}

  Index tasks() const { return 1; }
  Index m_in() const { return 1; }
  Index m_out() const { return 1; }
  Index tracked() const { return 0; }

  void residual_in(const double* V, Terms<Columns> terms, int slot, double* r) {
    product_in(V, terms, slot, r);
    ++y_in;
  }
  void residual_out(const double*, Terms<Columns> terms, int slot, double* r) {
    Z_out += k_;
    ++y_out;
    for (int t = 0; t < terms.count; ++t) outer_product(terms.slot(t));
    added_out += terms.count;
    forget(slot, r);
  }
  void product_in(const double*, Terms<Columns> terms, int slot, double* r) {
    Z_in += k_;
    for (int t = 0; t < terms.count; ++t) inner_product(terms.slot(t));
    added_in += terms.count;
    forget(slot, r);
  }
  void normal_equations(double* G, double* b) {
    const auto k = static_cast<Index>(k_);
    for (Index i = 0; i < k; i += kTile) {
      for (Index j = 0; j <= i; j += kTile) {
        normal += static_cast<double>(std::min(kTile, k - i) + std::min(kTile, k - j));
      }
      ++y_in;
    }
    *G = 1;
    *b = 0;
  }
  void features(int slot, double* out) {
    (is_outer_slot(slot, steps_) ? Z_out : Z_in) += k_;
    *out = 0;
  }
  void dot(int a, int b, double* dots) {
    const bool outer = is_outer_slot(b, steps_);
    outer ? outer_product(a) : inner_product(a);
    (outer ? added_out : added_in) += 1;
    *dots = 0;
  }
  void add(int, const double*) {}

  // Numbers that the device reads for each sample; for Gram matrices, reads of the whole matrix.
  double Z_in = 0, Z_out = 0, y_in = 0, y_out = 0, normal = 0;
  double K = 0, K_cross = 0, K_outer = 0;
  double added_in = 0, added_out = 0;  // scaled vectors that are added, and inner products

 private:
  void forget(int slot, double* r) {
    *r = 0;
    if (slot == kNoSlot) return;
    known_[2 * static_cast<std::size_t>(slot)] = known_[2 * static_cast<std::size_t>(slot) + 1] = 0;
  }
  void inner_product(int slot) { count(slot, 0, is_outer_slot(slot, steps_) ? K_cross : K); }
  void outer_product(int slot) { count(slot, 1, is_outer_slot(slot, steps_) ? K_outer : K_cross); }
  void count(int slot, std::size_t which, double& reads) {
    char& known = known_[2 * static_cast<std::size_t>(slot) + which];
    if (known == 0) reads += 1;
    known = 1;
  }

  double k_;
  int steps_;
  std::vector<char> known_;
};

}  // namespace

/// Runs the algebra once for a task with one sample and one column, which requests the same
/// products as any other task, and multiplies what each product reads by the true sizes.
DeviceWork algebra_work(const Method& method, std::ptrdiff_t n, std::ptrdiff_t m_in,
                        std::ptrdiff_t m_out, std::ptrdiff_t k, bool losses) {
  CountingDesign design(method, k);
  TaskAlgebra<CountingDesign> algebra(method, 1, 1, 1);
  algebra.gradient(design, losses);
  const double tasks = static_cast<double>(n), in = static_cast<double>(m_in);
  const double out = static_cast<double>(m_out), columns = static_cast<double>(k);
  const double grams = design.K * in * in + design.K_cross * in * out + design.K_outer * out * out;
  const double reads = in * (design.Z_in + design.normal + design.y_in) +
                       out * (design.Z_out + design.y_out) + grams;
  const double inner = method.has_inner_part() ? in : 0, outer = method.has_outer_part() ? out : 0;
  const double results = (inner + outer) * columns + columns +
                         static_cast<double>(method.parameters(k)) + (losses ? 3 : 0);
  const double products = in * (design.Z_in + design.added_in) +
                          in * columns * columns / 2 * (method.solves_head ? 1 : 0) +
                          out * (design.Z_out + design.added_out) + grams;
  const double factors = columns * (in * method.inner_terms() + out * method.outer_terms());
  constexpr double kBytes = sizeof(double);
  return {kBytes * tasks * reads, 0, 0, kBytes * tasks * results, 2 * tasks * (products + factors)};
}

}  // namespace metaspan::cuda
