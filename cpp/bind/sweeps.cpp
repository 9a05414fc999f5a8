// Bindings of sweeps: the gradient of one round on the data of a batch, by the Gram route or the
// vector route, and the products of the first sweep.
#include <iterator>

#include "batch.hpp"
#include "bind.hpp"
#include "convert_laws.hpp"
#include "device.hpp"
#include "metaspan/engines/device_arrays.hpp"
#include "metaspan/sweeps/routes.hpp"
#include "metaspan/sweeps/sweeps.hpp"

namespace metaspan::bind {
namespace {

/// Computes the gradient (10) over all tasks of a batch, for the given types of X and B.
template <class XScalar, class BScalar>
py::dict typed_gradient(const Method& method, RouteKind kind, const py::array& B,
                        const py::array& w, const TaskSet<XScalar>& tasks, bool losses, int threads,
                        const Device* device) {
  const BScalar* b = representation<BScalar>(method, B, w, tasks.d);
  const Index d = B.shape(0), k = B.shape(1);
  py::array_t<BScalar> grad_B({d, k});
  BScalar* out_B = grad_B.mutable_data();
  RoundOutputs result;
  const auto* head = static_cast<const double*>(w.data());
  interruptible([&](Cancel* cancel) {
    if (device != nullptr) {
      gradient_on_device<XScalar, BScalar>({&device->module()}, kind, method, b, head, k, tasks,
                                           losses, out_B, result, threads, cancel);
    } else {
      const auto route = make_route<XScalar, BScalar>(kind, method, tasks, k);
      route->gradient(b, head, {tasks.size()}, losses, out_B, result, threads, cancel);
    }
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
                         const py::array& w, const Batch& data, int threads, bool losses,
                         const Device* device) {
  const RouteKind kind = as_route(route);
  return data.visit_on(device != nullptr, [&](auto x, const auto& tasks) {
    return with_scalar(B, [&](auto b) {
      return typed_gradient<decltype(x), decltype(b)>(method, kind, B, w, tasks, losses, threads,
                                                      device);
    });
  });
}

/// Computes the products (5) of all tasks of a batch by the first sweep, one block of a store after
/// another, for the given types of X and B. The padding columns of X B are dropped.
template <class XScalar, class BScalar>
py::list typed_products(const py::array& B, const TaskSet<XScalar>& tasks, int threads,
                        const Device* device) {
  const auto* b = static_cast<const BScalar*>(B.data());
  const Index k = B.shape(1);
  const TaskSelection every{tasks.size()};
  std::vector<TaskProducts> all;
  interruptible([&](Cancel* cancel) {
    if (device != nullptr) {
      return products_on_device<XScalar, BScalar>({&device->module()}, b, k, tasks, all, threads,
                                                  cancel);
    }
    const Shard shard = tasks.shard();
    const auto blocks = blocks_of<BScalar>(tasks, every, k, every.n);
    each_block(tasks, every, blocks,
               [&](const auto& held, const TaskSelection& taken, const Block&) {
                 std::vector<TaskProducts> products;
                 first_sweep<XScalar, BScalar>(b, k, held, taken, {true, true}, shard, threads,
                                               cancel, products);
                 std::move(products.begin(), products.end(), std::back_inserter(all));
               });
  });
  py::list out;
  for (const TaskProducts& task : all) {
    out.append(py::make_tuple(to_array(Mat(task.Z_in.leftCols(k))),
                              to_array(Mat(task.Z_out.leftCols(k))), to_array(task.K),
                              to_array(task.K_cross)));
  }
  return out;
}

/// Checks B and computes the products (5) of all tasks of a batch, by calling the function for the
/// types of X and B.
py::list task_products(const py::array& B, const Batch& data, int threads, const Device* device) {
  return data.visit_on(device != nullptr, [&](auto x, const auto& tasks) {
    require(B.ndim() == 2 && B.shape(0) == tasks.d && (B.flags() & py::array::c_style) != 0,
            "B must be a C-contiguous matrix (d, k)");
    return with_scalar(B, [&](auto b) {
      return typed_products<decltype(x), decltype(b)>(B, tasks, threads, device);
    });
  });
}

}  // namespace

void bind_sweeps(py::module_& module) {
  module.def("gradient_arrays", &gradient_arrays, py::arg("method"), py::arg("route"), py::arg("B"),
             py::arg("w"), py::arg("data"), py::arg("threads"), py::arg("losses"),
             py::arg("device") = py::none());
  module.def("task_products", &task_products, py::arg("B"), py::arg("data"), py::arg("threads"),
             py::arg("device") = py::none());
}

}  // namespace metaspan::bind
