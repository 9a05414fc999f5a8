// Bindings of arrays in device memory: the DLPack protocol, views, and copies from and to NumPy.
#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "bind.hpp"
#include "device_array.hpp"
#include "metaspan/cuda/checks.hpp"
#include "metaspan/cuda/dlpack.hpp"

namespace metaspan::bind {
namespace {

/// Returns the pair (type, number) of the device of an array, as DLPack numbers devices.
std::pair<int, int> device_of(const DeviceArray& array) {
  return {dlpack::kCuda, array.runtime->info().ordinal};
}

/// Copies an array to NumPy, in C order. A contiguous array is copied at once. If an array is not
/// contiguous, the part of the memory from the first to the last number is copied, and the numbers
/// are picked from this copy.
py::array to_numpy(const DeviceArray& array) {
  const auto item = static_cast<std::size_t>(array.item_bytes());
  const py::dtype dtype = array.is_double ? py::dtype::of<double>() : py::dtype::of<float>();
  py::array out(dtype, std::vector<py::ssize_t>(array.shape.begin(), array.shape.end()));
  if (array.size() == 0) return out;
  const auto read = [&](void* to, const void* from, std::size_t bytes) {
    array.runtime->copy(to, from, bytes, cuda::Copy::to_host, nullptr);
    array.runtime->synchronise(nullptr);
  };
  auto* numbers = static_cast<char*>(out.mutable_data());
  if (array.is_contiguous()) {
    read(numbers, array.data, static_cast<std::size_t>(array.size()) * item);
    return out;
  }
  Index first = 0, last = 0;
  for (std::size_t axis = 0; axis < array.shape.size(); ++axis) {
    const Index reach = (array.shape[axis] - 1) * array.strides[axis];
    (reach < 0 ? first : last) += reach;
  }
  std::vector<char> copy(static_cast<std::size_t>(last - first + 1) * item);
  read(copy.data(), array.data + first * array.item_bytes(), copy.size());
  for (Index number = 0; number < array.size(); ++number) {
    Index rest = number, offset = -first;
    for (std::size_t axis = array.shape.size(); axis-- > 0; rest /= array.shape[axis]) {
      offset += rest % array.shape[axis] * array.strides[axis];
    }
    std::memcpy(numbers + static_cast<std::size_t>(number) * item,
                copy.data() + static_cast<std::size_t>(offset) * item, item);
  }
  return out;
}

/// Lends an array by the protocol of DLPack. The numbers of an array are complete: functions of
/// this package return after their work on the device, so the borrower's stream has to wait for
/// nothing. A request for the CPU gets a copy in host memory.
py::object to_dlpack(const DeviceArray& array, const std::optional<std::int64_t>& stream,
                     const std::optional<std::pair<std::uint32_t, std::uint32_t>>& max_version,
                     const std::optional<std::pair<int, int>>& dl_device,
                     const std::optional<bool>& copy) {
  if (stream && (*stream == 0 || *stream < -1))
    throw py::value_error("stream must be -1, 1, 2 or the address of a stream; got " +
                          std::to_string(*stream));
  if (dl_device && dl_device->first == dlpack::kCpu) return to_numpy(array).attr("__dlpack__")();
  if (dl_device && *dl_device != device_of(array))
    throw py::buffer_error("the array can be lent on its own device or the CPU only");
  if (copy.value_or(false)) throw py::buffer_error("the array can be lent without a copy only");
  return make_capsule(array, max_version ? max_version->first : 0);
}

/// Copies a C-contiguous array of NumPy to device memory.
DeviceArray from_numpy(const Device& device, const py::array& numbers) {
  require((holds<double>(numbers) || holds<float>(numbers)) &&
              (numbers.flags() & py::array::c_style) != 0,
          "numbers must be C-contiguous, float32 or float64");
  const std::vector<Index> shape(numbers.shape(), numbers.shape() + numbers.ndim());
  cuda::Runtime& runtime = *device.module().runtime;
  DeviceArray array = make_device_array(runtime, shape, holds<double>(numbers));
  if (array.size() > 0) {
    runtime.copy(array.data, numbers.data(), static_cast<std::size_t>(numbers.nbytes()),
                 cuda::Copy::to_device, nullptr);
    runtime.synchronise(nullptr);
  }
  return array;
}

/// Applies an index to axis `axis` of a view: an integer removes the axis, and a slice keeps it.
/// Returns the number of the next axis.
std::size_t select(DeviceArray& view, std::size_t axis, const py::handle& index) {
  if (axis >= view.shape.size()) throw py::index_error("too many indices for the array");
  const Index length = view.shape[axis], stride = view.strides[axis];
  if (py::isinstance<py::slice>(index)) {
    py::ssize_t first = 0, end = 0, step = 0, count = 0;
    if (!py::reinterpret_borrow<py::slice>(index).compute(length, &first, &end, &step, &count))
      throw py::error_already_set();
    if (count > 0) view.data += first * stride * view.item_bytes();
    view.shape[axis] = count;
    view.strides[axis] = stride * step;
    return axis + 1;
  }
  const auto at = index.cast<Index>();
  if (at < -length || at >= length) throw py::index_error("index out of range");
  view.data += (at < 0 ? at + length : at) * stride * view.item_bytes();
  view.shape.erase(view.shape.begin() + static_cast<std::ptrdiff_t>(axis));
  view.strides.erase(view.strides.begin() + static_cast<std::ptrdiff_t>(axis));
  return axis;
}

/// Returns a view of a part of an array. The index is an integer, a slice, or a tuple of them.
DeviceArray indexed(const DeviceArray& array, const py::object& index) {
  DeviceArray view = array;
  std::size_t axis = 0;
  if (!py::isinstance<py::tuple>(index)) {
    select(view, axis, index);
    return view;
  }
  for (const py::handle part : index) axis = select(view, axis, part);
  return view;
}

/// Whether all numbers of an array with contiguous rows are finite. Rows of a stack whose matrices
/// are not adjacent are checked matrix by matrix.
bool is_finite(const DeviceArray& array, const Device& device) {
  if (array.size() == 0) return true;
  if (array.axes() > 2 && array.strides[0] != array.shape[1] * array.strides[1]) {
    for (Index i = 0; i < array.shape[0]; ++i) {
      DeviceArray matrix = array;
      select(matrix, 0, py::int_(i));
      if (!is_finite(matrix, device)) return false;
    }
    return true;
  }
  require(array.has_contiguous_rows(), "rows must be contiguous");
  const std::size_t last = array.shape.size() - 1;
  const Index length = array.shape[last], stride = last > 0 ? array.strides[last - 1] : length;
  return device.module().checks->are_finite(
      {array.data, array.size() / length, length, stride, array.is_double}, nullptr);
}

/// Copies the numbers of another array, on the device.
void assign(const DeviceArray& to, const DeviceArray& from) {
  require(to.shape == from.shape && to.is_double == from.is_double && to.is_contiguous() &&
              from.is_contiguous() && !to.is_read_only,
          "arrays must be contiguous, of one shape and dtype");
  if (to.size() == 0) return;
  const auto bytes = static_cast<std::size_t>(to.size() * to.item_bytes());
  to.runtime->copy(to.data, from.data, bytes, cuda::Copy::on_device, nullptr);
  to.runtime->synchronise(nullptr);
}

std::uintptr_t address_of(const DeviceArray& array) {
  return reinterpret_cast<std::uintptr_t>(array.data);
}

py::dtype dtype_of(const DeviceArray& array) {
  return array.is_double ? py::dtype::of<double>() : py::dtype::of<float>();
}

Index length_of(const DeviceArray& array) {
  if (array.shape.empty()) throw py::type_error("an array without axes has no length");
  return array.shape.front();
}

/// Refuses an implicit copy to NumPy, as other libraries of device arrays do.
py::array refuse_array(const DeviceArray&, const py::args&, const py::kwargs&) {
  throw py::type_error("an array in device memory is copied to NumPy by its method to_numpy()");
}

/// Describes an array, as in DeviceArray(shape=(3, 5), dtype=float64, device=cuda:0).
std::string describe(const DeviceArray& array) {
  std::string shape;
  for (const Index length : array.shape) shape += std::to_string(length) + ", ";
  if (array.axes() > 1) shape.resize(shape.size() - 2);
  if (array.axes() == 1) shape.resize(shape.size() - 1);
  return "DeviceArray(shape=(" + shape + "), dtype=" + (array.is_double ? "float64" : "float32") +
         ", device=cuda:" + std::to_string(array.runtime->info().ordinal) + ")";
}

/// Returns whether two arrays are views of the same memory, with equal shapes and strides.
bool is_same_view(const DeviceArray& a, const DeviceArray& b) {
  return a.data == b.data && a.shape == b.shape && a.strides == b.strides &&
         a.is_double == b.is_double;
}

}  // namespace

std::vector<Index> c_strides(const std::vector<Index>& shape) {
  std::vector<Index> strides(shape.size(), 1);
  for (std::size_t axis = shape.size(); axis-- > 1;) {
    strides[axis - 1] = strides[axis] * std::max<Index>(shape[axis], 1);
  }
  return strides;
}

DeviceArray make_device_array(cuda::Runtime& runtime, std::vector<Index> shape, bool is_double) {
  DeviceArray array;
  array.runtime = &runtime;
  array.is_double = is_double;
  array.strides = c_strides(shape);
  array.shape = std::move(shape);
  const auto bytes = static_cast<std::size_t>(array.size() * array.item_bytes());
  if (bytes == 0) return array;
  array.data = static_cast<char*>(runtime.allocate(bytes));
  array.owner =
      std::shared_ptr<void>(array.data, [&runtime](void* memory) { runtime.release(memory); });
  runtime.clear(array.data, bytes, nullptr);
  runtime.synchronise(nullptr);
  return array;
}

void bind_device_arrays(py::module_& module) {
  py::class_<DeviceArray>(module, "DeviceArray")
      .def(py::init(&borrow), py::arg("device"), py::arg("capsule"), py::arg("library"))
      .def_static("from_numpy", &from_numpy, py::arg("device"), py::arg("numbers"))
      .def_readonly("library", &DeviceArray::library)
      .def_readonly("is_read_only", &DeviceArray::is_read_only)
      .def_property_readonly("is_contiguous", &DeviceArray::is_contiguous)
      .def_property_readonly("has_contiguous_rows", &DeviceArray::has_contiguous_rows)
      .def_property_readonly("address", &address_of)
      .def_property_readonly("shape",
                             [](const DeviceArray& x) { return py::tuple(py::cast(x.shape)); })
      .def_property_readonly("ndim", &DeviceArray::axes)
      .def_property_readonly("dtype", &dtype_of)
      .def("__len__", &length_of)
      .def("__getitem__", &indexed, py::arg("index"))
      .def("__repr__", &describe)
      .def("__array__", &refuse_array)
      .def("__dlpack_device__", &device_of)
      .def("__dlpack__", &to_dlpack, py::kw_only(), py::arg("stream") = py::none(),
           py::arg("max_version") = py::none(), py::arg("dl_device") = py::none(),
           py::arg("copy") = py::none())
      .def("assign", &assign, py::arg("other"))
      .def("is_finite", &is_finite, py::arg("device"))
      .def("is_same_view", &is_same_view, py::arg("other"))
      .def("to_numpy", &to_numpy);
}

}  // namespace metaspan::bind
