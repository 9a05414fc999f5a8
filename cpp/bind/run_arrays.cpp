// Runs on the user's arrays.
#include <algorithm>

#include "convert_samples.hpp"
#include "metaspan/engines/arrays.hpp"
#include "representations.hpp"
#include "run.hpp"

namespace metaspan::bind {

/// What the engines of a run refer to, and the Python objects whose memory that is.
template <class XScalar>
struct HeldArrays {
  ArraysData<XScalar> data;
  std::unique_ptr<Store<XScalar>> store;
  DualGram gram;
  py::tuple arrays;
};

namespace {

Mat matrix_or_empty(const py::object& value, Index rows) {
  if (value.is_none()) return Mat(rows, 0);
  return as_matrix(value.cast<Array>());
}

/// A of (24), of every trial, (trials, N, k).
template <class BScalar>
py::dict dual_state(const Trials& trials) {
  const auto count = static_cast<Index>(trials.size());
  const Mat first = engine_of<BScalar>(trials, 0).export_A();
  Array all({count, static_cast<Index>(first.rows()), static_cast<Index>(first.cols())});
  for (Index i = 0; i < count; ++i) {
    const Mat own = engine_of<BScalar>(trials, i).export_A();
    std::copy_n(own.data(), own.size(), all.mutable_data() + i * own.size());
  }
  py::dict out;
  out["A"] = all;
  return out;
}

}  // namespace

std::unique_ptr<Run> Run::arrays(const py::tuple& method, const std::string& route,
                                 const py::tuple& data, const py::dict& state, Index n,
                                 std::uint64_t seed, const std::vector<std::uint64_t>& trials,
                                 const std::vector<Index>& rounds,
                                 const std::vector<std::string>& records, int threads) {
  auto run = std::make_unique<Run>();
  const Method m = as_method(method);
  const auto B = state["B"].cast<py::array>();
  with_scalar_of(data[1], [&](auto x) {
    with_scalar(B, [&](auto b) {
      run->fill_arrays<decltype(x), decltype(b)>(m, route, data, state, n, seed, trials, rounds,
                                                 threads);
    });
  });
  run->set_records(records);
  return run;
}

template <class XScalar, class BScalar>
void Run::fill_arrays(const Method& method, const std::string& route, const py::tuple& data,
                      const py::dict& state, Index n, std::uint64_t seed,
                      const std::vector<std::uint64_t>& trials, const std::vector<Index>& rounds,
                      int threads) {
  const auto B = state["B"].cast<py::array>();
  const auto w = state["w"].cast<Array>();
  const auto count = static_cast<Index>(trials.size());
  require(B.ndim() == 3 && w.ndim() == 2 && B.shape(0) == count && w.shape(0) == count &&
              w.shape(1) == B.shape(2) && (B.flags() & py::array::c_style) != 0 &&
              rounds.size() == trials.size(),
          "B must be (trials, d, k), w (trials, k), a round for every trial");
  const Index d = B.shape(1), k = B.shape(2);
  const auto held = std::make_shared<HeldArrays<XScalar>>();
  held_ = held;
  held->arrays = data;
  Data<XScalar> given = as_data<XScalar>(data, d);
  held->store = std::move(given.store);
  shares_store_ = held->store != nullptr;
  held->data = {std::move(given.tasks), matrix_or_empty(data[4], d), matrix_or_empty(data[5], 0)};
  const TaskSet<XScalar>& tasks = held->data.tasks;
  require(n > 0 && n <= tasks.size() && held->data.B_star.rows() == d, "the batch must fit");
  const bool dual = route == "dual", goes_on = dual && state.contains("A");
  const Array A = goes_on ? state["A"].cast<Array>() : Array();
  require(!goes_on || (A.ndim() == 3 && A.shape(0) == count && A.shape(2) == k),
          "A must be (trials, samples, k)");
  interruptible([&](Cancel* cancel) {
    if (dual) held->gram = make_dual_gram(tasks, inner_products_of(method), threads, cancel);
    require(!goes_on || A.shape(1) == held->gram.G.rows(), "A must have a row for every sample");
    for (Index i = 0; i < count; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const ArraysStart<BScalar> start{static_cast<const BScalar*>(B.data()) + i * d * k,
                                       ConstVec(w.data() + i * k, k),
                                       goes_on ? A.data() + i * A.shape(1) * k : nullptr,
                                       n,
                                       seed,
                                       trials[at]};
      std::unique_ptr<Engine> engine;
      if (dual) {
        engine =
            make_dual<XScalar, BScalar>(method, held->data, held->gram, k, start, threads, cancel);
      } else {
        engine = make_arrays<XScalar, BScalar>(as_route(route), method, held->data, k, start);
      }
      trials_.push_back(std::make_unique<Trial>(std::move(engine), rounds[at], method.alpha));
    }
  });
  representation_ = [this, d](int inner) { return representations<BScalar>(trials_, d, inner); };
  state_ = [this, d, dual] {
    py::dict out = dual ? dual_state<BScalar>(trials_) : py::dict();
    if (!dual) out["B"] = representations<BScalar>(trials_, d, 1);
    out["w"] = heads_of(trials_);
    return out;
  };
}

}  // namespace metaspan::bind
