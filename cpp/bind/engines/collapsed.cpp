// Bindings of the collapsed engine.
#include "metaspan/engines/collapsed.hpp"

#include "../device.hpp"
#include "metaspan/engines/device_collapsed.hpp"
#include "run.hpp"

namespace metaspan::bind {
namespace {

/// A run of collapsed engines.
class CollapsedRun final : public RunOf<CollapsedEngine> {
 public:
  CollapsedRun(const std::vector<std::string>& records, const Device* device)
      : RunOf(records), device_(device) {}

  /// Returns "M", "R" and "w" of every trial.
  py::dict state() const override {
    Shape shape = engine(0).shape();
    shape.k = engine(0).state().Z.cols();
    return state_in_coordinates(
        count(), shape, [&](Index i) -> const Mat& { return engine(i).state().Z; },
        [&](Index i) -> const Vec& { return engine(i).state().w; });
  }

 protected:
  std::unique_ptr<DeviceTrials> device_trials() const override {
    return device_ == nullptr ? nullptr : make_device_collapsed(device_->module());
  }

 private:
  const Device* device_;  // null: the CPU
};

/// Opens a run from M, R and w of every trial. The first `kept` rows of [M; R] are coefficients of
/// basis vectors that do not change during the run. `device`, which must outlive the run, computes
/// the gradients; null: the CPU.
std::unique_ptr<Run> open_collapsed(const Method& method, const SampleLaw& samples, const Array& M,
                                    const Array& R, const Array& w, Index kept,
                                    const py::object& law, Index n, std::uint64_t seed,
                                    const std::vector<std::uint64_t>& trials,
                                    const std::vector<Index>& rounds,
                                    const std::vector<std::string>& records, const Device* device) {
  require(n > 0 && rounds.size() == trials.size() && M.ndim() == 3,
          "n must be positive, and rounds must have one element per trial");
  auto run = std::make_unique<CollapsedRun>(records, device);
  const Index k_star = M.shape(1);
  run->take_heads(n * k_star);
  const std::shared_ptr<PanelMemory> memory = make_panel_memory();
  for (std::size_t at = 0; at < trials.size(); ++at) {
    const auto i = static_cast<Index>(at);
    CollapsedEngine::State state{state_block(M, R, i), {}, kept};
    const Index k = state.Z.cols();
    const Index blocks = method.step.blocks();  // side by side as columns of Z and in w
    state.w = row_block(w, i, blocks * method.parameters(k / blocks));
    require(kept >= k_star && kept <= state.Z.rows() &&
                static_cast<double>(state.Z.rows()) <= samples.d &&
                (state.Z.rows() == kept + k || static_cast<double>(state.Z.rows()) == samples.d),
            "kept must be at least k_star, and [M; R] must have min(kept + k, d) rows");
    HeadSource heads(as_head_law(law, k_star, i), n, seed, trials[at]);
    run->add(make_collapsed(method, samples, std::move(state), std::move(heads), n, seed,
                            trials[at], memory),
             rounds[at], method);
  }
  return run;
}

}  // namespace

void bind_collapsed(py::class_<Run>& run) {
  run.def_static("collapsed", &open_collapsed, py::kw_only(), py::arg("method"), py::arg("samples"),
                 py::arg("M"), py::arg("R"), py::arg("w"), py::arg("kept"), py::arg("law"),
                 py::arg("n"), py::arg("seed"), py::arg("trials"), py::arg("rounds"),
                 py::arg("records"), py::arg("device") = py::none(), py::keep_alive<0, 13>());
}

}  // namespace metaspan::bind
