#include "metaspan/engines/sampled_tasks.hpp"

#include <cmath>
#include <utility>

namespace metaspan {

/// Describes the tasks of (12) to the sweeps. In place of X, a set refers to an object that
/// generates its rows, and in place of y it has the noise z, since a residual is X (B w + ... -
/// theta_i) - z. Heads are stored with the opposite sign because sweeps only add: -theta_i = B_star
/// (-w_star) is one more term of their sum. B_star is stored transposed, as rows that a sweep over
/// d reads one after another.
template <class XScalar>
SampledTasks<XScalar>::SampledTasks(const SampleLaw& law, const Rows& rows, Mat B_star,
                                    HeadSource heads, Index n, std::uint64_t seed,
                                    std::uint64_t trial, std::shared_ptr<const Shard> shared)
    : law_(law), heads_(std::move(heads)), n_(n), seed_(seed), trial_(trial), rows_(rows) {
  const Index d = B_star.rows();
  truth_.B_star_t = B_star.transpose();
  truth_.minus_heads.resize(n, B_star.cols());
  truth_.xi_std = law.spread / std::sqrt(law.d);
  truth_.noise = law.noise;
  data_.B_star = std::move(B_star);
  data_.heads.resize(n, data_.B_star.cols());
  data_.tasks.d = d;
  data_.tasks.truth = &truth_;
  data_.tasks.shared = std::move(shared);
  const Shard shard = data_.tasks.shard();
  truth_.offset = shard.first();
  const RowSource* const sources[] = {rows.inner, rows.outer};
  for (int set = 0; set < 2; ++set) {
    const Index m = set == 0 || law.shared ? law.m_in : law.m_out;
    makers_[set] = {law.features, {}, {}, shard.d(), rows.roots, shard.first()};
    auto& sets = set == 0 ? data_.tasks.inner : data_.tasks.outer;
    noise_[set].resize(static_cast<std::size_t>(n * m));
    // If samples are shared, the outer set is the inner set: the same rows and the same noise.
    const int of = law.shared ? 0 : set;
    for (Index task = 0; task < n; ++task) {
      const XScalar* y = noise_[of].data() + task * m;
      if (sources[of] != nullptr) {
        sets.push_back({SourcedRows{sources[of], rows.roots, task}, y, m});
      } else {
        sets.push_back({MadeRows{&makers_[of], task}, y, m});
      }
    }
  }
}

/// Prepares a round: draws heads and noise, and gives the keys of the round to the objects that
/// generate rows. The features, radii and noise of each set have separate streams, so the numbers
/// of one stream do not depend on how many numbers another stream has drawn. The noise has the type
/// of X because the sweeps read it as y.
template <class XScalar>
void SampledTasks<XScalar>::begin_round(Index round, const double* heads, bool draws_noise) {
  const auto r = static_cast<std::uint64_t>(round);
  const auto key = [&](Stream stream) { return derive_key(seed_, trial_, r, stream); };
  heads_.begin_round(round, heads);
  data_.heads = heads_.rows(n_);
  truth_.minus_heads = -data_.heads;
  truth_.xi = key(Stream::spread);
  if (rows_.inner != nullptr) rows_.inner->begin_round(round);
  if (rows_.outer != nullptr) rows_.outer->begin_round(round);
  const Stream features[] = {Stream::features_in, Stream::features_out};
  const Stream radii[] = {Stream::radii_in, Stream::radii_out};
  const Stream noise[] = {Stream::noise_in, Stream::noise_out};
  // If samples are shared, both sets have the streams of the inner set. Noise is drawn once a round
  // because every pass over a set reads it. The noise of a row is the
  // first normal of that row's own counter.
  for (int set = 0; set < (law_.shared ? 1 : 2); ++set) {
    makers_[set].features = key(features[set]);
    makers_[set].radii = key(radii[set]);
    const Index m = set == 0 ? law_.m_in : law_.m_out;
    const Key of_noise = truth_.noises[set] = key(noise[set]);
    for (Index task = 0; draws_noise && law_.noise != 0 && task < n_; ++task) {
      for (Index row = 0; row < m; ++row) {
        double z;
        normal_row(of_noise, task, row, 1, &z);
        noise_[set][static_cast<std::size_t>(task * m + row)] =
            static_cast<XScalar>(law_.noise * z);
      }
    }
  }
  if (law_.shared) truth_.noises[1] = truth_.noises[0];
}

template class SampledTasks<double>;
template class SampledTasks<float>;

}  // namespace metaspan
