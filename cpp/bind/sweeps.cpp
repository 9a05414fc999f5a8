// Bindings of sweeps: the gradient of one round on the data of a batch, by the Gram route or the
// vector route.
#include "bind.hpp"
#include "convert_laws.hpp"
#include "convert_samples.hpp"
#include "metaspan/sweeps/routes.hpp"

namespace metaspan::bind {
namespace {

/// Computes the gradient (10) over all tasks of a batch, for the given types of X and B.
template <class XScalar, class BScalar>
py::dict typed_gradient(const Method& method, RouteKind kind, const py::array& B,
                        const py::array& w, const TaskSet<XScalar>& tasks, bool losses,
                        int threads) {
  const BScalar* b = representation<BScalar>(method, B, w, tasks.d);
  const Index d = B.shape(0), k = B.shape(1);
  py::array_t<BScalar> grad_B({d, k});
  BScalar* out_B = grad_B.mutable_data();
  RoundOutputs result;
  interruptible([&](Cancel* cancel) {
    const auto route = make_route<XScalar, BScalar>(kind, method, tasks, k);
    route->gradient(b, static_cast<const double*>(w.data()), {tasks.size()}, losses, out_B, result,
                    threads, cancel);
  });
  py::dict out;
  out["B"] = grad_B;
  out["w"] = to_array(result.w);
  if (losses) put_losses(out, result.losses);
  out["heads"] = to_array(result.adapted);
  return out;
}

/// Computes the gradient (10) over all tasks of a batch, by calling the function for the types of X
/// and B.
py::dict gradient_arrays(const Method& method, const std::string& route, const py::array& B,
                         const py::array& w, const Batch& data, int threads, bool losses) {
  const RouteKind kind = as_route(route);
  return data.visit([&](auto x, const auto& tasks) {
    return with_scalar(B, [&](auto b) {
      return typed_gradient<decltype(x), decltype(b)>(method, kind, B, w, tasks, losses, threads);
    });
  });
}

}  // namespace

void bind_sweeps(py::module_& module) {
  module.def("gradient_arrays", &gradient_arrays, py::arg("method"), py::arg("route"), py::arg("B"),
             py::arg("w"), py::arg("data"), py::arg("threads"), py::arg("losses"));
}

}  // namespace metaspan::bind
