// X that Python brings to memory.
#pragma once

#include <utility>

#include "convert.hpp"
#include "metaspan/data/samples.hpp"

namespace metaspan::bind {

/// Asks a Python object: read(now, next) -> (inner, outer), for every task of `now` an array (m,
/// columns), whose rows are contiguous; now and next are (tasks, first column, columns), or None.
template <class Scalar>
class PythonStore final : public Store<Scalar> {
 public:
  explicit PythonStore(py::object reader) : reader_(std::move(reader)) {}

  TaskSet<Scalar>& read(const Request& now, const Request& next,
                        const TaskSet<Scalar>& all) override {
    const Locked lock;
    arrays_ = py::tuple();  // gives their memory back before the next ones come
    arrays_ = call(reader_.attr("read"), as_key(now), as_key(next)).template cast<py::tuple>();
    held_.d = now.columns;
    fill(arrays_[0], now, all.inner, held_.inner);
    if (!all.outer.empty()) fill(arrays_[1], now, all.outer, held_.outer);
    return held_;
  }

 private:
  static py::object as_key(const Request& request) {
    if (request.tasks.n == 0) return py::none();
    py::list tasks;
    for (Index i = 0; i < request.tasks.n; ++i) tasks.append(request.tasks[i]);
    return py::make_tuple(tasks, request.first, request.columns);
  }

  static void fill(const py::object& arrays, const Request& now,
                   const std::vector<Samples<Scalar>>& all, std::vector<Samples<Scalar>>& held) {
    const py::list found(arrays);
    require(static_cast<Index>(found.size()) == now.tasks.n, "an array for every task");
    held.clear();
    for (Index i = 0; i < now.tasks.n; ++i) {
      Samples<Scalar> own = all[static_cast<std::size_t>(now.tasks[i])];
      const auto X = found[static_cast<std::size_t>(i)].template cast<py::array>();
      constexpr py::ssize_t size = sizeof(Scalar);
      require(holds<Scalar>(X) && X.ndim() == 2 && X.shape(0) == own.m &&
                  X.shape(1) == now.columns && (now.columns <= 1 || X.strides(1) == size) &&
                  X.strides(0) % size == 0,
              "what is read must be (m, columns), rows contiguous, of the batch's dtype");
      own.X = static_cast<const Scalar*>(X.data());
      own.stride = X.strides(0) / size;
      held.push_back(own);
    }
  }

  py::object reader_;
  py::tuple arrays_;
  TaskSet<Scalar> held_;
};

}  // namespace metaspan::bind
