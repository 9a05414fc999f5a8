// Runs on population losses of features with a spectrum.
#include "metaspan/engines/spectral.hpp"
#include "representations.hpp"
#include "run.hpp"

namespace metaspan::bind {

/// What the engines of a run refer to.
struct HeldSpectral {
  Array roots;
  std::vector<std::unique_ptr<Mat>> truths;
};

std::unique_ptr<Run> Run::spectral(const py::tuple& method, const Array& roots, double noise,
                                   const py::list& B_star, const py::array& B, const Array& w,
                                   const py::tuple& law, Index n, std::uint64_t seed,
                                   const std::vector<std::uint64_t>& trials,
                                   const std::vector<Index>& rounds,
                                   const std::vector<std::string>& records) {
  auto run = std::make_unique<Run>();
  const Method m = as_method(method);
  require(n > 0 && rounds.size() == trials.size() && B.ndim() == 3 &&
              B.shape(0) == static_cast<Index>(trials.size()) && roots.size() == B.shape(1) &&
              (B.flags() & py::array::c_style) != 0 && B_star.size() == trials.size(),
          "B must be (trials, d, k), a round and a B_star for every trial");
  const Index d = B.shape(1), k = B.shape(2);
  const auto held = std::make_shared<HeldSpectral>();
  held->roots = roots;
  run->held_ = held;
  with_scalar(B, [&](auto scalar) {
    using Scalar = decltype(scalar);
    for (std::size_t at = 0; at < trials.size(); ++at) {
      const auto i = static_cast<Index>(at);
      const Mat& truth =
          *held->truths.emplace_back(std::make_unique<Mat>(as_matrix(B_star[at].cast<Array>())));
      require(truth.rows() == d, "B_star must fit B");
      HeadSource heads(as_head_law(law, truth.cols(), i), n, seed, trials[at]);
      const auto start = start_of<Scalar>(B, w, i, n, {seed, trials[at]});
      run->trials_.push_back(std::make_unique<Trial>(
          make_spectral<Scalar>(m, held->roots.data(), truth, k, start, std::move(heads), noise),
          rounds[at], m.alpha));
      run->heads_size_ = n * truth.cols();
    }
    run->set_representations<Scalar>(d);
  });
  run->set_records(records);
  return run;
}

}  // namespace metaspan::bind
