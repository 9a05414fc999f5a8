// Bindings of data: checks of the user's arrays.
#include <algorithm>
#include <atomic>
#include <string>

#include "batch.hpp"
#include "bind.hpp"
#include "finite.hpp"
#include "metaspan/base/parallel.hpp"
#include "sparse.hpp"

namespace metaspan::bind {
namespace {

/// Returns the address of row `row`. A row is an array along the last axis, and rows are numbered
/// over all other axes in C order.
const char* row_start(const py::array& x, Index row) {
  const char* at = static_cast<const char*>(x.data());
  for (py::ssize_t axis = x.ndim() - 2; axis >= 0; --axis) {
    at += (row % x.shape(axis)) * x.strides(axis);
    row /= x.shape(axis);
  }
  return at;
}

/// Whether all elements are finite. A contiguous array counts as one row, since short rows would
/// cost more than their elements. Pieces of rows are tested in parallel. If an element that is not
/// finite is found, the remaining pieces are skipped.
bool all_finite(const py::array& x, int threads) {
  if (x.size() == 0) return true;
  return with_scalar(x, [&](auto scalar) {
    using Scalar = decltype(scalar);
    constexpr Index kPiece = 1 << 16;
    const bool contiguous = (x.flags() & py::array::c_style) != 0;
    const Index length = contiguous ? x.size() : x.shape(x.ndim() - 1);
    require(length <= 1 || contiguous || x.strides(x.ndim() - 1) == sizeof(Scalar),
            "rows must be contiguous");
    const Index rows = x.size() / length, pieces = ceil_div(length, kPiece);
    const Index rows_per_item = std::max<Index>(1, kPiece / length);
    std::atomic<bool> finite{true};
    interruptible([&](Cancel* cancel) {
      parallel_for(threads, ceil_div(rows, rows_per_item) * pieces, cancel, [&](Index item, int) {
        const Index piece = item % pieces, first = (item / pieces) * rows_per_item;
        const Index begin = piece * kPiece, count = std::min(kPiece, length - begin);
        for (Index row = first; row < std::min(rows, first + rows_per_item); ++row) {
          if (!finite.load(std::memory_order_relaxed)) return;
          const auto* values = reinterpret_cast<const Scalar*>(row_start(x, row));
          if (!kernels::all_finite(values + begin, count)) finite = false;
        }
      });
      throw_if_requested(cancel);
    });
    return finite.load();
  });
}

/// Whether an object is a plain array. The type of a plain array is numpy.ndarray itself, not a
/// subclass, and its elements are float32 or float64 in the byte order of this machine. A plain
/// array is aligned, and NumPy allocated its memory. An array whose memory is mapped from a file is
/// not plain, since such an array is an instance of a subclass, or a view of such an instance.
bool is_plain(py::handle object, int axes) {
  const auto& numpy = py::detail::npy_api::get();
  const auto is_exact = [&](py::handle x) {
    return x.ptr() != nullptr && Py_TYPE(x.ptr()) == numpy.PyArray_Type_;
  };
  if (!is_exact(object)) return false;
  const auto array = py::reinterpret_borrow<py::array>(object);
  if (array.ndim() != axes || !(holds<double>(array) || holds<float>(array))) return false;
  if ((array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) == 0) return false;
  py::handle base = py::detail::array_proxy(object.ptr())->base;
  while (is_exact(base)) base = py::detail::array_proxy(base.ptr())->base;
  return base.ptr() == nullptr;
}

/// Whether an object is a plain C-contiguous matrix with the given numbers of rows and columns,
/// where -1 stands for any number.
bool is_plain_matrix(py::handle object, Index rows, Index columns) {
  if (!is_plain(object, 2)) return false;
  const auto array = py::reinterpret_borrow<py::array>(object);
  return (array.flags() & py::array::c_style) != 0 && (rows < 0 || array.shape(0) == rows) &&
         (columns < 0 || array.shape(1) == columns);
}

/// Whether an object is a plain, C-contiguous and finite array of doubles with the shape `shape`,
/// in which -1 stands for any size of an axis.
bool is_plain_small(py::handle object, const std::vector<Index>& shape) {
  if (!is_plain(object, static_cast<int>(shape.size()))) return false;
  const auto array = py::reinterpret_borrow<py::array>(object);
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    if (shape[axis] >= 0 && array.shape(static_cast<py::ssize_t>(axis)) != shape[axis])
      return false;
  }
  return holds<double>(array) && (array.flags() & py::array::c_style) != 0 && all_finite(array, 1);
}

/// Whether B (d, k) and w (k,) need no conversion: both are plain, contiguous and finite, w is in
/// double, and 1 <= k <= d. If the argument d is -1, any d is accepted.
bool is_plain_point(py::handle B, py::handle w, Index d, int threads) {
  if (!is_plain_matrix(B, d, -1)) return false;
  const auto matrix = py::reinterpret_borrow<py::array>(B);
  const Index k = matrix.shape(1);
  return 1 <= k && k <= matrix.shape(0) && is_plain_small(w, {k}) && all_finite(matrix, threads);
}

/// Whether X (m, d) and y (m,), or stacks of them (n, m, d) and (n, m), are plain, have the same
/// dtype, are not empty, and have contiguous rows.
bool is_plain_set(py::handle X, py::handle y, int axes) {
  if (!is_plain(X, axes) || !is_plain(y, axes - 1)) return false;
  const auto features = py::reinterpret_borrow<py::array>(X);
  const auto responses = py::reinterpret_borrow<py::array>(y);
  const Index d = features.shape(axes - 1), m = features.shape(axes - 2),
              size = features.itemsize();
  return features.size() > 0 &&
         std::equal(features.shape(), features.shape() + axes - 1, responses.shape()) &&
         responses.itemsize() == size && (d == 1 || features.strides(axes - 1) == size) &&
         (m == 1 || responses.strides(axes - 2) == size);
}

/// Whether features and responses need no conversion: they are two plain stacks, or two lists or
/// tuples of plain arrays that all have the same dtype and whose X have the same number of columns.
bool are_plain_sets(const py::object& X, const py::object& y) {
  const auto is_sequence = [](const py::object& x) {
    return py::isinstance<py::list>(x) || py::isinstance<py::tuple>(x);
  };
  if (!is_sequence(X) || !is_sequence(y)) return is_plain_set(X, y, 3);
  const auto features = py::reinterpret_borrow<py::sequence>(X);
  const auto responses = py::reinterpret_borrow<py::sequence>(y);
  const std::size_t n = features.size();
  if (n == 0 || responses.size() != n) return false;
  py::ssize_t d = 0, size = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const py::object task = features[i], task_y = responses[i];
    if (!is_plain_set(task, task_y, 2)) return false;
    const auto array = py::reinterpret_borrow<py::array>(task);
    if (i == 0) d = array.shape(1), size = array.itemsize();
    if (array.shape(1) != d || array.itemsize() != size) return false;
  }
  return true;
}

/// Reads one byte of every page in order, so that a memory-mapped array is loaded into memory.
void prefault(const py::array& x) {
  constexpr py::ssize_t kPage = 4096;
  const py::ssize_t item = x.itemsize(), length = x.ndim() == 0 ? 1 : x.shape(x.ndim() - 1);
  require(length <= 1 || x.strides(x.ndim() - 1) == item, "rows must be contiguous");
  const py::ssize_t rows = length == 0 ? 0 : x.size() / length, bytes = length * item;
  const Unlocked unlocked;
  for (Index row = 0; row < rows; ++row) {
    const volatile char* at = row_start(x, row);
    for (py::ssize_t i = 0; i < bytes; i += kPage) static_cast<void>(at[i]);
    static_cast<void>(at[bytes - 1]);
  }
}

/// Returns what is wrong with the columns of sparse rows: "order" if the columns of a row are not
/// strictly increasing, "range" if a column is outside [0, d), and "" if nothing is wrong.
std::string sparse_fault(const py::array_t<std::int64_t>& starts,
                         const py::array_t<std::int32_t>& columns, Index d, int threads) {
  constexpr Index kRows = 1024;
  const Index rows = starts.size() - 1;
  require(starts.ndim() == 1 && columns.ndim() == 1 && rows >= 0 &&
              (starts.flags() & columns.flags() & py::array::c_style) != 0,
          "starts and columns must be contiguous");
  const std::int64_t* first = starts.data();
  const std::int32_t* entries = columns.data();
  require(first[0] >= 0 && std::is_sorted(first, first + rows + 1) && first[rows] <= columns.size(),
          "starts must be sorted and within the entries");
  std::atomic<bool> rising{true}, inside{true};
  interruptible([&](Cancel* cancel) {
    parallel_for(threads, ceil_div(rows, kRows), cancel, [&](Index piece, int) {
      for (Index i = piece * kRows; i < std::min(rows, (piece + 1) * kRows); ++i) {
        const std::int32_t* row = entries + first[i];
        const Index count = first[i + 1] - first[i];
        if (!kernels::is_rising(count, row)) rising = false;
        if (count > 0 && (row[0] < 0 || row[count - 1] >= d)) inside = false;
      }
    });
    throw_if_requested(cancel);
  });
  return !rising ? "order" : inside ? "" : "range";
}

}  // namespace

void bind_data(py::module_& module) {
  module.def("prefault", &prefault, py::arg("x"));
  module.def("all_finite", &all_finite, py::arg("x"), py::arg("threads"));
  module.def("is_plain_matrix", &is_plain_matrix, py::arg("x"), py::arg("rows"),
             py::arg("columns"));
  module.def("is_plain_small", &is_plain_small, py::arg("x"), py::arg("shape"));
  module.def("is_plain_point", &is_plain_point, py::arg("B"), py::arg("w"), py::arg("d"),
             py::arg("threads"));
  module.def("are_plain_sets", &are_plain_sets, py::arg("X"), py::arg("y"));
  py::class_<Batch, std::shared_ptr<Batch>>(module, "Batch")
      .def(py::init<const py::object&, Index>(), py::arg("data"), py::arg("d"));
  module.def("sparse_fault", &sparse_fault, py::arg("starts"), py::arg("columns"), py::arg("d"),
             py::arg("threads"));
}

}  // namespace metaspan::bind
