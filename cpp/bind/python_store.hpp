// A store that reads X through a Python object.
#pragma once

#include <utility>

#include "convert.hpp"
#include "metaspan/data/samples.hpp"

namespace metaspan::bind {

/// A store on a Python object with a method read(now, next) -> (inner, outer). The arguments `now`
/// and `next` are (tasks, first column, number of columns), or None. For the inner and the outer
/// set of every task of `now`, the method returns an array (m, columns) with contiguous rows.
template <class Scalar>
class PythonStore final : public Store<Scalar> {
 public:
  explicit PythonStore(py::object reader) : reader_(std::move(reader)) {}

  TaskSet<Scalar>& read(const Request& now, const Request& next,
                        const TaskSet<Scalar>& all) override {
    const Locked lock;
    arrays_ = py::tuple();  // frees the arrays of the previous call before reading new ones
    arrays_ = call(reader_.attr("read"), as_key(now), as_key(next)).template cast<py::tuple>();
    held_.d = now.columns;
    fill(arrays_[0], now, all.inner, held_.inner);
    if (!all.outer.empty()) fill(arrays_[1], now, all.outer, held_.outer);
    return held_;
  }

 private:
  /// Converts a request to the form that read() takes.
  static py::object as_key(const Request& request) {
    if (request.tasks.n == 0) return py::none();
    py::list tasks;
    for (Index i = 0; i < request.tasks.n; ++i) tasks.append(request.tasks[i]);
    return py::make_tuple(tasks, request.first, request.columns);
  }

  /// Checks the arrays that were read, and makes the sets of `held` refer to these arrays.
  static void fill(const py::object& arrays, const Request& now,
                   const std::vector<Samples<Scalar>>& all, std::vector<Samples<Scalar>>& held) {
    const py::list sets(arrays);
    require(static_cast<Index>(sets.size()) == now.tasks.n, "a store must read one array per task");
    held.clear();
    for (Index i = 0; i < now.tasks.n; ++i) {
      Samples<Scalar> set = all[static_cast<std::size_t>(now.tasks[i])];
      const auto X = sets[static_cast<std::size_t>(i)].template cast<py::array>();
      constexpr py::ssize_t size = sizeof(Scalar);
      require(holds<Scalar>(X) && X.ndim() == 2 && X.shape(0) == set.m &&
                  X.shape(1) == now.columns && (now.columns <= 1 || X.strides(1) == size) &&
                  X.strides(0) % size == 0,
              "a store must read (m, columns) with contiguous rows and the batch's dtype");
      set.rows = DenseRows<Scalar>{static_cast<const Scalar*>(X.data()), X.strides(0) / size};
      held.push_back(set);
    }
  }

  py::object reader_;
  py::tuple arrays_;
  TaskSet<Scalar> held_;
};

}  // namespace metaspan::bind
