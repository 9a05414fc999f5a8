// Random numbers from Philox4x32-10 counters: uniforms, standard normals by the Box-Muller
// transform, and chi-squares by the method of Marsaglia and Tsang. The functions are serial and
// take pointers and shapes. All results have the same bits on every instruction set, since
// normal.cpp uses only operations that are correctly rounded, and is compiled without contraction
// to FMA instructions.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lanes.hpp"
#include "trials.hpp"

namespace metaspan::kernels {

/// Computes one Philox4x32-10 block (Salmon, Moraes, Dror, Shaw 2011): four words that are a
/// bijective function of the counter under the key.
void philox(const std::uint32_t key[2],      // (2,)
            const std::uint32_t counter[4],  // (4,)
            std::uint32_t out[4]);           // (4,)

/// Computes the blocks of `count` <= kTrials counters (c0[i], c1[i], c2[i], c3) under one key. a[i]
/// and b[i] are the first two words of block i.
void philox_words(const std::uint32_t key[2],  // (2,)
                  std::ptrdiff_t count,
                  const std::uint32_t* c0,                    // (count,)
                  const std::uint32_t* c1,                    // (count,)
                  const std::uint32_t* c2, std::uint32_t c3,  // (count,)
                  std::uint64_t* a,                           // (count,) out
                  std::uint64_t* b);                          // (count,) out

/// Number of counters whose blocks are computed at a time. kPairsAtOnce is large enough to hide the
/// latency of the multiplications.
constexpr int kPairsAtOnce = 4 * kLane;

/// Computes two independent normals, a[i] and b[i], from each counter (first + i, c1, c2, c3) with
/// i < count. Computing fewer than kPairsAtOnce pairs takes as long as computing kPairsAtOnce
/// pairs.
///
/// Let x0..x3 be the words of the block. 52 bits of (x0, x1) give u in (0, 1), the top two bits of
/// x2 give a quadrant q, and 52 of the remaining bits of (x2, x3) give g in (-1/2, 1/2). Then a =
/// sqrt(-2 log u) cos(pi/2 (q + g)) and b = sqrt(-2 log u) sin(pi/2 (q + g)).
void normal_pairs(const std::uint32_t key[2],  // (2,)
                  std::uint32_t first, std::uint32_t c1, std::uint32_t c2, std::uint32_t c3,
                  std::ptrdiff_t count,
                  double* a,   // (count,) out
                  double* b);  // (count,) out, must not alias a

/// Computes two uniforms in (0, 1) from each counter (first + i, c1, c2, c3) with i < count: a[i]
/// from 52 bits of the words (x0, x1) of the counter's block, and b[i] from 52 bits of the words
/// (x2, x3).
void uniform_pairs(const std::uint32_t key[2],  // (2,)
                   std::uint32_t first, std::uint32_t c1, std::uint32_t c2, std::uint32_t c3,
                   std::ptrdiff_t count,
                   double* a,   // (count,) out
                   double* b);  // (count,) out, must not alias a

/// Number of tasks whose numbers are drawn together, one task per column of a panel.
constexpr int kTasks = 8;

/// Draws normals for the tasks [first_task, first_task + tasks), for a Width of 2, 4, 8 or 16. Rows
/// 2p and 2p + 1 of task i come from the counter (i, p, set, 0), so the normals of a task do not
/// depend on the panel in which the task is drawn. Columns without a task repeat the numbers of the
/// first task.
template <int Width>
void normal_panel(const std::uint32_t key[2],  // (2,)
                  std::uint32_t first_task, std::uint32_t set,
                  std::ptrdiff_t tasks,  // 1 .. Width
                  std::ptrdiff_t rows,
                  double* out);  // (rows, Width) out

/// Draws the normals of normal_pairs() for kTrials keys side by side, with one key for each column.
/// For i < tasks and p < pairs, row 2 pairs i + 2p of a column has a, and the next row has b, of
/// the counter (i, p, 0, 0) under the key of the column.
void normals_of_trials(const std::uint64_t* k0,  // (kTrials,)  first words of the keys
                       const std::uint64_t* k1,  // (kTrials,)  second words
                       std::ptrdiff_t tasks, std::ptrdiff_t pairs,
                       double* out);  // (tasks, 2 pairs, kTrials) out

/// Transforms the normals of row i into chi-squares with dof[i] > 2/3 degrees of freedom, by the
/// method of Marsaglia and Tsang (2000), which is exact for every dof. The uniforms of rows 2p and
/// 2p + 1 of task i come from the counter (i, p, set, 1). If a candidate is rejected, which is
/// rare, further candidates are drawn. Attempt a takes its normal from the counter (i, row, set,
/// 2a) and its uniform from the counter (i, row, set, 2a + 1). Columns without a task have
/// unspecified positive numbers.
void chi_square_panel(const std::uint32_t key[2],  // (2,)
                      std::uint32_t first_task, std::uint32_t set,
                      std::ptrdiff_t tasks,      // 1 .. kTasks
                      std::ptrdiff_t first_row,  // even
                      std::ptrdiff_t rows,
                      const double* dof,  // (rows,)
                      double* x);         // (rows, kTasks) normals in, chi-squares out

/// Returns the chi-square that the method of Marsaglia and Tsang computes from a normal x with a_0
/// = dof/2 - 1/3, or a negative number if the uniform u rejects the candidate from x.
double chi_square_candidate(double a_0, double x, double u);

}  // namespace metaspan::kernels
