// Bindings of the spectral engine.
#include "metaspan/engines/spectral.hpp"

#include "full_size.hpp"

namespace metaspan::bind {
namespace {

/// Arrays to which the engines of a run refer.
struct HeldSpectral {
  Array roots;
  std::vector<std::unique_ptr<Mat>> truths;
};

/// A run of spectral engines. HeldSpectral is the first base class, so that its members are
/// destroyed after the engines.
template <class BScalar>
class SpectralRun final : public HeldSpectral, public FullSizeRun<BScalar> {
 public:
  SpectralRun(const std::vector<std::string>& records, Array covariance_roots)
      : HeldSpectral{std::move(covariance_roots), {}},
        FullSizeRun<BScalar>(records, roots.size()) {}
};

/// Opens a run from B, w and B_star of every trial.
std::unique_ptr<Run> open_spectral(const Method& method, const Array& roots, double noise,
                                   const std::vector<Array>& B_star, const py::array& B,
                                   const Array& w, const py::object& law, Index n,
                                   std::uint64_t seed, const std::vector<std::uint64_t>& trials,
                                   const std::vector<Index>& rounds,
                                   const std::vector<std::string>& records,
                                   const std::optional<py::array>& memory,
                                   const std::optional<Array>& w_memory) {
  require_representations(B, trials.size());
  const Memory blocks{memory, w_memory};
  blocks.require_fit(method, B);
  require(n > 0 && rounds.size() == trials.size() && B_star.size() == trials.size() &&
              roots.size() == B.shape(1),
          "n must be positive, rounds and B_star must have one element per trial, and roots one "
          "per feature");
  const Index d = B.shape(1), k = B.shape(2);
  return with_scalar(B, [&](auto scalar) -> std::unique_ptr<Run> {
    using Scalar = decltype(scalar);
    auto run = std::make_unique<SpectralRun<Scalar>>(records, roots);
    for (std::size_t at = 0; at < trials.size(); ++at) {
      const auto i = static_cast<Index>(at);
      const Mat& truth = *run->truths.emplace_back(std::make_unique<Mat>(as_matrix(B_star[at])));
      require(truth.rows() == d, "B_star must fit B");
      HeadSource heads(as_head_law(law, truth.cols(), i), n, seed, trials[at]);
      run->take_heads(n * truth.cols());
      run->add(make_spectral<Scalar>(method, run->roots.data(), truth, k,
                                     start_of<Scalar>(method, B, w, i, n, seed, trials[at], blocks),
                                     std::move(heads), noise),
               rounds[at], method);
    }
    return run;
  });
}

}  // namespace

void bind_spectral(py::class_<Run>& run) {
  run.def_static("spectral", &open_spectral, py::kw_only(), py::arg("method"), py::arg("roots"),
                 py::arg("noise"), py::arg("B_star"), py::arg("B"), py::arg("w"), py::arg("law"),
                 py::arg("n"), py::arg("seed"), py::arg("trials"), py::arg("rounds"),
                 py::arg("records"), py::arg("memory") = py::none(),
                 py::arg("w_memory") = py::none());
}

}  // namespace metaspan::bind
