// Counter-based randomness: a number is a function of where it is used, so no generator has a
// state.
#pragma once

#include "metaspan/base/base.hpp"

namespace metaspan {

/// Independent families of numbers under one seed.
enum class Stream : std::uint32_t {
  heads = 1,
  noise_in,
  noise_out,
  features_in,
  features_out,
  b_star,
  start,
  frame,
  pool,
  user,
  samples,
  off_span,
  radii_in,
  radii_out,
};

struct Key {
  std::uint32_t words[2];
};

/// The key of one family in one round: two words of the block (round, trial, stream) under the
/// seed.
Key derive_key(std::uint64_t seed, std::uint64_t trial, std::uint64_t round, Stream stream);

/// Row `row` of a task's matrix of standard normals: columns 2p and 2p + 1 come from the counter
/// (p, row, task, 0).
void normal_row(Key key, Index task, Index row,
                Index first,    // column, even
                Index columns,  // the last < 2^33
                double* out);   // (columns,)
inline void normal_row(Key key, Index task, Index row, Index d, double* out) {
  normal_row(key, task, row, 0, d, out);
}

/// Uniforms in (0, 1) of the same counters.
void uniform_row(Key key, Index task, Index row,
                 Index first,    // column, even
                 Index columns,  // the last < 2^33
                 double* out);   // (columns,)

/// Draws one after another from one key, for the few numbers that a start or a sum needs. Normal i
/// comes from the counter (i / 2, task, part, 0), uniform i from (i, task, part, 1).
class Sequence {
 public:
  explicit Sequence(Key key, Index task = 0, std::uint32_t part = 0)
      : key_(key), task_(static_cast<std::uint32_t>(task)), part_(part) {}
  double normal();
  double uniform();  // in (0, 1)

  /// Chi-square with dof > 0 degrees of freedom, exact for any number of them (Marsaglia and Tsang
  /// 2000).
  double chi_square(double dof);

 private:
  static constexpr int kPairs = 8;  // of normals, at a time
  Key key_;
  std::uint32_t task_, part_, next_pair_ = 0, next_uniform_ = 0;
  int taken_ = 2 * kPairs;
  double normals_[2 * kPairs];
};

/// The Bartlett factor L of a Wishart matrix W_p(f, I) = L L^T: L (p, min(p, f)) lower trapezoidal,
/// L_jj^2 ~ chi^2_{f-j}, N(0, 1) below the diagonal. f may be far beyond what could be stored.
Mat bartlett(Sequence& draws, Index p, double f);

/// n_taken distinct indices below n_all, uniformly, in the order drawn. `order` holds 0..n_all-1
/// and is given back so.
void choose(Key key, Index n_all, Index n_taken,
            Index* order,   // (n_all,) identity, in and out
            Index* swaps,   // (n_taken,) scratch
            Index* taken);  // (n_taken,) out

}  // namespace metaspan
