// Tasks whose samples are drawn anew in every round and never stored, (12).
#pragma once

#include "metaspan/engines/arrays.hpp"
#include "metaspan/in_law/sample_shape.hpp"
#include "metaspan/random/heads.hpp"

namespace metaspan {

/// The tasks of one round of one trial, in the form that the sweeps take: generators of rows,
/// noise, and heads. They equal the arrays that the same seed, trial and round would give, up to
/// rounding of the responses.
template <class XScalar>
class SampledTasks {
 public:
  /// Where the features come from.
  struct Rows {
    const double* roots;       // (d,)  of a diagonal covariance, or null
    RowSource *inner, *outer;  // generate the rows instead of a law; or null
  };
  SampledTasks(const SampleLaw& law, const Rows& rows, Mat B_star, HeadSource heads, Index n,
               std::uint64_t seed, std::uint64_t trial);
  SampledTasks(const SampledTasks&) = delete;

  /// Draws the heads and the noise of a round, and keys the row generators for it. `heads` (n,
  /// k_star) are those that the caller passes, or null.
  void begin_round(Index round, const double* heads);

  const ArraysData<XScalar>& data() const { return data_; }

 private:
  SampleLaw law_;
  HeadSource heads_;
  Index n_;
  std::uint64_t seed_, trial_;
  ArraysData<XScalar> data_;
  Truth truth_;
  Rows rows_;
  RowMaker makers_[2];             // inner, outer
  std::vector<XScalar> noise_[2];  // (n, m)  sigma z
};

}  // namespace metaspan
