// Counter-based random numbers: every number is a function of the place where it is used (seed,
// trial, round, task, row, column), so no generator has a state.
#pragma once

#include "metaspan/base/base.hpp"
#include "metaspan/random/key.hpp"

namespace metaspan {

/// Returns the key of one stream in one round of one trial: two words of the Philox block whose
/// counter is (round, trial, stream) and whose key is the seed.
Key derive_key(std::uint64_t seed, std::uint64_t trial, std::uint64_t round, Stream stream);

/// Derives the keys of one stream for up to kernels::kTrials pairs of a trial and a round. The two
/// words of a key are written to two separate arrays.
void derive_keys(std::uint64_t seed, Stream stream, Index count,
                 const std::uint64_t* trials,   // (count,)
                 const std::uint64_t* rounds,   // (count,)
                 std::uint64_t* first_words,    // (count,) out
                 std::uint64_t* second_words);  // (count,) out

/// Writes columns [first, first + columns) of row `row` of a task's matrix of standard normals.
/// Columns 2p and 2p + 1 come from the counter (p, row, task, 0).
void normal_row(Key key, Index task, Index row,
                Index first,    // column, even
                Index columns,  // the last column < 2^33
                double* out);   // (columns,)
/// Writes columns [0, d) of row `row` of a task's matrix of standard normals.
inline void normal_row(Key key, Index task, Index row, Index d, double* out) {
  normal_row(key, task, row, 0, d, out);
}

/// Adds `scale` times standard normals to the entries [first, first + count) of a matrix that is
/// stored row by row; out[0] is entry `first`. Entry e takes column e mod 2^32 of row e / 2^32 in
/// normal_row() of task 0.
template <class Scalar>
void add_normals(Key key, double scale,
                 Index first,  // even
                 Index count,
                 Scalar* out);  // (count,)

/// Adds the noise of (30) to grad_w: `scale` times row 0 of task 1 in normal_row().
inline void add_head_noise(Key key, double scale, Vec& grad_w) {
  Vec normals(grad_w.size());
  normal_row(key, 1, 0, normals.size(), normals.data());
  grad_w += scale * normals;
}

/// Writes uniforms in (0, 1) from the counters that normal_row() uses.
void uniform_row(Key key, Index task, Index row,
                 Index first,    // column, even
                 Index columns,  // the last column < 2^33
                 double* out);   // (columns,)

/// A sequence of random numbers under one key, for the two uses that need few random numbers:
/// random starts, and sums of the tasks' parts off the span. Normal i comes from the counter (i /
/// 2, task, part, 0), and uniform i comes from the counter (i, task, part, 1).
class Sequence {
 public:
  explicit Sequence(Key key, Index task = 0, std::uint32_t part = 0)
      : key_(key), task_(static_cast<std::uint32_t>(task)), part_(part) {}
  double normal();
  double uniform();  // in (0, 1)

  /// Draws a chi-square with dof > 0 degrees of freedom, by the rejection method of Marsaglia and
  /// Tsang (2000), which is exact for every dof.
  double chi_square(double dof);

 private:
  static constexpr int kPairs = 8;  // pairs of normals that are drawn at a time
  Key key_;
  std::uint32_t task_, part_, next_pair_ = 0, next_uniform_ = 0;
  int taken_ = 2 * kPairs;
  double normals_[2 * kPairs];
};

/// Draws the Bartlett factor L of (16), for which L L^T is a Wishart matrix W_p(f, I). L (p, min(p,
/// f)) is lower trapezoidal. The diagonal entries of L satisfy L_jj^2 ~ chi^2_{f-j}, and the
/// entries below the diagonal are standard normals. No array has f rows, so f may exceed the number
/// of rows that fit in memory.
Mat bartlett(Sequence& draws, Index p, double f);

/// Draws n_taken distinct indices below n_all uniformly, in random order, by a partial Fisher-Yates
/// shuffle. `order` must hold 0, ..., n_all - 1. At the end of a call the swaps of the shuffle are
/// undone, so that the next call takes only O(n_taken) time again.
void choose(Key key, Index n_all, Index n_taken,
            Index* order,   // (n_all,) identity, in and out
            Index* swaps,   // (n_taken,) scratch
            Index* taken);  // (n_taken,) out

}  // namespace metaspan
