// Bindings of the inner loop and of features X B on the user's arrays.
#include "../batch.hpp"
#include "../convert_laws.hpp"
#include "../device.hpp"
#include "metaspan/engines/device_arrays.hpp"
#include "run.hpp"

namespace metaspan::bind {
namespace {

/// Computes w_J of every task and, if want_B is true, B_J of every task, for the given types of X
/// and B.
template <class XScalar, class BScalar>
py::tuple typed_adapt(const Method& method, const py::array& B, const py::array& w,
                      const TaskSet<XScalar>& tasks, bool want_B, int threads,
                      const Device* device) {
  const BScalar* b = representation<BScalar>(method, B, w, tasks.d);
  const Index d = B.shape(0), k = B.shape(1), n = tasks.size();
  Array heads({n, k});
  double* out_heads = heads.mutable_data();
  py::object B_J = py::none();
  BScalar* out_B = nullptr;
  if (want_B) {
    py::array_t<BScalar> adapted({n, d, k});
    out_B = adapted.mutable_data();
    B_J = adapted;
  }
  const auto* head = static_cast<const double*>(w.data());
  interruptible([&](Cancel* cancel) {
    if (device != nullptr) {
      adapt_on_device<XScalar, BScalar>({&device->module()}, method, b, head, k, tasks, out_heads,
                                        out_B, threads, cancel);
    } else {
      adapt_on_arrays<XScalar, BScalar>(method, b, head, k, tasks, out_heads, out_B, threads,
                                        cancel);
    }
  });
  return py::make_tuple(heads, B_J);
}

/// Runs the inner loop of every task, by calling the function for the types of X and B.
py::tuple adapt_arrays(const Method& method, const py::array& B, const py::array& w,
                       const Batch& data, bool want_B, int threads, const Device* device) {
  return data.visit_on(device != nullptr, [&](auto x, const auto& tasks) {
    return with_scalar(B, [&](auto b) {
      return typed_adapt<decltype(x), decltype(b)>(method, B, w, tasks, want_B, threads, device);
    });
  });
}

/// Computes X B of every task, for the given types of X and B.
template <class XScalar, class BScalar>
Array typed_project(const py::array& X, const py::array& B, int threads) {
  const py::ssize_t n = X.shape(0), m = X.shape(1), d = X.shape(2), k = B.shape(1);
  const py::ssize_t size = sizeof(XScalar);
  require(d <= 1 || X.strides(2) == size, "rows must be contiguous");
  TaskSet<XScalar> tasks{d, {}, {}};
  for (py::ssize_t i = 0; i < n; ++i) {
    tasks.inner.push_back(
        {DenseRows<XScalar>{static_cast<const XScalar*>(X.data(i)), X.strides(1) / size}, nullptr,
         m});
  }
  const auto* b = static_cast<const BScalar*>(B.data());
  Array out({n, m, k});
  MutMat Z(out.mutable_data(), n * m, k);
  interruptible(
      [&](Cancel* cancel) { Z = project<XScalar, BScalar>(b, k, tasks, threads, cancel); });
  return out;
}

/// Checks shapes and computes X B of every task, by calling the function for the types of X and B.
Array project_arrays(const py::array& X, const py::array& B, int threads) {
  require(X.ndim() == 3 && B.ndim() == 2 && X.shape(2) == B.shape(0) &&
              (B.flags() & py::array::c_style) != 0,
          "X must be (n, m, d) and B (d, k)");
  return with_scalar(X, [&](auto x) {
    return with_scalar(
        B, [&](auto b) { return typed_project<decltype(x), decltype(b)>(X, B, threads); });
  });
}

}  // namespace

void bind_adapt(py::module_& module) {
  module.def("adapt_arrays", &adapt_arrays, py::arg("method"), py::arg("B"), py::arg("w"),
             py::arg("data"), py::arg("want_B"), py::arg("threads"),
             py::arg("device") = py::none());
  module.def("project", &project_arrays, py::arg("X"), py::arg("B"), py::arg("threads"));
}

}  // namespace metaspan::bind
