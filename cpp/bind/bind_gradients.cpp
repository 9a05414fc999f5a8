#include "bind.hpp"
#include "convert_laws.hpp"
#include "convert_samples.hpp"
#include "metaspan/engines/arrays.hpp"
#include "metaspan/engines/population.hpp"

namespace metaspan::bind {
namespace {

py::dict gradient_population(const py::tuple& method, const Array& M, const Array& R,
                             const Array& w, const Array& heads, double noise, int threads) {
  const ConstMat top = as_matrix(M), bottom = as_matrix(R), rows = as_matrix(heads);
  require(top.cols() == bottom.cols() && w.size() == top.cols() && rows.cols() == top.rows(),
          "M, R, w and heads must fit");
  Mat Z(top.rows() + bottom.rows(), top.cols());
  Z << top, bottom;
  HeadLaw law;
  law.kind = HeadLaw::Kind::given;
  law.k_star = top.rows();
  TaskOutputs tasks;
  tasks.want_losses = tasks.want_adapted = true;
  const Index k = Z.cols();
  const auto engine =
      make_population(as_method(method), {std::move(Z), as_vector(w), Mat::Identity(k, k)},
                      HeadSource(law, rows.rows(), 0, 0), rows.rows(), noise);
  interruptible([&](Cancel* cancel) { engine->gradient(0, rows.data(), tasks, threads, cancel); });
  py::dict out;
  const Mat grad = engine->grad_B();
  out["grad_M"] = to_array(Mat(grad.topRows(top.rows())));
  out["grad_R"] = to_array(Mat(grad.bottomRows(bottom.rows())));
  out["grad_w"] = to_array(engine->grad_w());
  out["loss_in"] = to_array(Vec(tasks.losses.row(0)));
  out["loss_adapted"] = to_array(Vec(tasks.losses.row(1)));
  out["loss_out"] = to_array(Vec(tasks.losses.row(2)));
  out["heads"] = to_array(tasks.adapted);
  return out;
}

/// B (d, k) in place and w (k,), checked against each other.
template <class Scalar>
const Scalar* representation(const py::array& B, const Array& w) {
  require(B.ndim() == 2 && holds<Scalar>(B) && (B.flags() & py::array::c_style) != 0,
          "B must be a C-contiguous matrix");
  require(w.ndim() == 1 && w.shape(0) == B.shape(1), "w must fit B");
  return static_cast<const Scalar*>(B.data());
}

template <class XScalar, class BScalar>
py::dict typed_gradient(const Method& method, RouteKind kind, const py::array& B, const Array& w,
                        const py::tuple& data, bool losses, int threads) {
  const BScalar* b = representation<BScalar>(B, w);
  const Index d = B.shape(0), k = B.shape(1);
  const Data<XScalar> held = as_data<XScalar>(data, d);
  const TaskSet<XScalar>& tasks = held.tasks;
  py::array_t<BScalar> grad_B({d, k});
  BScalar* out_B = grad_B.mutable_data();
  RoundOutputs result;
  interruptible([&](Cancel* cancel) {
    const auto route = make_route<XScalar, BScalar>(kind, method, tasks, k);
    route->gradient(b, w.data(), {tasks.size()}, losses, out_B, result, threads, cancel);
  });
  py::dict out;
  out["B"] = grad_B;
  out["w"] = to_array(result.w);
  if (losses) {
    out["loss_in"] = to_array(Vec(result.losses.row(0)));
    out["loss_adapted"] = to_array(Vec(result.losses.row(1)));
    out["loss_out"] = to_array(Vec(result.losses.row(2)));
  }
  out["heads"] = to_array(result.adapted);
  return out;
}

py::dict gradient_arrays(const py::tuple& method, const std::string& route, const py::array& B,
                         const Array& w, const py::tuple& data, int threads, bool losses) {
  const Method m = as_method(method);
  const RouteKind kind = as_route(route);
  return with_scalar_of(data[1], [&](auto x) {
    return with_scalar(B, [&](auto b) {
      return typed_gradient<decltype(x), decltype(b)>(m, kind, B, w, data, losses, threads);
    });
  });
}

template <class XScalar, class BScalar>
py::tuple typed_adapt(const Method& method, const py::array& B, const Array& w,
                      const py::tuple& data, bool want_B, int threads) {
  const BScalar* b = representation<BScalar>(B, w);
  const Index d = B.shape(0), k = B.shape(1);
  const Data<XScalar> held = as_data<XScalar>(data, d);
  const TaskSet<XScalar>& tasks = held.tasks;
  const Index n = tasks.size();
  Array heads({n, k});
  double* out_heads = heads.mutable_data();
  py::object B_J = py::none();
  BScalar* out_B = nullptr;
  if (want_B) {
    py::array_t<BScalar> adapted({n, d, k});
    out_B = adapted.mutable_data();
    B_J = adapted;
  }
  interruptible([&](Cancel* cancel) {
    adapt_on_arrays<XScalar, BScalar>(method, b, w.data(), k, tasks, out_heads, out_B, threads,
                                      cancel);
  });
  return py::make_tuple(heads, B_J);
}

py::tuple adapt_arrays(const py::tuple& method, const py::array& B, const Array& w,
                       const py::tuple& data, bool want_B, int threads) {
  const Method m = as_method(method);
  return with_scalar_of(data[1], [&](auto x) {
    return with_scalar(B, [&](auto b) {
      return typed_adapt<decltype(x), decltype(b)>(m, B, w, data, want_B, threads);
    });
  });
}

}  // namespace

void bind_gradients(py::module_& module) {
  module.def("gradient_population", &gradient_population, py::arg("method"), py::arg("M"),
             py::arg("R"), py::arg("w"), py::arg("heads"), py::arg("noise"), py::arg("threads"));
  module.def("gradient_arrays", &gradient_arrays, py::arg("method"), py::arg("route"), py::arg("B"),
             py::arg("w"), py::arg("data"), py::arg("threads"), py::arg("losses"));
  module.def("adapt_arrays", &adapt_arrays, py::arg("method"), py::arg("B"), py::arg("w"),
             py::arg("data"), py::arg("want_B"), py::arg("threads"));
}

}  // namespace metaspan::bind
