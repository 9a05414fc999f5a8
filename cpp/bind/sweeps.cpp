// Bindings of sweeps: the gradient of one round on the data of a batch, by the Gram route or the
// vector route, the products of all rows of a batch with matrices, and the products of the first
// sweep.
#include <iterator>

#include "bind.hpp"
#include "convert_laws.hpp"
#include "convert_samples.hpp"
#include "metaspan/sweeps/routes.hpp"
#include "metaspan/sweeps/row_products.hpp"
#include "metaspan/sweeps/sweeps.hpp"

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

/// Returns the elements of a C-contiguous matrix of doubles with the given number of rows, -1 for
/// any number.
const double* doubles_of(const py::array& matrix, Index rows) {
  require(matrix.ndim() == 2 && holds<double>(matrix) && (rows < 0 || matrix.shape(0) == rows) &&
              (matrix.flags() & py::array::c_style) != 0,
          "a factor must be a C-contiguous float64 matrix that fits the samples");
  return static_cast<const double*>(matrix.data());
}

/// Returns the first row of every task and the number of rows, (n + 1,), and the responses, (N,).
py::tuple batch_rows(const Batch& data) {
  return data.visit([](auto, const auto& tasks) {
    const std::vector<Index> offsets = row_offsets(tasks);
    Array y(offsets.back());
    copy_responses(tasks, y.mutable_data());
    return py::make_tuple(
        py::array_t<std::int64_t>(static_cast<py::ssize_t>(offsets.size()), offsets.data()), y);
  });
}

/// Returns X B, (N, k).
Array batch_features(const Batch& data, const py::array& B, int threads) {
  return data.visit([&](auto, const auto& tasks) {
    const double* b = doubles_of(B, tasks.d);
    Array Z({row_offsets(tasks).back(), B.shape(1)});
    double* out = Z.mutable_data();
    const Index k = B.shape(1);
    interruptible([&](Cancel* cancel) { features_of_rows(tasks, b, k, out, threads, cancel); });
    return Z;
  });
}

/// Returns X^T C, (d, k).
Array batch_combine(const Batch& data, const py::array& C, int threads) {
  return data.visit([&](auto, const auto& tasks) {
    const double* c = doubles_of(C, row_offsets(tasks).back());
    Array sum({tasks.d, C.shape(1)});
    double* out = sum.mutable_data();
    const Index k = C.shape(1);
    interruptible([&](Cancel* cancel) { combine_all_rows(tasks, c, k, out, threads, cancel); });
    return sum;
  });
}

/// Returns X^T transform(X B), (d, k). transform(Z, first, end) is called with the rows Z of X B of
/// the tasks [first, end), and returns a matrix of the shape of Z.
Array batch_combine_features(const Batch& data, const py::array& B, const py::object& transform,
                             int threads) {
  return data.visit([&](auto, const auto& tasks) {
    const double* b = doubles_of(B, tasks.d);
    const std::vector<Index> offsets = row_offsets(tasks);
    const Index k = B.shape(1);
    Array sum({tasks.d, k});
    double* out = sum.mutable_data();
    const auto call_back = [&](Index first, Index count, const double* Z, double* C) {
      const Index rows = offsets[static_cast<std::size_t>(first + count)] -
                         offsets[static_cast<std::size_t>(first)];
      const Locked lock;
      const auto rows_of_C =
          call(transform, Array({rows, k}, Z), first, first + count).template cast<Array>();
      require(rows_of_C.ndim() == 2 && rows_of_C.shape(0) == rows && rows_of_C.shape(1) == k,
              "transform must return a matrix of the shape of its argument");
      std::copy_n(rows_of_C.data(), rows * k, C);
    };
    interruptible([&](Cancel* cancel) {
      combine_features_of_rows(tasks, b, k, call_back, out, threads, cancel);
    });
    return sum;
  });
}

/// Returns the Gram matrices X_i X_i^T, (m_i, m_i), of the tasks [first, end).
py::list batch_grams(const Batch& data, Index first, Index end, int threads) {
  return data.visit([&](auto, const auto& tasks) {
    require(0 <= first && first <= end && end <= tasks.size(), "tasks must be of the batch");
    std::vector<Mat> grams;
    interruptible(
        [&](Cancel* cancel) { grams = grams_of_rows(tasks, first, end - first, threads, cancel); });
    py::list arrays;
    for (const Mat& gram : grams) arrays.append(to_array(gram));
    return arrays;
  });
}

/// Computes the products (5) of all tasks of a batch by the first sweep, one block of a store after
/// another, for the given types of X and B. The padding columns of X B are dropped.
template <class XScalar, class BScalar>
py::list typed_products(const py::array& B, const TaskSet<XScalar>& tasks, int threads) {
  const auto* b = static_cast<const BScalar*>(B.data());
  const Index k = B.shape(1);
  const TaskSelection every{tasks.size()};
  std::vector<TaskProducts> all;
  interruptible([&](Cancel* cancel) {
    const Index pieces = pieces_of(tasks, every.n);
    const auto blocks = blocks_of<BScalar>(tasks, every, k, every.n);
    each_block(tasks, every, blocks,
               [&](const auto& held, const TaskSelection& taken, const Block&) {
                 std::vector<TaskProducts> products;
                 first_sweep<XScalar, BScalar>(b, k, held, taken, {true, true}, pieces, threads,
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
py::list task_products(const py::array& B, const Batch& data, int threads) {
  return data.visit([&](auto x, const auto& tasks) {
    require(B.ndim() == 2 && B.shape(0) == tasks.d && (B.flags() & py::array::c_style) != 0,
            "B must be a C-contiguous matrix (d, k)");
    return with_scalar(
        B, [&](auto b) { return typed_products<decltype(x), decltype(b)>(B, tasks, threads); });
  });
}

}  // namespace

void bind_sweeps(py::module_& module) {
  module.def("gradient_arrays", &gradient_arrays, py::arg("method"), py::arg("route"), py::arg("B"),
             py::arg("w"), py::arg("data"), py::arg("threads"), py::arg("losses"));
  module.def("batch_rows", &batch_rows, py::arg("data"));
  module.def("batch_features", &batch_features, py::arg("data"), py::arg("B"), py::arg("threads"));
  module.def("batch_combine", &batch_combine, py::arg("data"), py::arg("C"), py::arg("threads"));
  module.def("batch_combine_features", &batch_combine_features, py::arg("data"), py::arg("B"),
             py::arg("transform"), py::arg("threads"));
  module.def("batch_grams", &batch_grams, py::arg("data"), py::arg("first"), py::arg("end"),
             py::arg("threads"));
  module.def("task_products", &task_products, py::arg("B"), py::arg("data"), py::arg("threads"));
}

}  // namespace metaspan::bind
