// Bindings of runs on samples at full size that are drawn anew in every round, (12).
#include "../device.hpp"
#include "full_size.hpp"
#include "metaspan/engines/device_arrays.hpp"
#include "metaspan/engines/sampled_tasks.hpp"

namespace metaspan::bind {
namespace {

/// A source of rows that calls a Python function (trial, stream, round, task, first, count) ->
/// (count, d).
class FunctionRows final : public RowSource {
 public:
  FunctionRows(py::function rows, std::uint64_t trial, Stream stream, Index d)
      : rows_(std::move(rows)), trial_(trial), stream_(stream), d_(d) {}

  void begin_round(Index round) override { round_ = round; }

  void rows(Index task, Index first, Index count, double* out) const override {
    const Locked lock;
    const auto stream = static_cast<std::uint32_t>(stream_);
    const auto block = call(rows_, trial_, stream, round_, task, first, count).cast<Array>();
    require(block.ndim() == 2 && block.shape(0) == count && block.shape(1) == d_,
            "rows must be (count, d)");
    std::copy_n(block.data(), block.size(), out);
  }

 private:
  py::function rows_;
  std::uint64_t trial_;
  Stream stream_;
  Index d_, round_ = 0;
};

/// Objects to which the engines of a run refer.
template <class Scalar>
struct HeldSampled {
  std::optional<Array> roots;  // (d,)
  std::vector<std::unique_ptr<FunctionRows>> functions;
  std::vector<std::unique_ptr<SampledTasks<Scalar>>> tasks;

  /// Returns how the rows of a trial are generated: by `function` if it is given, otherwise from
  /// the FeatureLaw.
  typename SampledTasks<Scalar>::Rows rows_of(const std::optional<py::function>& function,
                                              std::uint64_t trial, Index d) {
    typename SampledTasks<Scalar>::Rows sources{roots ? roots->data() : nullptr, nullptr, nullptr};
    if (!function) return sources;
    const auto make_source = [&](Stream stream) {
      return functions.emplace_back(std::make_unique<FunctionRows>(*function, trial, stream, d))
          .get();
    };
    sources.inner = make_source(Stream::features_in);
    sources.outer = make_source(Stream::features_out);
    return sources;
  }
};

/// A run on samples that are drawn anew in every round. HeldSampled is the first base class, so
/// that its members are destroyed after the engines.
template <class Scalar>
class SampledRun final : public HeldSampled<Scalar>, public FullSizeRun<Scalar> {
 public:
  SampledRun(const std::vector<std::string>& records, Index d,
             std::optional<Array> covariance_roots)
      : HeldSampled<Scalar>{std::move(covariance_roots), {}, {}}, FullSizeRun<Scalar>(records, d) {}

  bool is_on_device = false, is_shared = false;

 protected:
  /// Trials on a device run one at a time, and so do trials that exchange numbers with other
  /// processes.
  bool one_at_a_time() const override { return is_on_device || is_shared; }
};

/// Opens a run, by the vector route unless it is on a device, from B, w and B_star of every trial.
/// With a shard, B, B_star, the roots and the rows of a function have the d features of this
/// process.
std::unique_ptr<Run> open_sampled(
    const Method& method, const SampleLaw& samples, const std::optional<Array>& roots,
    const std::optional<py::function>& rows, const std::vector<Array>& B_star, const py::array& B,
    const Array& w, const py::object& law, Index n, std::uint64_t seed,
    const std::vector<std::uint64_t>& trials, const std::vector<Index>& rounds,
    const std::vector<std::string>& records, const std::optional<py::array>& memory,
    const std::optional<Array>& w_memory, const std::string& route, const Device* device,
    const std::shared_ptr<Shard>& shard) {
  require_representations(B, trials.size());
  const Memory blocks{memory, w_memory};
  blocks.require_fit(method, B);
  require(n > 0 && rounds.size() == trials.size() && B_star.size() == trials.size(),
          "n must be positive, and rounds and B_star must have one element per trial");
  require(!roots || roots->size() == B.shape(1), "roots must have one element per feature");
  const Index d = B.shape(1), k = B.shape(2);
  require(shard == nullptr || (shard->size() == d && device == nullptr),
          "B must have the rows of the shard, on the CPU");
  require(samples.d == static_cast<double>(shard == nullptr ? d : shard->d()),
          "the law must fit B");
  return with_scalar(B, [&](auto scalar) -> std::unique_ptr<Run> {
    using Scalar = decltype(scalar);
    auto run = std::make_unique<SampledRun<Scalar>>(records, d, roots);
    run->is_on_device = device != nullptr;
    run->is_shared = shard != nullptr;
    for (std::size_t at = 0; at < trials.size(); ++at) {
      const auto i = static_cast<Index>(at);
      Mat truth = as_matrix(B_star[at]);
      require(truth.rows() == d, "B_star must fit B");
      const Index k_star = truth.cols();
      HeadSource heads(as_head_law(law, k_star, i), n, seed, trials[at]);
      SampledTasks<Scalar>& tasks = *run->tasks.emplace_back(std::make_unique<SampledTasks<Scalar>>(
          samples, run->rows_of(rows, trials[at], d), std::move(truth), std::move(heads), n, seed,
          trials[at], shard));
      run->take_heads(n * k_star);
      const auto start = start_of<Scalar>(method, B, w, i, n, seed, trials[at], blocks);
      const auto before = [&tasks, device](Index round, const double* round_heads) {
        tasks.begin_round(round, round_heads, device == nullptr);
      };
      if (device == nullptr) {
        run->add(
            make_arrays<Scalar, Scalar>(as_route(route), method, tasks.data(), k, start, before),
            rounds[at], method);
        continue;
      }
      require(!rows, "rows of a function are not on a device");
      const DeviceUse use{&device->module()};
      auto on_device = make_device_route<Scalar, Scalar>(as_route(route), use, method,
                                                         tasks.data().tasks, k, n, 2);
      run->add(make_device_arrays<Scalar, Scalar>(std::move(on_device), use, method, tasks.data(),
                                                  k, start, before),
               rounds[at], method);
    }
    return run;
  });
}

}  // namespace

void bind_sampled(py::class_<Run>& run) {
  run.def_static("sampled", &open_sampled, py::kw_only(), py::arg("method"), py::arg("samples"),
                 py::arg("roots"), py::arg("rows"), py::arg("B_star"), py::arg("B"), py::arg("w"),
                 py::arg("law"), py::arg("n"), py::arg("seed"), py::arg("trials"),
                 py::arg("rounds"), py::arg("records"), py::arg("memory") = py::none(),
                 py::arg("w_memory") = py::none(), py::arg("route") = "vector",
                 py::arg("device") = py::none(), py::arg("shard") = py::none());
}

}  // namespace metaspan::bind
