// The task algebra on a device, for the Gram route on arrays. It runs between the two sweeps over
// the samples, with a team of threads for each task.
#pragma once

#include <cstddef>

#include "metaspan/algebra/method.hpp"
#include "metaspan/cuda/sweeps.hpp"

namespace metaspan::cuda {

/// The products of the first sweep for a block of tasks, (5), with Layout::panels and in the units
/// of the algebra: element e of task t is at (t / 32 * elements + e) * 32 + t % 32. All pointers
/// are to device memory. A matrix that the method does not need may be null, see grams_needed().
struct TaskPanels {
  SampleBlock in, out;    // sets, n, most and rows; set t is the set of task t
  int k;                  // columns of B
  const double* Z_in;     // (most_in k)
  const double* Z_out;    // (most_out k)
  const double* y_in;     // (most_in)   y / sqrt(m_in)
  const double* y_out;    // (most_out)  y' / sqrt(m_out)
  const double* K;        // (most_in most_in)
  const double* K_cross;  // (most_out most_in)
  const double* K_outer;  // (most_out most_out)
};

/// What the algebra computes for a block of n tasks, in device memory. C and C' are the factors of
/// the second sweep, (10): row-major below one another as SampleSet::first_row says, and multiplied
/// by the share of the task in the mean, (47), and by 1 / sqrt(m), since the second sweep does not
/// scale X.
struct TaskResults {
  const double* shares;  // (n,) in: q_i / n of the round; null: 1
  double* C_in;          // (rows of the inner sets, k)  if the method has an inner part
  double* C_out;         // (rows of the outer sets, k)  if the method has an outer part
  double* grad_w;        // (n, parameters)  omega of each task, not multiplied by its share
  double* adapted;       // (n, k)  w_J
  double* losses;        // (3, n) inner before, inner after, outer; null if they are not wanted
};

/// The algebra on panels of tasks. Both functions queue work on the stream. The results of a task
/// depend on its own numbers alone, not on the other tasks, the device or the grid. The caller
/// provides a workspace of workspace() bytes, which is in use until the work is done.
class Algebra {
 public:
  virtual ~Algebra() = default;

  virtual std::size_t workspace(const TaskPanels& tasks, const Method& method) const = 0;

  /// Computes what each task contributes to the outer step, as GramRoute does on the CPU.
  virtual void gradient(const TaskPanels& tasks, const Method& method,
                        const double* w,  // (parameters,) device
                        const TaskResults& results, void* workspace, Stream stream) = 0;

  /// Runs the inner loop alone: results.adapted and, if it is not null, results.C_in with B_J = B +
  /// X^T C. The other results and the outer sets are not used; shares are 1.
  virtual void adapt(const TaskPanels& tasks, const Method& method, const double* w,
                     const TaskResults& results, void* workspace, Stream stream) = 0;
};

/// Counts the work of Algebra::gradient() for n tasks with m_in and m_out samples. The bytes are
/// those of the panels and of the results; the workspace is not counted, since the caches of a
/// multiprocessor hold most of it.
DeviceWork algebra_work(const Method& method, std::ptrdiff_t n, std::ptrdiff_t m_in,
                        std::ptrdiff_t m_out, std::ptrdiff_t k, bool losses);

}  // namespace metaspan::cuda
