// Conversions between NumPy arrays and the types of the core, and a function that runs the core
// without the interpreter lock. The conversions of methods and laws are in convert_laws.hpp, and
// the conversions of data are in convert_samples.hpp.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>

#include "lock.hpp"
#include "metaspan/base/cancel.hpp"
#include "metaspan/base/error.hpp"
#include "metaspan/sweeps/routes.hpp"

namespace metaspan::bind {

/// A C-contiguous array of doubles. If a caller passes an array of numbers with a different layout
/// or dtype, pybind11 copies it into a C-contiguous array of doubles.
using Array = py::array_t<double, py::array::c_style | py::array::forcecast>;

/// Returns a view of an array with two axes. The array must outlive the view.
inline ConstMat as_matrix(const Array& a) {
  require(a.ndim() == 2, "a matrix must have two axes");
  return ConstMat(a.data(), a.shape(0), a.shape(1));
}

/// Returns a copy of an array with one axis.
inline Vec as_vector(const Array& a) {
  require(a.ndim() == 1, "a vector must have one axis");
  return ConstVec(a.data(), a.shape(0));
}

/// Copies a matrix or a vector into a new array.
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

/// Returns a view of block i of a stack (trials, rows, columns).
inline ConstMat block_of(const Array& stack, Index i) {
  require(stack.ndim() == 3 && i < stack.shape(0),
          "a stack of matrices must have a block for every trial");
  return ConstMat(stack.data(i), stack.shape(1), stack.shape(2));
}

/// Returns a copy of row i of an array (trials, k).
inline Vec row_block(const Array& rows, Index i, Index k) {
  require(rows.ndim() == 2 && i < rows.shape(0) && rows.shape(1) == k, "rows must be (trials, k)");
  return ConstVec(rows.data(i, 0), k);
}

/// Returns [M; R], which has the rows of M followed by the rows of R.
inline Mat stacked(ConstMat M, ConstMat R) {
  require(M.cols() == R.cols(), "M and R must have the same columns");
  Mat Z(M.rows() + R.rows(), M.cols());
  Z << M, R;
  return Z;
}

/// Returns a copy of [M; R] of trial i. The first axis of M and of R is the trial.
inline Mat state_block(const Array& M, const Array& R, Index i) {
  return stacked(block_of(M, i), block_of(R, i));
}

/// Adds the three rows of `losses` (3, n) to a dictionary: for every task, the inner loss before
/// the inner loop, the inner loss after the inner loop, and the outer loss.
inline void put_losses(py::dict& out, const Mat& losses) {
  const char* names[] = {"loss_in", "loss_adapted", "loss_out"};
  for (Index i = 0; i < 3; ++i) out[names[i]] = to_array(Vec(losses.row(i)));
}

/// Returns the route with the name "gram", "vector" or "vector_float32". The route "vector_float32"
/// is the vector route with sums in single precision.
inline RouteKind as_route(const std::string& name) {
  if (name == "gram") return RouteKind::gram;
  require(name == "vector" || name == "vector_float32",
          "route must be gram, vector or vector_float32");
  return name == "vector_float32" ? RouteKind::vector_float32 : RouteKind::vector;
}

/// Whether the dtype of an array is Scalar.
template <class Scalar>
bool holds(const py::array& a) {
  return py::isinstance<py::array_t<Scalar>>(a);
}

/// Returns body(x) for an x of the array's scalar type, float or double.
template <class Body>
auto with_scalar(const py::array& a, Body&& body) {
  require(holds<double>(a) || holds<float>(a), "arrays must be float32 or float64");
  return holds<double>(a) ? body(double{}) : body(float{});
}

/// Runs body(cancel) without the interpreter lock, so that other Python threads can run. If a
/// signal handler raises an exception, the body is cancelled and this function throws the
/// exception. `body` must not use Python objects.
template <class Body>
void interruptible(Body&& body) {
  bool cancelled = false;
  {
    Unlocked unlocked;
    Cancel cancel([&unlocked] { return unlocked.check_signals(); });
    try {
      body(&cancel);
    } catch (const Cancelled&) {
      cancelled = true;
    }
  }
  if (cancelled) throw py::error_already_set();
}

}  // namespace metaspan::bind
