// The data of a batch of tasks, converted once for any number of calls.
#pragma once

#include <utility>
#include <variant>
#include <vector>

#include "convert_samples.hpp"

namespace metaspan::bind {

/// A CoreData that is converted once and used by any number of calls, together with the Python
/// objects that own the memory of the data. Several calls may use data in memory at the same time,
/// but a store serves only one call at a time.
class Batch {
 public:
  Batch(const py::object& data, Index d) : arrays_(data), converted_(convert(data, d)) {
    for (const char* name : {"X_in", "y_in", "X_out", "y_out"}) pin(data.attr(name));
  }

  const py::object& arrays() const { return arrays_; }

  /// Returns body(x, tasks), where x has the scalar type of the data, and `tasks` is the TaskSet of
  /// the data, whose X is not in device memory.
  template <class Body>
  auto visit(Body&& body) const {
    return visit_on(false, std::forward<Body>(body));
  }

  /// As visit, for code that also takes an X in device memory if it runs on a device.
  template <class Body>
  auto visit_on(bool device, Body&& body) const {
    const auto checked = [&](auto x, const auto& tasks) {
      require(device || !tasks.on_device,
              "the tasks are in device memory, which needs device=\"cuda\"");
      return body(x, tasks);
    };
    if (const auto* data = std::get_if<Data<double>>(&converted_))
      return checked(double{}, data->tasks);
    return checked(float{}, std::get<Data<float>>(converted_).tasks);
  }

 private:
  using Converted = std::variant<Data<double>, Data<float>>;

  /// Prevents the memory of arrays from moving: NumPy does not resize an array that has a weak
  /// reference.
  void pin(const py::object& data) {
    if (py::isinstance<py::array>(data)) {
      pins_.emplace_back(data);
    } else if (!data.is_none() && !py::isinstance<DeviceArray>(data)) {
      for (const py::handle item : data) pin(py::reinterpret_borrow<py::object>(item));
    }
  }

  static Converted convert(const py::object& data, Index d) {
    if (holds_doubles(data.attr("y_in"))) return as_data<double>(data, d);
    return as_data<float>(data, d);
  }

  py::object arrays_;
  std::vector<py::weakref> pins_;
  Converted converted_;
};

}  // namespace metaspan::bind
