// The user's data: arrays with a leading axis of tasks, or one array per task.
#pragma once

#include "convert.hpp"
#include "metaspan/samples.hpp"

namespace metaspan::bind {

template <class Scalar>
Samples<Scalar> as_samples(const py::array& X, const py::array& y, Index d) {
  require(holds<Scalar>(X) && holds<Scalar>(y), "all data must have one dtype");
  require(X.ndim() == 2 && y.ndim() == 1 && X.shape(0) == y.shape(0) && X.shape(1) == d,
          "X must be (m, d) and y (m,)");
  const py::ssize_t size = sizeof(Scalar);
  require((d <= 1 || X.strides(1) == size) && (y.shape(0) <= 1 || y.strides(0) == size) &&
              X.strides(0) % size == 0,
          "rows must be contiguous");
  return {static_cast<const Scalar*>(X.data()), X.strides(0) / size,
          static_cast<const Scalar*>(y.data()), X.shape(0)};
}

/// A stack (n, m, d) with its (n, m), or a sequence of n arrays (m_i, d) with theirs.
template <class Scalar>
std::vector<Samples<Scalar>> as_sample_sets(const py::object& X, const py::object& y, Index d) {
  std::vector<Samples<Scalar>> sets;
  if (!py::isinstance<py::array>(X) || !py::isinstance<py::array>(y)) {
    // The items of a stack are views: their memory is the stack's, and outlives them.
    const py::list all_X(X), all_y(y);
    require(all_X.size() == all_y.size(), "as many y as X");
    for (std::size_t i = 0; i < all_X.size(); ++i) {
      require(py::isinstance<py::array>(all_X[i]) && py::isinstance<py::array>(all_y[i]),
              "a task's data must be arrays");
      sets.push_back(as_samples<Scalar>(all_X[i].cast<py::array>(), all_y[i].cast<py::array>(), d));
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
    sets.push_back({static_cast<const Scalar*>(stack.data(i, 0, 0)), stack.strides(1) / size,
                    static_cast<const Scalar*>(responses.data(i, 0)), stack.shape(1)});
  }
  return sets;
}

/// The dtype's scalar of a stack or of the first of a sequence of arrays.
template <class Body>
auto with_scalar_of(const py::object& X, Body&& body) {
  if (py::isinstance<py::array>(X)) return with_scalar(X.cast<py::array>(), body);
  const auto sets = X.cast<std::vector<py::array>>();
  require(!sets.empty(), "at least one task");
  return with_scalar(sets.front(), body);
}

/// The tasks of (X_in, y_in, X_out, y_out, ...), in place.
template <class Scalar>
TaskSet<Scalar> as_tasks(const py::tuple& data, Index d) {
  TaskSet<Scalar> tasks{d, as_sample_sets<Scalar>(data[0], data[1], d),
                        as_sample_sets<Scalar>(data[2], data[3], d)};
  require(tasks.size() > 0 && tasks.inner.size() == tasks.outer.size(),
          "as many outer as inner data sets, at least one");
  return tasks;
}

}  // namespace metaspan::bind
