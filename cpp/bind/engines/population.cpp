// Bindings of the population engine.
#include "metaspan/engines/population.hpp"

#include "../device.hpp"
#include "metaspan/engines/device_population.hpp"
#include "metaspan/geometry/coordinates.hpp"
#include "run.hpp"

namespace metaspan::bind {
namespace {

/// A run of population engines.
class PopulationRun final : public RunOf<PopulationEngine> {
 public:
  PopulationRun(const std::vector<std::string>& records, const Method& method, Index n,
                double noise, const Device* device)
      : RunOf(records), method_(method), n_(n), noise_(noise), device_(device) {}

  /// Returns "M" = M Q, "R" = R Q, "w" = Q^T w and "frames" = Q of every trial.
  py::dict state() const override {
    const Shape shape = engine(0).shape();
    std::vector<PopulationEngine::State> states;
    for (Index i = 0; i < count(); ++i) states.push_back(engine(i).state());
    py::dict out = state_in_coordinates(
        count(), {shape.k_star, shape.e, shape.k * method_.step.blocks()},
        [&](Index i) -> const Mat& { return states[static_cast<std::size_t>(i)].Z; },
        [&](Index i) -> const Vec& { return states[static_cast<std::size_t>(i)].w; });
    const Index k = shape.k;
    Array frames({count(), k, k});
    for (Index i = 0; i < count(); ++i) {
      MutMat(frames.mutable_data() + i * k * k, k, k) = engine(i).frame();
    }
    out["frames"] = frames;
    return out;
  }

 protected:
  PanelMaker panel_maker(int threads) const override {
    const Shape shape = engine(0).shape();
    if (!population_fills_panels(method_, shape, n_, count() / threads)) return nullptr;
    return [this, shape] { return make_population_panel(method_, shape, n_, noise_); };
  }
  std::unique_ptr<DeviceTrials> device_trials() const override {
    if (device_ == nullptr) return nullptr;
    return make_device_population(device_->module(), method_, engine(0).shape(), n_, noise_);
  }

 private:
  Method method_;
  Index n_;
  double noise_;
  const Device* device_;  // null: the CPU
};

/// Opens a run from M, R and w of every trial. M, R and w are in the frame Q = I or, if a run is
/// resumed, in the `frames` of the trials. `device`, which must outlive the run, computes the
/// rounds; null: the CPU.
std::unique_ptr<Run> open_population(const Method& method, const Array& M, const Array& R,
                                     const Array& w, const py::object& law, Index n, double noise,
                                     std::uint64_t seed, const std::vector<std::uint64_t>& trials,
                                     const std::vector<Index>& rounds,
                                     const std::vector<std::string>& records,
                                     const std::optional<Array>& frames, const Device* device) {
  require(n > 0 && rounds.size() == trials.size() && M.ndim() == 3,
          "n must be positive, and rounds must have one element per trial");
  auto run = std::make_unique<PopulationRun>(records, method, n, noise, device);
  const Index k_star = M.shape(1);
  run->take_heads(n * k_star);
  for (std::size_t at = 0; at < trials.size(); ++at) {
    const auto i = static_cast<Index>(at);
    Mat Z = state_block(M, R, i);
    const Index blocks = method.step.blocks();  // side by side as columns of Z and in w
    const Vec head = row_block(w, i, blocks * method.parameters(Z.cols() / blocks));
    HeadSource heads(as_head_law(law, k_star, i), n, seed, trials[at]);
    PopulationEngine::State state =
        frames ? PopulationEngine::State{std::move(Z), head, block_of(*frames, i)}
               : PopulationEngine::start(method, std::move(Z), head, k_star);
    run->add(make_population(method, std::move(state), std::move(heads), n, noise), rounds[at],
             method);
  }
  return run;
}

/// Returns a view of a matrix of the core.
ConstMat view_of(const Mat& m) { return ConstMat(m.data(), m.rows(), m.cols()); }

/// Computes the gradient, the losses and the adapted heads of one round at B (d, k) and w. The true
/// heads w_star are the rows of `heads`. The computation uses the coordinates (13) and the frame Q
/// = I.
py::dict gradient_population(const Method& method, const Array& B, const Array& w,
                             const Array& B_star, const Array& heads, double noise, int threads) {
  const ConstMat b = as_matrix(B), b_star = as_matrix(B_star), rows = as_matrix(heads);
  const Index d = b.rows(), k = b.cols(), k_star = b_star.cols();
  require(k > 0 && b_star.rows() == d && w.size() == method.parameters(k) && rows.cols() == k_star,
          "B, w, B_star and heads must fit");
  HeadLaw law;
  law.kind = HeadLaw::Kind::given;
  law.k_star = k_star;
  TaskOutputs tasks;
  tasks.want_losses = tasks.want_adapted = true;
  const Vec head = as_vector(w);
  Method plain = method;  // the gradient does not depend on the outer step
  plain.step = {};
  Array grad_B({d, k});
  MutMat out_B(grad_B.mutable_data(), d, k);
  Vec grad_w;
  interruptible([&](Cancel* cancel) {
    const Coordinates at = to_quick_coordinates(b, b_star, threads);
    throw_if_requested(cancel);
    const auto engine =
        make_population(plain, {stacked(view_of(at.M), view_of(at.R)), head, Mat::Identity(k, k)},
                        HeadSource(law, rows.rows(), 0, 0), rows.rows(), noise);
    engine->gradient(0, rows.data(), tasks, threads, cancel);
    const Mat grad = engine->grad_B();
    const Mat grad_M = grad.topRows(k_star), grad_R = grad.bottomRows(grad.rows() - k_star);
    from_coordinates(b_star, view_of(grad_M), view_of(at.E), view_of(grad_R), out_B, threads);
    grad_w = engine->grad_w();
  });
  py::dict out;
  out["B"] = grad_B;
  out["w"] = to_array(grad_w);
  put_losses(out, tasks.losses);
  out["heads"] = to_array(tasks.adapted);
  return out;
}

}  // namespace

void bind_population(py::module_& module, py::class_<Run>& run) {
  run.def_static("population", &open_population, py::kw_only(), py::arg("method"), py::arg("M"),
                 py::arg("R"), py::arg("w"), py::arg("law"), py::arg("n"), py::arg("noise"),
                 py::arg("seed"), py::arg("trials"), py::arg("rounds"), py::arg("records"),
                 py::arg("frames") = py::none(), py::arg("device") = py::none(),
                 py::keep_alive<0, 13>());
  module.def("gradient_population", &gradient_population, py::arg("method"), py::arg("B"),
             py::arg("w"), py::arg("B_star"), py::arg("heads"), py::arg("noise"),
             py::arg("threads"));
}

}  // namespace metaspan::bind
