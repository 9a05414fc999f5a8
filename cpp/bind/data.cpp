// Bindings of data: checks of the user's arrays.
#include <algorithm>
#include <atomic>
#include <string>

#include "bind.hpp"
#include "convert.hpp"
#include "finite.hpp"
#include "metaspan/base/parallel.hpp"
#include "sparse.hpp"

namespace metaspan::bind {
namespace {

/// Returns the address of row `row`, where rows run over all axes but the last.
const char* row_start(const py::array& x, Index row) {
  const char* at = static_cast<const char*>(x.data());
  for (py::ssize_t axis = x.ndim() - 2; axis >= 0; --axis) {
    at += (row % x.shape(axis)) * x.strides(axis);
    row /= x.shape(axis);
  }
  return at;
}

/// Whether all elements are finite. Pieces of rows are tested in parallel. After the first element
/// that is not finite, the pieces that are left are skipped.
bool all_finite(const py::array& x, int threads) {
  if (x.size() == 0) return true;
  return with_scalar(x, [&](auto scalar) {
    using Scalar = decltype(scalar);
    constexpr Index kPiece = 1 << 16;
    const Index length = x.ndim() == 0 ? 1 : x.shape(x.ndim() - 1);
    require(length <= 1 || x.strides(x.ndim() - 1) == sizeof(Scalar), "rows must be contiguous");
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

/// Returns what is wrong with the columns of sparse rows: "order" if they are not strictly
/// increasing within a row, "range" if one is outside [0, d), otherwise "".
std::string sparse_fault(const py::array_t<std::int64_t>& starts,
                         const py::array_t<std::int32_t>& columns, Index d, int threads) {
  constexpr Index kRows = 1024;
  const Index rows = starts.size() - 1;
  require(starts.ndim() == 1 && columns.ndim() == 1 && rows >= 0 &&
              (starts.flags() & columns.flags() & py::array::c_style) != 0,
          "starts and columns must be contiguous");
  const std::int64_t* first = starts.data();
  require(first[0] >= 0 && std::is_sorted(first, first + rows + 1) && first[rows] <= columns.size(),
          "starts must be sorted and within the entries");
  std::atomic<bool> rising{true}, inside{true};
  interruptible([&](Cancel* cancel) {
    parallel_for(threads, ceil_div(rows, kRows), cancel, [&](Index piece, int) {
      for (Index i = piece * kRows; i < std::min(rows, (piece + 1) * kRows); ++i) {
        const std::int32_t* row = columns.data() + first[i];
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
  module.def("sparse_fault", &sparse_fault, py::arg("starts"), py::arg("columns"), py::arg("d"),
             py::arg("threads"));
}

}  // namespace metaspan::bind
