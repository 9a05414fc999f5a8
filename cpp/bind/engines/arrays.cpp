// Bindings of the engines that work on the user's arrays.
#include "metaspan/engines/arrays.hpp"

#include <algorithm>

#include "../batch.hpp"
#include "../device.hpp"
#include "full_size.hpp"
#include "metaspan/engines/device_arrays.hpp"
#include "metaspan/sweeps/band_copies.hpp"

namespace metaspan::bind {
namespace {

/// Data to which the engines of a run refer, and the batch that owns the memory of the data.
template <class XScalar>
struct HeldArrays {
  std::shared_ptr<Batch> batch;
  ArraysData<XScalar> data;
  DualGram gram;               // of the dual route
  BandCopies<XScalar> copies;  // of sparse sets on the Gram route
  bool is_on_device = false;
};

/// A run on arrays. HeldArrays is the first base class, so that its members are destroyed after the
/// engines.
template <class XScalar, class BScalar>
class ArraysRun : public HeldArrays<XScalar>, public FullSizeRun<BScalar> {
 public:
  using FullSizeRun<BScalar>::FullSizeRun;

  /// Keeps a batch alive, and stores the tasks of the batch.
  void hold(std::shared_ptr<Batch> batch, const TaskSet<XScalar>& tasks) {
    this->data = {tasks, matrix_or_empty(batch->arrays().attr("B_star"), tasks.d),
                  matrix_or_empty(batch->arrays().attr("heads"), 0)};
    this->batch = std::move(batch);
    require(this->data.B_star.rows() == tasks.d, "B_star must fit B");
  }

 protected:
  /// Trials must run one at a time if they share a store or a device, or if they exchange numbers
  /// with other processes.
  bool one_at_a_time() const override {
    const TaskSet<XScalar>& tasks = this->data.tasks;
    return tasks.is_stored() || this->is_on_device || tasks.shared != nullptr;
  }

 private:
  static Mat matrix_or_empty(const py::object& value, Index rows) {
    if (value.is_none()) return Mat(rows, 0);
    return as_matrix(value.cast<Array>());
  }
};

/// A run of the dual route, (24).
template <class XScalar, class BScalar>
class DualRun final : public ArraysRun<XScalar, BScalar> {
 public:
  using ArraysRun<XScalar, BScalar>::ArraysRun;

  /// Returns "A" (trials, N, k), "w" (trials, k) and, if the outer steps remember blocks,
  /// "A_memory" (trials, c - 1, N, k) and "w_memory" (trials, c - 1, k).
  py::dict state() const override {
    const Index count = this->count(), k = this->engine(0).shape().k;
    Array all({count, this->gram.G.rows(), k});
    for (Index i = 0; i < count; ++i) {
      const Mat A = this->engine(i).export_A();
      std::copy_n(A.data(), A.size(), all.mutable_data() + i * A.size());
    }
    py::dict out;
    out["A"] = all;
    this->put_heads(out);
    const Index blocks = this->beside();
    if (blocks == 0) return out;
    Array memory({count, blocks, this->gram.G.rows(), k});
    for (Index i = 0; i < count; ++i) {
      const Mat A = this->engine(i).export_A_memory();
      std::copy_n(A.data(), A.size(), memory.mutable_data() + i * A.size());
    }
    out["A_memory"] = memory;
    return out;
  }
};

/// The state from which the trials start or are resumed.
struct ArraysState {
  py::array B;                    // (trials, d, k); for the dual route B of round 0
  Array w;                        // (trials, parameters)
  std::optional<Array> A;         // (trials, samples, k) if a dual run is resumed
  std::optional<Array> A_memory;  // (trials, c - 1, samples, k), likewise
  Memory memory;
};

/// Converts a dictionary with "B", "w", perhaps "A" and the blocks beside each, and checks the
/// shapes.
ArraysState as_state(const Method& method, const py::dict& state, std::size_t trials) {
  ArraysState from{
      state["B"].cast<py::array>(), state["w"].cast<Array>(), std::nullopt, std::nullopt, {}};
  if (state.contains("A")) from.A = state["A"].cast<Array>();
  if (state.contains("A_memory")) from.A_memory = state["A_memory"].cast<Array>();
  if (state.contains("memory")) from.memory.B = state["memory"].cast<py::array>();
  if (state.contains("w_memory")) from.memory.w = state["w_memory"].cast<Array>();
  require_representations(from.B, trials);
  const auto count = static_cast<Index>(trials);
  require(from.w.ndim() == 2 && from.w.shape(0) == count &&
              from.w.shape(1) == method.parameters(from.B.shape(2)),
          "w must be (trials, parameters)");
  require(!from.A || (from.A->ndim() == 3 && from.A->shape(0) == count &&
                      from.A->shape(2) == from.B.shape(2)),
          "A must be (trials, samples, k)");
  return from;
}

/// Opens a run for the given types of X and B. If the route is the dual route, this function also
/// computes the Gram matrix.
template <class XScalar, class BScalar>
std::unique_ptr<Run> open_typed(const Method& method, const std::string& route,
                                const std::shared_ptr<Batch>& batch, const TaskSet<XScalar>& data,
                                const ArraysState& state, Index n, std::uint64_t seed,
                                const std::vector<std::uint64_t>& trials,
                                const std::vector<Index>& rounds,
                                const std::vector<std::string>& records, bool copies, int threads,
                                const Device* device) {
  const Index d = state.B.shape(1), k = state.B.shape(2), parameters = method.parameters(k);
  require(d == data.d, "B must fit the data");
  const bool dual = route == "dual";
  std::unique_ptr<ArraysRun<XScalar, BScalar>> run;
  if (dual) {
    run = std::make_unique<DualRun<XScalar, BScalar>>(records, d);
  } else {
    run = std::make_unique<ArraysRun<XScalar, BScalar>>(records, d);
  }
  run->hold(batch, data);
  TaskSet<XScalar>& tasks = run->data.tasks;
  require(n > 0 && n <= tasks.size(), "n must be at most the number of tasks");
  require(!copies || (tasks.is_sparse() && route == "gram" && tasks.shared == nullptr),
          "copies by bands are of sparse sets that are not shared");
  state.memory.require_fit(method, state.B, dual);  // compares types, for which it needs the lock
  interruptible([&](Cancel* cancel) {
    if (dual) run->gram = make_dual_gram(tasks, inner_products_of(method), threads, cancel);
    tasks.in_order = route == "gram";  // also without copies, which depend on free memory
    if (copies) run->copies = copy_by_bands(method, k, tasks, threads, cancel);
    const double* A = dual && state.A ? state.A->data() : nullptr;
    const Index rows = run->gram.G.rows();
    require(A == nullptr || state.A->shape(1) == rows, "A must have a row for every sample");
    const Index blocks = method.step.blocks() - 1;
    require(!state.A_memory ||
                (state.A_memory->size() == static_cast<Index>(trials.size()) * blocks * rows * k),
            "A_memory must be (trials, blocks, samples, k)");
    std::shared_ptr<DeviceRoute<XScalar, BScalar>> on_device;
    if (device != nullptr) {
      run->is_on_device = true;
      on_device =
          make_device_route<XScalar, BScalar>(as_route(route), {&device->module()}, method, tasks,
                                              k, n, static_cast<int>(2 * trials.size()));
    }
    for (std::size_t at = 0; at < trials.size(); ++at) {
      const auto i = static_cast<Index>(at);
      ArraysStart<BScalar> start =
          start_of<BScalar>(method, state.B, state.w, i, n, seed, trials[at], state.memory);
      if (A != nullptr) start.A = A + i * rows * k;
      if (state.A_memory) start.A_memory = state.A_memory->data() + i * blocks * rows * k;
      auto engine =
          dual
              ? make_dual<XScalar, BScalar>(method, run->data, run->gram, k, start, threads, cancel)
          : device != nullptr
              ? make_device_arrays<XScalar, BScalar>(on_device, {&device->module()}, method,
                                                     run->data, k, start)
              : make_arrays<XScalar, BScalar>(as_route(route), method, run->data, k, start);
      run->add(std::move(engine), rounds[at], method);
    }
  });
  return run;
}

/// Opens a run whose trials share the data of one batch.
std::unique_ptr<Run> open_arrays(const Method& method, const std::string& route,
                                 const std::shared_ptr<Batch>& data, const py::dict& state, Index n,
                                 std::uint64_t seed, const std::vector<std::uint64_t>& trials,
                                 const std::vector<Index>& rounds,
                                 const std::vector<std::string>& records, bool copies, int threads,
                                 const Device* device) {
  require(rounds.size() == trials.size(), "rounds must have one element per trial");
  const ArraysState from = as_state(method, state, trials.size());
  return data->visit_on(device != nullptr, [&](auto x, const auto& tasks) {
    return with_scalar(from.B, [&](auto b) {
      return open_typed<decltype(x), decltype(b)>(method, route, data, tasks, from, n, seed, trials,
                                                  rounds, records, copies, threads, device);
    });
  });
}

}  // namespace

void bind_arrays(py::class_<Run>& run) {
  run.def_static("arrays", &open_arrays, py::kw_only(), py::arg("method"), py::arg("route"),
                 py::arg("data"), py::arg("state"), py::arg("n"), py::arg("seed"),
                 py::arg("trials"), py::arg("rounds"), py::arg("records"), py::arg("copies"),
                 py::arg("threads"), py::arg("device") = py::none());
}

}  // namespace metaspan::bind
