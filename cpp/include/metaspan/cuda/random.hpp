// Random numbers in device memory, with the bits of the CPU: what a round on generated samples
// needs beside the rows of X, which the sweeps generate, (12).
#pragma once

#include <cstddef>
#include <cstdint>

#include "metaspan/cuda/sweeps.hpp"
#include "metaspan/random/feature_law.hpp"
#include "metaspan/random/key.hpp"

namespace metaspan::cuda {

/// The radii of the generated rows of a block, (19), to which RowLaw::radii of the sweeps refers.
struct RowRadii {
  SampleBlock block;  // laws have the keys of the features; their radii are not read
  std::ptrdiff_t d;
  double dof;    // degrees of freedom of student_t
  Key radii[2];  // keys of the radii of the sets of each law
  double* out;   // (stacked rows,)
};

/// The responses of the generated rows of a block, (12): y = X B_star w_star + z, or y = X theta +
/// z if theta has a part off the span of B_star, (33).
struct Responses {
  SampleBlock block;       // its type is that to which the noise is rounded
  Layout layout;           // of `products` and y; in panels, y is divided by sqrt(m)
  int k;                   // columns of `products`
  const double* products;  // X B_star, in panels (most k) elements of a task, or (rows, k); or,
                           // with k = 1, X theta
  const double* heads;     // (n, k) w_star at the position of the task; null: y = products + z
  double noise;            // standard deviation
  Key keys[2];             // of the noise of the sets of each law
  double* y;               // panels: (most) elements of a task; rows: (stacked rows,)
};

/// The true parameters theta_i = B_star w_star + xi_i of (33), for the tasks of a block.
struct Parameters {
  SampleBlock block;
  std::ptrdiff_t d;
  int k_star;
  const double* B_star;  // (d, k_star)
  const double* heads;   // (n, k_star) at the position of the task
  double xi_std;         // standard deviation of the entries of xi
  Key xi;
  double* theta;  // (n, d) out, at the position of the task
};

/// Random numbers of the device module. All pointers are to device memory, and all functions only
/// queue work on the stream. Results depend on the arguments alone, not on the device or the grid.
class Random {
 public:
  virtual ~Random() = default;

  /// Bytes of the workspace of write_radii(), which is in use until the work is done.
  virtual std::size_t workspace(const RowRadii& radii) const = 0;
  virtual void write_radii(const RowRadii& radii, void* workspace, Stream stream) = 0;
  virtual void write_responses(const Responses& responses, Stream stream) = 0;
  virtual void write_parameters(const Parameters& parameters, Stream stream) = 0;
  /// Adds `scale` times standard normals to the numbers [first, first + count) of a matrix, `first`
  /// even, as metaspan::add_normals() does; out[0] is number `first`.
  virtual void add_normals(Key key, double scale, std::ptrdiff_t first, std::ptrdiff_t count,
                           Real type, void* out, Stream stream) = 0;
};

}  // namespace metaspan::cuda
