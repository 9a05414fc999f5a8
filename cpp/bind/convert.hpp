// The only place where a Python object becomes something of the core, and back.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>

#include "metaspan/cancel.hpp"
#include "metaspan/error.hpp"
#include "metaspan/heads.hpp"
#include "metaspan/method.hpp"
#include "metaspan/routes.hpp"

namespace metaspan::bind {

namespace py = pybind11;

/// A C-contiguous array of doubles; anything else that holds numbers is copied into one.
using Array = py::array_t<double, py::array::c_style | py::array::forcecast>;

inline ConstMat as_matrix(const Array& a) {
  require(a.ndim() == 2, "a matrix must have two axes");
  return ConstMat(a.data(), a.shape(0), a.shape(1));
}

inline Vec as_vector(const Array& a) {
  require(a.ndim() == 1, "a vector must have one axis");
  return ConstVec(a.data(), a.shape(0));
}

inline Array to_array(const Mat& m) {
  Array out({m.rows(), m.cols()});
  MutMat(out.mutable_data(), m.rows(), m.cols()) = m;
  return out;
}

inline Array to_array(const Vec& v) {
  Array out(v.size());
  MutVec(out.mutable_data(), v.size()) = v;
  return out;
}

inline Method as_method(const py::tuple& fields) {
  return {fields[0].cast<double>(), fields[1].cast<double>(), fields[2].cast<int>(),
          fields[3].cast<bool>(), fields[4].cast<bool>()};
}

/// ("gaussian", mean | None, factor | None), ("sphere", radius), ("table", (N, k_star)) or
/// ("given",). A table of three axes holds one table per trial; `trial` is the one wanted.
inline HeadLaw as_head_law(const py::tuple& law, Index k_star, Index trial = 0) {
  HeadLaw result;
  result.k_star = k_star;
  const auto kind = law[0].cast<std::string>();
  if (kind == "gaussian") {
    if (!law[1].is_none()) result.mean = as_vector(law[1].cast<Array>());
    if (!law[2].is_none()) {
      const auto factor = law[2].cast<Array>();
      if (factor.ndim() == 1) {
        result.scale = as_vector(factor);
      } else {
        result.factor = as_matrix(factor);
      }
    }
    require((result.mean.size() == 0 || result.mean.size() == k_star) &&
                (result.scale.size() == 0 || result.scale.size() == k_star) &&
                (result.factor.size() == 0 ||
                 (result.factor.rows() == k_star && result.factor.cols() == k_star)),
            "mean and factor must fit k_star");
  } else if (kind == "sphere") {
    result.kind = HeadLaw::Kind::sphere;
    result.radius = law[1].cast<double>();
  } else if (kind == "table") {
    result.kind = HeadLaw::Kind::table;
    const auto table = law[1].cast<Array>();
    require(table.ndim() == 2 || table.ndim() == 3, "a table of heads has two or three axes");
    const Index rows = table.shape(table.ndim() - 2), columns = table.shape(table.ndim() - 1);
    const Index offset = table.ndim() == 3 ? trial * rows * columns : 0;
    require(table.ndim() == 2 || trial < table.shape(0), "a table of heads for every trial");
    result.table = ConstMat(table.data() + offset, rows, columns);
  } else {
    require(kind == "given", "unknown law of heads");
    result.kind = HeadLaw::Kind::given;
  }
  return result;
}

/// "gram", "vector" or, with sums in single precision, "single".
inline RouteKind as_route(const std::string& name) {
  if (name == "gram") return RouteKind::gram;
  require(name == "vector" || name == "single", "unknown route");
  return name == "single" ? RouteKind::single : RouteKind::vector;
}

template <class Scalar>
bool holds(const py::array& a) {
  return py::isinstance<py::array_t<Scalar>>(a);
}

/// Calls body with a value of the array's scalar type.
template <class Body>
auto with_scalar(const py::array& a, Body&& body) {
  require(holds<double>(a) || holds<float>(a), "arrays must be float32 or float64");
  return holds<double>(a) ? body(double{}) : body(float{});
}

/// Runs body(cancel) without the interpreter's lock, so that other Python threads go on, and lets a
/// signal handler's exception through. Nothing in `body` may touch Python objects.
template <class Body>
void interruptible(Body&& body) {
  Cancel cancel([] {
    py::gil_scoped_acquire lock;
    return PyErr_CheckSignals() != 0;
  });
  bool cancelled = false;
  {
    py::gil_scoped_release unlocked;
    try {
      body(&cancel);
    } catch (const Cancelled&) {
      cancelled = true;
    }
  }
  if (cancelled) throw py::error_already_set();
}

}  // namespace metaspan::bind
