// Matrices with one row for each sample or each feature, between NumPy and the products of rows.
#pragma once

#include "convert.hpp"
#include "metaspan/sweeps/row_products.hpp"

namespace metaspan::bind {

/// Returns a pointer to the elements of a C-contiguous float64 matrix with `rows` rows.
inline const double* doubles_of(const py::array& matrix, Index rows) {
  require(matrix.ndim() == 2 && holds<double>(matrix) && matrix.shape(0) == rows &&
              (matrix.flags() & py::array::c_style) != 0,
          "a factor must be a C-contiguous float64 matrix that fits the samples");
  return static_cast<const double*>(matrix.data());
}

/// Returns a new matrix (rows, k) that compute(numbers, cancel) fills.
template <class Body>
Array filled(Index rows, Index k, Body&& compute) {
  Array matrix({rows, k});
  double* numbers = matrix.mutable_data();
  interruptible([&](Cancel* cancel) { compute(numbers, cancel); });
  return matrix;
}

/// Returns a RowTransform that calls transform(Z, first, end) in Python, with the rows Z of X B of
/// the tasks [first, end). first_row(i) is the first row of task i.
template <class FirstRow>
RowTransform as_transform(const py::object& transform, Index k, FirstRow&& first_row) {
  return [&transform, k, first_row](Index first, Index count, const double* Z, double* C) {
    const Index rows = first_row(first + count) - first_row(first);
    const Locked lock;
    const auto matrix =
        call(transform, Array({rows, k}, Z), first, first + count).template cast<Array>();
    require(matrix.ndim() == 2 && matrix.shape(0) == rows && matrix.shape(1) == k,
            "transform must return a matrix of the shape of its argument");
    std::copy_n(matrix.data(), rows * k, C);
  };
}

}  // namespace metaspan::bind
