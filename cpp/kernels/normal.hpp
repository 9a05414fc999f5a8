// Standard normals and chi-squares from Philox4x32-10 counters: by the Box-Muller transform, and by
// the method of Marsaglia and Tsang. Serial; pointers and shapes alone.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lanes.hpp"

namespace metaspan::kernels {

/// One Philox4x32-10 block (Salmon, Moraes, Dror, Shaw 2011): out = bijection(counter) under the
/// key.
void philox(const std::uint32_t key[2],      // (2,)
            const std::uint32_t counter[4],  // (4,)
            std::uint32_t out[4]);           // (4,)

/// Blocks in flight: enough to hide the latency of the multiplications. Fewer take as long.
constexpr int kPairsAtOnce = 4 * kLane;

/// Normals of the counters (first + i, c1, c2, c3), i < count: two independent ones each, in `a`
/// and `b`.
///
/// With the block's words x0..x3, 52 bits of (x0, x1) give u in (0, 1), the top two bits of x2 a
/// quadrant q and 52 bits of the rest g in (-1/2, 1/2); then  a = sqrt(-2 log u) cos(pi/2 (q + g)),
/// b the same with sin. The same bits on every instruction set: only correctly rounded operations,
/// never contracted.
void normal_pairs(const std::uint32_t key[2],  // (2,)
                  std::uint32_t first, std::uint32_t c1, std::uint32_t c2, std::uint32_t c3,
                  std::ptrdiff_t count,
                  double* a,   // (count,) out
                  double* b);  // (count,) out, must not alias a

/// Uniforms of the same counters, in (0, 1), two of 52 bits each: from the words (x0, x1) and (x2,
/// x3).
void uniform_pairs(const std::uint32_t key[2],  // (2,)
                   std::uint32_t first, std::uint32_t c1, std::uint32_t c2, std::uint32_t c3,
                   std::ptrdiff_t count,
                   double* a,   // (count,) out
                   double* b);  // (count,) out, must not alias a

/// Tasks that are drawn side by side, one a column.
constexpr int kTasks = 8;

/// Normals of a panel of tasks: rows 2p and 2p + 1 of task i come from the counter (i, p, set, 0),
/// whatever the panel that it is in.
void normal_panel(const std::uint32_t key[2],  // (2,)
                  std::uint32_t first_task, std::uint32_t set, std::ptrdiff_t rows,
                  double* out);  // (rows, kTasks) out

/// Normals into chi-squares with dof[i] > 2/3 degrees of freedom, exact for any number of them
/// (Marsaglia and Tsang 2000). The uniforms of rows 2p and 2p + 1 come from the counter (i, p, set,
/// 1); the few that are rejected are drawn again, in attempt a from (i, row, set, 2a) and (.., 2a +
/// 1).
void chi_square_panel(const std::uint32_t key[2],  // (2,)
                      std::uint32_t first_task, std::uint32_t set,
                      std::ptrdiff_t first_row,  // even
                      std::ptrdiff_t rows,
                      const double* dof,  // (rows,)
                      double* x);         // (rows, kTasks) normals in, chi-squares out

/// A candidate from a normal x, for the shape a_0 = dof/2 - 1/3: the chi-square, or a negative
/// number where the uniform u rejects it.
double chi_square_candidate(double a_0, double x, double u);

}  // namespace metaspan::kernels
