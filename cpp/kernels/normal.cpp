// This file is compiled with -ffp-contract=off, so that every instruction set gives the same bits.
// Philox blocks are processed in stages over arrays of 64-bit words x[w][i], whose low 32 bits are
// word w of block i. Every stage is thus a loop over SIMD registers.
#include "normal.hpp"

#include <cmath>
#include <cstring>

#include "lanes.hpp"
#include "normal_math.hpp"

namespace metaspan::kernels {
namespace {

constexpr int kMany = kPairsAtOnce;

/// One key for all blocks; word() returns the words of the key for each round of Philox.
struct OneKey {
  const std::uint32_t* key;  // (2,)
  /// Returns word `w` of the key in a round, for the blocks i, i + 1, ... of a register. Sums wrap
  /// at 32 bits.
  std::uint64_t word(int w, std::uint32_t weyl, int /*i*/) const { return key[w] + weyl; }
};

/// A separate key for every block. The sum in word() may carry into the high 32 bits, which
/// philox_blocks() ignores.
struct ManyKeys {
  const std::uint64_t* keys[2];  // (blocks,) each
  LaneBits word(int w, std::uint32_t weyl, int i) const {
    return load(keys[w] + i) + std::uint64_t{weyl};
  }
};

/// Computes `Count` Philox blocks in place. On entry, x has the counters. The rounds leave garbage
/// in the high 32 bits of the words. The garbage never reaches the low 32 bits, since
/// multiplications read only the low 32 bits and only products are shifted right. The last
/// statement clears the high bits.
template <int Count, class Keys>
inline void philox_blocks(const Keys& keys, std::uint64_t x[4][Count]) {
  static_assert(Count % kLane == 0, "blocks come in whole registers");
  // Registers of blocks that are processed at a time, to hide the latency of the multiplications:
  // four with the 32 registers of AVX-512, otherwise two.
  constexpr int kMost = kLaneBytes == 64 ? 4 : 2;
  constexpr int kSide = Count % (kMost * kLane) == 0 ? kMost : 1;
  for (int i = 0; i < Count; i += kSide * kLane) {
    LaneBits y[4][kSide];
    for (int w = 0; w < 4; ++w) {
      for (int s = 0; s < kSide; ++s) y[w][s] = load(x[w] + i + s * kLane);
    }
    std::uint32_t weyl0 = 0, weyl1 = 0;
    for (int round = 0; round < kPhiloxRounds; ++round) {
      for (int s = 0; s < kSide; ++s) {
        const LaneBits p0 = multiply_low_words(y[0][s], LaneBits{} + kMul0);
        const LaneBits p1 = multiply_low_words(y[2][s], LaneBits{} + kMul1);
        y[0][s] = (p1 >> 32) ^ y[1][s] ^ keys.word(0, weyl0, i + s * kLane);
        y[2][s] = (p0 >> 32) ^ y[3][s] ^ keys.word(1, weyl1, i + s * kLane);
        y[1][s] = p1;
        y[3][s] = p0;
      }
      weyl0 += kWeyl0;
      weyl1 += kWeyl1;
    }
    for (int w = 0; w < 4; ++w) {
      for (int s = 0; s < kSide; ++s) store(x[w] + i + s * kLane, y[w][s] & 0xFFFFFFFF);
    }
  }
}

/// Transforms `Count` blocks of random words into normals a and b, by the Box-Muller transform.
/// Each stage of the transform runs over all blocks before the next stage, so that the processor
/// overlaps the long chains of dependent operations of different blocks.
template <int Count>
inline void transform_blocks(const std::uint64_t x[4][Count], double* a, double* b) {
  double radius[Count], sine[Count], cosine[Count];
  for (int i = 0; i < Count; ++i) {
    radius[i] = -2.0 * log_positive(uniform_of(x[0][i], x[1][i]));
  }
  for (int i = 0; i < Count; ++i) radius[i] = std::sqrt(radius[i]);
  for (int i = 0; i < Count; ++i) {
    const double g = angle_of(x[2][i], x[3][i]);
    sine[i] = sin_quarter(g);
    cosine[i] = cos_quarter(g);
  }
  for (int i = 0; i < Count; ++i) {
    rotate(x[2][i] >> 30, radius[i] * cosine[i], radius[i] * sine[i], a[i], b[i]);
  }
}

/// Computes two uniforms in (0, 1) from each of `Count` blocks of random words.
template <int Count>
inline void uniform_blocks(const std::uint64_t x[4][Count], double* u, double* v) {
  for (int i = 0; i < Count; ++i) {
    u[i] = uniform_of(x[0][i], x[1][i]);
    v[i] = uniform_of(x[2][i], x[3][i]);
  }
}

/// Replaces each normal in a row of tasks by the result of chi_square_candidate(). The loop is in a
/// separate function so that the compiler vectorises it.
inline void candidates(double a_0, double c, const double* __restrict u, double* __restrict x) {
  for (int t = 0; t < kTasks; ++t) x[t] = chi_square_candidate(a_0, c, x[t], u[t]);
}

/// The kind of the two numbers into which a block is transformed: normals or uniforms.
enum class Pair { normal, uniform };

/// Transforms `Count` blocks of random words into pairs of numbers of the given kind.
template <Pair Kind, int Count>
inline void transform(const std::uint64_t x[4][Count], double* a, double* b) {
  if constexpr (Kind == Pair::normal) {
    transform_blocks<Count>(x, a, b);
  } else {
    uniform_blocks<Count>(x, a, b);
  }
}

/// Computes the pairs of min(count, Count) counters, starting at `first`. The function always
/// transforms `Count` blocks, so that its loops have a fixed length and fill whole registers, and
/// drops the pairs beyond `count`.
template <Pair Kind, int Count>
inline void some_pairs(const std::uint32_t key[2], std::uint32_t first, const std::uint32_t rest[3],
                       std::ptrdiff_t count, double* a, double* b) {
  std::uint64_t x[4][Count];
  for (int i = 0; i < Count; ++i) {
    x[0][i] = first + static_cast<std::uint32_t>(i);
    for (int w = 1; w < 4; ++w) x[w][i] = rest[w - 1];
  }
  philox_blocks<Count>(OneKey{key}, x);
  if (count >= Count) return transform<Kind, Count>(x, a, b);
  double all_a[Count], all_b[Count];
  transform<Kind, Count>(x, all_a, all_b);
  std::memcpy(a, all_a, static_cast<std::size_t>(count) * sizeof(double));
  std::memcpy(b, all_b, static_cast<std::size_t>(count) * sizeof(double));
}

/// Computes `count` pairs, kMany at a time. If at most kLane pairs are left at the end, kLane pairs
/// are computed instead of kMany.
template <Pair Kind>
inline void pairs(const std::uint32_t key[2], std::uint32_t first, const std::uint32_t rest[3],
                  std::ptrdiff_t count, double* a, double* b) {
  for (std::ptrdiff_t done = 0; done < count;) {
    const std::ptrdiff_t left = count - done;
    const std::uint32_t next = first + static_cast<std::uint32_t>(done);
    if (left > kLane) {
      some_pairs<Kind, kMany>(key, next, rest, left, a + done, b + done);
      done += kMany;
    } else {
      some_pairs<Kind, kLane>(key, next, rest, left, a + done, b + done);
      done += kLane;
    }
  }
}

}  // namespace

void philox(const std::uint32_t key[2], const std::uint32_t counter[4], std::uint32_t out[4]) {
  std::memcpy(out, counter, 4 * sizeof(std::uint32_t));
  philox_block(key[0], key[1], out);
}

void philox_words(const std::uint32_t key[2], std::ptrdiff_t count, const std::uint32_t* c0,
                  const std::uint32_t* c1, const std::uint32_t* c2, std::uint32_t c3,
                  std::uint64_t* a, std::uint64_t* b) {
  std::uint64_t x[4][kTrials] = {};
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    x[0][i] = c0[i];
    x[1][i] = c1[i];
    x[2][i] = c2[i];
    x[3][i] = c3;
  }
  philox_blocks<kTrials>(OneKey{key}, x);
  std::memcpy(a, x[0], static_cast<std::size_t>(count) * sizeof(std::uint64_t));
  std::memcpy(b, x[1], static_cast<std::size_t>(count) * sizeof(std::uint64_t));
}

void normal_pairs(const std::uint32_t key[2], std::uint32_t first, std::uint32_t c1,
                  std::uint32_t c2, std::uint32_t c3, std::ptrdiff_t count, double* a, double* b) {
  const std::uint32_t rest[3] = {c1, c2, c3};
  pairs<Pair::normal>(key, first, rest, count, a, b);
}

void uniform_pairs(const std::uint32_t key[2], std::uint32_t first, std::uint32_t c1,
                   std::uint32_t c2, std::uint32_t c3, std::ptrdiff_t count, double* a, double* b) {
  const std::uint32_t rest[3] = {c1, c2, c3};
  pairs<Pair::uniform>(key, first, rest, count, a, b);
}

namespace {

/// Draws the blocks [first, first + Count) of a panel of few tasks. Blocks are numbered in the
/// order of the pairs of rows and, within a pair of rows, in the order of the tasks. Blocks beyond
/// the last row are dropped.
template <int Width, int Count>
void some_of_panel(const std::uint32_t key[2], std::uint32_t first_task, std::uint32_t set,
                   std::ptrdiff_t tasks, std::ptrdiff_t rows, std::ptrdiff_t first, double* out) {
  std::uint64_t x[4][Count];
  double a[Count], b[Count];
  std::ptrdiff_t place[Count], task = first % tasks, pair = first / tasks;
  for (int i = 0; i < Count; ++i) {
    x[0][i] = first_task + static_cast<std::uint32_t>(task);
    x[1][i] = static_cast<std::uint32_t>(pair);
    x[2][i] = set;
    x[3][i] = 0;
    place[i] = 2 * pair * Width + task;
    task = task + 1 == tasks ? 0 : task + 1;
    pair += task == 0;
  }
  philox_blocks<Count>(OneKey{key}, x);
  transform_blocks<Count>(x, a, b);
  for (int i = 0; i < Count; ++i) {
    if (place[i] < rows * Width) out[place[i]] = a[i];
    if (place[i] + Width < rows * Width) out[place[i] + Width] = b[i];
  }
}

/// Draws a panel with fewer tasks than columns. Batches contain only blocks that belong to a task.
template <int Width>
void part_of_panel(const std::uint32_t key[2], std::uint32_t first_task, std::uint32_t set,
                   std::ptrdiff_t tasks, std::ptrdiff_t rows, double* out) {
  const std::ptrdiff_t blocks = (rows + 1) / 2 * tasks;
  for (std::ptrdiff_t done = 0; done < blocks;) {
    if (blocks - done > kLane) {
      some_of_panel<Width, kMany>(key, first_task, set, tasks, rows, done, out);
      done += kMany;
    } else {
      some_of_panel<Width, kLane>(key, first_task, set, tasks, rows, done, out);
      done += kLane;
    }
  }
  for (std::ptrdiff_t i = 0; i < rows; ++i) {
    for (std::ptrdiff_t t = tasks; t < Width; ++t) out[i * Width + t] = out[i * Width];
  }
}

}  // namespace

// Block i of a batch belongs to task i % Width and to the pair i / Width of rows, so that the
// normals of each row are contiguous in a or in b, and are copied to the panel as whole rows.
template <int Width>
void normal_panel(const std::uint32_t key[2], std::uint32_t first_task, std::uint32_t set,
                  std::ptrdiff_t tasks, std::ptrdiff_t rows, double* out) {
  if (tasks < Width) return part_of_panel<Width>(key, first_task, set, tasks, rows, out);
  constexpr int kBlocks = kMany > Width ? kMany : Width;
  constexpr int kPairs = kBlocks / Width;  // pairs of rows at a time
  for (std::ptrdiff_t row = 0; row < rows; row += 2 * kPairs) {
    std::uint64_t x[4][kBlocks];
    double a[kBlocks], b[kBlocks];
    for (int i = 0; i < kBlocks; ++i) {
      x[0][i] = first_task + static_cast<std::uint32_t>(i % Width);
      x[1][i] = static_cast<std::uint32_t>(row / 2 + i / Width);
      x[2][i] = set;
      x[3][i] = 0;
    }
    philox_blocks<kBlocks>(OneKey{key}, x);
    transform_blocks<kBlocks>(x, a, b);
    for (int p = 0; p < kPairs; ++p) {
      const std::ptrdiff_t at = row + 2 * p;
      if (at < rows) std::memcpy(out + at * Width, a + p * Width, Width * sizeof(double));
      if (at + 1 < rows) std::memcpy(out + (at + 1) * Width, b + p * Width, Width * sizeof(double));
    }
  }
}

template void normal_panel<2>(const std::uint32_t*, std::uint32_t, std::uint32_t, std::ptrdiff_t,
                              std::ptrdiff_t, double*);
template void normal_panel<4>(const std::uint32_t*, std::uint32_t, std::uint32_t, std::ptrdiff_t,
                              std::ptrdiff_t, double*);
template void normal_panel<8>(const std::uint32_t*, std::uint32_t, std::uint32_t, std::ptrdiff_t,
                              std::ptrdiff_t, double*);
template void normal_panel<16>(const std::uint32_t*, std::uint32_t, std::uint32_t, std::ptrdiff_t,
                               std::ptrdiff_t, double*);

// A batch consists of the blocks of a few counters, each under the keys of all trials, so that the
// normals of each counter are whole rows of the output. All batches have the same size, and blocks
// beyond the last counter are dropped.
void normals_of_trials(const std::uint64_t* k0, const std::uint64_t* k1, std::ptrdiff_t tasks,
                       std::ptrdiff_t pairs, double* out) {
  constexpr int kBlocks = kMany > kTrials ? kMany : kTrials, kCounters = kBlocks / kTrials;
  std::uint64_t keys[2][kBlocks];
  for (int i = 0; i < kBlocks; ++i) {
    keys[0][i] = k0[i % kTrials];
    keys[1][i] = k1[i % kTrials];
  }
  std::ptrdiff_t task = 0, pair = 0;
  for (std::ptrdiff_t first = 0; first < tasks * pairs; first += kCounters) {
    std::uint64_t x[4][kBlocks];
    double a[kBlocks], b[kBlocks];
    for (int c = 0; c < kCounters; ++c) {
      for (int t = 0; t < kTrials; ++t) {
        const int i = c * kTrials + t;
        x[0][i] = static_cast<std::uint64_t>(task);
        x[1][i] = static_cast<std::uint64_t>(pair);
        x[2][i] = x[3][i] = 0;
      }
      pair = pair + 1 == pairs ? 0 : pair + 1;
      task += pair == 0;
    }
    philox_blocks<kBlocks>(ManyKeys{{keys[0], keys[1]}}, x);
    transform_blocks<kBlocks>(x, a, b);
    for (int c = 0; c < kCounters && first + c < tasks * pairs; ++c) {
      double* rows = out + (first + c) * 2 * kTrials;
      std::memcpy(rows, a + c * kTrials, kTrials * sizeof(double));
      std::memcpy(rows + kTrials, b + c * kTrials, kTrials * sizeof(double));
    }
  }
}

// The uniforms have the same layout as the normals of normal_panel(). First a candidate is computed
// for every element in SIMD registers. Then further candidates are drawn, one element at a time,
// for the few elements whose candidate was rejected.
void chi_square_panel(const std::uint32_t key[2], std::uint32_t first_task, std::uint32_t set,
                      std::ptrdiff_t tasks, std::ptrdiff_t first_row, std::ptrdiff_t rows,
                      const double* dof, double* x) {
  constexpr int kBlocks = kMany > kTasks ? kMany : kTasks, kPairs = kBlocks / kTasks;
  for (std::ptrdiff_t row = 0; row < rows; row += 2 * kPairs) {
    std::uint64_t words[4][kBlocks];
    double u[2][kBlocks];
    for (int i = 0; i < kBlocks; ++i) {
      words[0][i] = first_task + static_cast<std::uint32_t>(i % kTasks);
      words[1][i] = static_cast<std::uint32_t>((first_row + row) / 2 + i / kTasks);
      words[2][i] = set;
      words[3][i] = 1;
    }
    philox_blocks<kBlocks>(OneKey{key}, words);
    uniform_blocks<kBlocks>(words, u[0], u[1]);
    const std::ptrdiff_t count = rows - row < 2 * kPairs ? rows - row : 2 * kPairs;
    for (std::ptrdiff_t i = 0; i < count; ++i) {
      const auto [a_0, c] = chi_square_shape<double>(dof[row + i]);
      candidates(a_0, c, u[i % 2] + i / 2 * kTasks, x + (row + i) * kTasks);
    }
    for (std::ptrdiff_t i = 0; i < count * kTasks; ++i) {
      double& chi_square = x[row * kTasks + i];
      if (chi_square > 0) continue;
      const std::ptrdiff_t at = row + i / kTasks, task = i % kTasks;
      chi_square = task >= tasks ? dof[at]
                                 : retry_chi_square<double>(
                                       key, first_task + static_cast<std::uint32_t>(task),
                                       static_cast<std::uint32_t>(first_row + at), set, dof[at]);
    }
  }
}

double chi_square_candidate(double a_0, double x, double u) {
  return chi_square_candidate(a_0, 1 / std::sqrt(9 * a_0), x, u);
}

}  // namespace metaspan::kernels
