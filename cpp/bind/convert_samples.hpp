// Conversions of the user's data. The data are stacks whose first axis is the task, one array for
// each task, sparse rows, or X in a store. The arrays are not copied, and the caller must keep them
// alive.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "convert.hpp"
#include "device_array.hpp"
#include "metaspan/algebra/method.hpp"
#include "metaspan/sweeps/leaf_copies.hpp"
#include "python_store.hpp"

namespace metaspan::bind {

/// Returns the elements of B (d, k), after a check that the shape of w (parameters,) fits B and the
/// method. Neither B nor w is copied.
template <class Scalar>
const Scalar* representation(const Method& method, const py::array& B, const py::array& w,
                             Index d) {
  require(
      B.ndim() == 2 && B.shape(0) == d && holds<Scalar>(B) && (B.flags() & py::array::c_style) != 0,
      "B must be a C-contiguous matrix (d, k)");
  require(w.ndim() == 1 && w.shape(0) == method.parameters(B.shape(1)) && holds<double>(w) &&
              (w.flags() & py::array::c_style) != 0,
          "w must fit B");
  return static_cast<const Scalar*>(B.data());
}

/// Converts one dense data set, X (m, d) and y (m,). The elements of each row of X must be
/// contiguous, but rows may be any distance apart.
template <class Scalar>
Samples<Scalar> as_samples(const py::array& X, const py::array& y, Index d) {
  require(holds<Scalar>(X) && holds<Scalar>(y), "all data must have one dtype");
  require(X.ndim() == 2 && y.ndim() == 1 && X.shape(0) == y.shape(0) && X.shape(1) == d,
          "X must be (m, d) and y (m,)");
  const py::ssize_t size = sizeof(Scalar);
  require((d <= 1 || X.strides(1) == size) && (y.shape(0) <= 1 || y.strides(0) == size) &&
              X.strides(0) % size == 0,
          "rows must be contiguous");
  return {DenseRows<Scalar>{static_cast<const Scalar*>(X.data()), X.strides(0) / size},
          static_cast<const Scalar*>(y.data()), X.shape(0)};
}

/// Converts one sparse data set. X is the tuple (starts, columns, values). The caller must have
/// checked the columns with sparse_fault().
template <class Scalar>
Samples<Scalar> as_sparse_samples(const py::tuple& X, const py::array& y, Index d) {
  require(X.size() == 3 && py::isinstance<py::array_t<std::int64_t>>(X[0]) &&
              py::isinstance<py::array_t<std::int32_t>>(X[1]),
          "sparse rows must be (starts, columns, values)");
  const auto starts = X[0].cast<py::array>(), columns = X[1].cast<py::array>();
  const auto values = X[2].cast<py::array>();
  require(holds<Scalar>(values) && holds<Scalar>(y), "all data must have one dtype");
  const auto is_vector = [](const py::array& a) {
    return a.ndim() == 1 && (a.shape(0) <= 1 || a.strides(0) == a.itemsize());
  };
  require(is_vector(starts) && is_vector(columns) && is_vector(values) && is_vector(y) &&
              starts.shape(0) == y.shape(0) + 1 && d <= std::numeric_limits<std::int32_t>::max(),
          "sparse rows must be contiguous and fit y");
  const auto* first = static_cast<const std::int64_t*>(starts.data());
  const Index m = y.shape(0);
  require(first[0] >= 0 && std::is_sorted(first, first + m + 1) &&
              first[m] <= std::min(columns.shape(0), values.shape(0)),
          "starts must be sorted and within the entries");
  return {SparseRows<Scalar>{first, static_cast<const std::int32_t*>(columns.data()),
                             static_cast<const Scalar*>(values.data())},
          static_cast<const Scalar*>(y.data()), m};
}

/// Converts one dense data set whose X (m, d) is in device memory, and whose y (m,) is not.
template <class Scalar>
Samples<Scalar> as_device_samples(const DeviceArray& X, const py::array& y, Index d) {
  require(X.holds<Scalar>() && holds<Scalar>(y), "all data must have one dtype");
  require(X.axes() == 2 && y.ndim() == 1 && X.shape[0] == y.shape(0) && X.shape[1] == d,
          "X must be (m, d) and y (m,)");
  require(X.has_contiguous_rows() && (y.shape(0) <= 1 || y.strides(0) == sizeof(Scalar)),
          "rows must be contiguous");
  return {DenseRows<Scalar>{X.numbers<Scalar>(), X.strides[0]},
          static_cast<const Scalar*>(y.data()), X.shape[0]};
}

/// Whether X, a stack or a sequence with one item per task, is in device memory.
inline bool is_on_device(const py::object& X) {
  if (py::isinstance<DeviceArray>(X)) return true;
  if (!py::isinstance<py::list>(X) && !py::isinstance<py::tuple>(X)) return false;
  const auto tasks = py::reinterpret_borrow<py::sequence>(X);
  return tasks.size() > 0 && py::isinstance<DeviceArray>(tasks[0]);
}

/// Converts the sets of n tasks: either a stack X (n, m, d) with y (n, m), or a sequence of n
/// matrices X (m_i, d), in host or in device memory, or n sets of sparse rows, with a sequence of n
/// arrays y (m_i,).
template <class Scalar>
std::vector<Samples<Scalar>> as_sample_sets(const py::object& X, const py::object& y, Index d) {
  std::vector<Samples<Scalar>> sets;
  if (!py::isinstance<py::array>(X) || !py::isinstance<py::array>(y)) {
    // If X or y is a stack, its items are views of the memory of the stack, and this memory stays
    // allocated longer than the views are used.
    const py::list all_X(X), all_y(y);
    require(all_X.size() == all_y.size(), "X and y must have the same number of sets");
    const bool on_device = is_on_device(X);
    for (std::size_t i = 0; i < all_X.size(); ++i) {
      if (on_device) {
        sets.push_back(as_device_samples<Scalar>(all_X[i].cast<const DeviceArray&>(),
                                                 all_y[i].cast<py::array>(), d));
        continue;
      }
      const bool sparse = py::isinstance<py::tuple>(all_X[i]);
      require(
          (sparse || py::isinstance<py::array>(all_X[i])) && py::isinstance<py::array>(all_y[i]),
          "a task's data must be arrays");
      const auto task_y = all_y[i].cast<py::array>();
      sets.push_back(sparse ? as_sparse_samples<Scalar>(all_X[i].cast<py::tuple>(), task_y, d)
                            : as_samples<Scalar>(all_X[i].cast<py::array>(), task_y, d));
      require(sets.front().is_sparse() == sparse, "all sets must be sparse, or none");
    }
    return sets;
  }
  const auto stack = X.cast<py::array>(), responses = y.cast<py::array>();
  const py::ssize_t size = sizeof(Scalar);
  require(holds<Scalar>(stack) && holds<Scalar>(responses) && stack.ndim() == 3 &&
              responses.ndim() == 2 && stack.shape(0) == responses.shape(0) &&
              stack.shape(1) == responses.shape(1) && stack.shape(2) == d,
          "X must be (n, m, d) and y (n, m), of one dtype");
  require((d <= 1 || stack.strides(2) == size) &&
              (responses.shape(1) <= 1 || responses.strides(1) == size) &&
              stack.strides(1) % size == 0,
          "rows must be contiguous");
  for (py::ssize_t i = 0; i < stack.shape(0); ++i) {
    sets.push_back({DenseRows<Scalar>{static_cast<const Scalar*>(stack.data(i, 0, 0)),
                                      stack.strides(1) / size},
                    static_cast<const Scalar*>(responses.data(i, 0)), stack.shape(1)});
  }
  return sets;
}

/// Converts the sets of tasks whose X is in a store. The responses y of these sets are a stack or a
/// sequence. Set i gets the number first_number + i. Two sets that have the same number and the
/// same responses count as one set.
template <class Scalar>
std::vector<Samples<Scalar>> as_stored_sets(const py::object& y, Index first_number) {
  std::vector<Samples<Scalar>> sets;
  const py::list responses(y);
  for (std::size_t i = 0; i < responses.size(); ++i) {
    const auto task_y = responses[i].template cast<py::array>();
    require(holds<Scalar>(task_y) && task_y.ndim() == 1 &&
                (task_y.shape(0) <= 1 || task_y.strides(0) == sizeof(Scalar)),
            "y must be (m,), contiguous, of one dtype");
    sets.push_back({StoredRows{first_number + static_cast<Index>(i)},
                    static_cast<const Scalar*>(task_y.data()), task_y.shape(0)});
  }
  return sets;
}

/// Whether the data are doubles, according to the dtype of the responses y. The responses are a
/// stack or a sequence of arrays.
inline bool holds_doubles(const py::object& y) {
  const auto is_double = [](const py::array& a) {
    return with_scalar(a, [](auto x) { return std::is_same_v<decltype(x), double>; });
  };
  if (py::isinstance<py::array>(y)) return is_double(y.cast<py::array>());
  const auto sets = y.cast<std::vector<py::array>>();
  require(!sets.empty(), "data must have at least one task");
  return is_double(sets.front());
}

/// Converted data, the store of X if X is not in memory, and copies to which sets refer.
template <class Scalar>
struct Data {
  TaskSet<Scalar> tasks;
  std::unique_ptr<Store<Scalar>> store;
  LeafCopies<Scalar> copies;  // of sparse sets whose columns are shared
};

/// Converts a CoreData. If the CoreData has a reader, X_in and X_out are None, and the reader
/// becomes the store. If y_out is None, there are only inner sets. If the CoreData has a shard, all
/// arrays hold the d columns of this process.
template <class Scalar>
Data<Scalar> as_data(const py::object& data, Index d) {
  Data<Scalar> converted{{d, {}, {}}, nullptr, {}};
  TaskSet<Scalar>& tasks = converted.tasks;
  const py::object reader = data.attr("reader");
  const py::object y_in = data.attr("y_in"), y_out = data.attr("y_out");
  const bool has_outer = !y_out.is_none();
  if (reader.is_none()) {
    tasks.inner = as_sample_sets<Scalar>(data.attr("X_in"), y_in, d);
    tasks.on_device = is_on_device(data.attr("X_in"));
    require(!has_outer || tasks.on_device == is_on_device(data.attr("X_out")),
            "all sets must be in device memory, or none");
    if (has_outer) tasks.outer = as_sample_sets<Scalar>(data.attr("X_out"), y_out, d);
  } else {
    tasks.inner = as_stored_sets<Scalar>(y_in, 0);
    const Index first = reader.attr("shared").cast<bool>() ? 0 : tasks.size();
    if (has_outer) tasks.outer = as_stored_sets<Scalar>(y_out, first);
    converted.store = std::make_unique<PythonStore<Scalar>>(reader);
    tasks.store = converted.store.get();
  }
  tasks.shared = data.attr("shard").cast<std::shared_ptr<Shard>>();
  require(tasks.shared == nullptr || (tasks.shared->size() == d && !tasks.on_device),
          "the data must have the columns of the shard, in host memory");
  const py::object weights = data.attr("weights");
  if (!weights.is_none()) tasks.weights = weights.cast<std::vector<double>>();
  require(tasks.weights.empty() || static_cast<Index>(tasks.weights.size()) == tasks.size(),
          "weights must be (n,)");
  require(tasks.size() > 0 && (!has_outer || tasks.inner.size() == tasks.outer.size()),
          "inner and outer sets must be equal in number, at least one");
  require(!has_outer || tasks.inner.front().is_sparse() == tasks.outer.front().is_sparse(),
          "all sets must be sparse, or none");
  if (tasks.is_sparse() && tasks.shared != nullptr) converted.copies = copy_by_leaves(tasks);
  return converted;
}

}  // namespace metaspan::bind
