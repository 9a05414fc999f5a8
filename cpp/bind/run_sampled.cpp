// Runs on samples at full size that are never stored.
#include "metaspan/engines/sampled_tasks.hpp"
#include "representations.hpp"
#include "run.hpp"

namespace metaspan::bind {

/// Rows of a function (trial, stream, round, task, first, count) -> (count, d).
class FunctionRows final : public RowSource {
 public:
  FunctionRows(py::function rows, std::uint64_t trial, Stream stream, Index d)
      : rows_(std::move(rows)), trial_(trial), stream_(stream), d_(d) {}

  void begin_round(Index round) override { round_ = round; }

  void rows(Index task, Index first, Index count, double* out) const override {
    const Locked lock;
    const auto stream = static_cast<std::uint32_t>(stream_);
    const auto made = call(rows_, trial_, stream, round_, task, first, count).cast<Array>();
    require(made.ndim() == 2 && made.shape(0) == count && made.shape(1) == d_,
            "rows must be (count, d)");
    std::copy_n(made.data(), made.size(), out);
  }

 private:
  py::function rows_;
  std::uint64_t trial_;
  Stream stream_;
  Index d_, round_ = 0;
};

/// What the engines of a run refer to.
template <class Scalar>
struct HeldSampled {
  std::optional<Array> roots;
  std::vector<std::unique_ptr<FunctionRows>> rows;
  std::vector<std::unique_ptr<SampledTasks<Scalar>>> tasks;
};

std::unique_ptr<Run> Run::sampled(const py::tuple& method, const py::tuple& samples,
                                  const std::optional<Array>& roots,
                                  const std::optional<py::function>& rows, const py::list& B_star,
                                  const py::array& B, const Array& w, const py::tuple& law, Index n,
                                  std::uint64_t seed, const std::vector<std::uint64_t>& trials,
                                  const std::vector<Index>& rounds,
                                  const std::vector<std::string>& records) {
  auto run = std::make_unique<Run>();
  const Method m = as_method(method);
  const SampleLaw sample_law = as_sample_law(samples);
  const auto count = static_cast<Index>(trials.size());
  require(n > 0 && rounds.size() == trials.size() && B.ndim() == 3 && B.shape(0) == count &&
              (B.flags() & py::array::c_style) != 0 && B_star.size() == trials.size(),
          "B must be (trials, d, k), a round and a B_star for every trial");
  require(!roots || roots->size() == B.shape(1), "a root of the spectrum for every feature");
  const Index d = B.shape(1), k = B.shape(2);
  with_scalar(B, [&](auto scalar) {
    using Scalar = decltype(scalar);
    auto all = std::make_shared<HeldSampled<Scalar>>();
    all->roots = roots;
    run->held_ = all;
    for (std::size_t at = 0; at < trials.size(); ++at) {
      const auto i = static_cast<Index>(at);
      Mat truth = as_matrix(B_star[at].cast<Array>());
      require(truth.rows() == d && sample_law.d == static_cast<double>(d), "B_star must fit B");
      const Index k_star = truth.cols();
      HeadSource heads(as_head_law(law, k_star, i), n, seed, trials[at]);
      typename SampledTasks<Scalar>::Rows from{roots ? roots->data() : nullptr, nullptr, nullptr};
      const auto source = [&](Stream stream) {
        return all->rows.emplace_back(std::make_unique<FunctionRows>(*rows, trials[at], stream, d))
            .get();
      };
      if (rows) {
        from.inner = source(Stream::features_in);
        from.outer = source(Stream::features_out);
      }
      SampledTasks<Scalar>& tasks = *all->tasks.emplace_back(std::make_unique<SampledTasks<Scalar>>(
          sample_law, from, std::move(truth), std::move(heads), n, seed, trials[at]));
      const auto start = start_of<Scalar>(B, w, i, n, {seed, trials[at]});
      run->trials_.push_back(std::make_unique<Trial>(
          make_arrays<Scalar, Scalar>(
              RouteKind::vector, m, tasks.data(), k, start,
              [&tasks](Index round, const double* given) { tasks.begin_round(round, given); }),
          rounds[at], m.alpha));
      run->heads_size_ = n * k_star;
    }
    run->set_representations<Scalar>(d);
  });
  run->set_records(records);
  return run;
}

}  // namespace metaspan::bind
