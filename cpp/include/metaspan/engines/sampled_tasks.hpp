// Tasks whose samples are drawn anew in every round and never stored, (12).
#pragma once

#include "metaspan/engines/arrays.hpp"
#include "metaspan/in_law/sample_shape.hpp"
#include "metaspan/random/heads.hpp"

namespace metaspan {

/// The tasks of one round of one trial, in the form that the sweeps take: generators of rows,
/// noise, and heads. The generated tasks equal the arrays that would be drawn with the same seed,
/// trial and round, up to rounding of the responses.
template <class XScalar>
class SampledTasks {
 public:
  /// Where the features come from.
  struct Rows {
    const double* roots;       // (d,)  of a diagonal covariance, or null
    RowSource *inner, *outer;  // sources that replace the law of the rows, or null
  };
  /// `B_star` (d, k_star) and `rows` have the columns of `shared`, or all if it is null.
  SampledTasks(const SampleLaw& law, const Rows& rows, Mat B_star, HeadSource heads, Index n,
               std::uint64_t seed, std::uint64_t trial, std::shared_ptr<const Shard> shared = {});
  SampledTasks(const SampledTasks&) = delete;

  /// Draws the heads and the noise of a round, and sets the keys of the row generators for the
  /// round. `heads` (n, k_star) are the heads that the caller passes, or null. A device draws the
  /// noise by itself, so for a device `draws_noise` is false.
  void begin_round(Index round, const double* heads, bool draws_noise = true);

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
