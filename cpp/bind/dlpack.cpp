// Borrows arrays in device memory from array libraries and lends arrays to them, by DLPack.
#include <algorithm>
#include <utility>

#include "device_array.hpp"
#include "metaspan/cuda/dlpack.hpp"

namespace metaspan::bind {
namespace {

constexpr const char* kUnversioned = "dltensor";
constexpr const char* kVersioned = "dltensor_versioned";
constexpr std::uint32_t kMajor = 1;  // version of DLPack that is exported and accepted

/// Names a type of numbers as NumPy does, such as "int64" or "bfloat16".
std::string type_name(const dlpack::NumberType& type) {
  constexpr const char* names[] = {"int", "uint", "float", "opaque", "bfloat", "complex", "bool"};
  const std::string name = type.code < std::size(names) ? names[type.code] : "an unknown dtype ";
  return type.code == dlpack::kBool ? name : name + std::to_string(type.bits);
}

/// Converts a tensor of DLPack. The caller puts the name of the argument in front of the messages
/// of errors.
DeviceArray array_of(cuda::Runtime& runtime, const dlpack::Tensor& tensor) {
  const int ordinal = runtime.info().ordinal;
  const bool is_cuda =
      tensor.device.type == dlpack::kCuda || tensor.device.type == dlpack::kCudaManaged;
  if (!is_cuda || tensor.device.ordinal != ordinal) {
    throw py::value_error("must be in the memory of cuda:" + std::to_string(ordinal) + "; got " +
                          (is_cuda ? "cuda:" + std::to_string(tensor.device.ordinal)
                                   : "DLPack device type " + std::to_string(tensor.device.type)));
  }
  const bool is_float = tensor.type.code == dlpack::kFloat && tensor.type.lanes == 1 &&
                        (tensor.type.bits == 32 || tensor.type.bits == 64);
  if (!is_float) throw py::type_error("must be float32 or float64; got " + type_name(tensor.type));
  DeviceArray array;
  array.runtime = &runtime;
  array.is_double = tensor.type.bits == 64;
  array.data = static_cast<char*>(tensor.data) + tensor.byte_offset;
  array.shape.assign(tensor.shape, tensor.shape + tensor.axes);
  if (tensor.strides == nullptr) {
    array.strides = c_strides(array.shape);
  } else {
    array.strides.assign(tensor.strides, tensor.strides + tensor.axes);
  }
  if (array.size() > 0 &&
      reinterpret_cast<std::uintptr_t>(array.data) % static_cast<std::size_t>(array.item_bytes()))
    throw py::value_error("must be aligned to the size of its numbers");
  return array;
}

/// Takes over the tensor of a capsule. From the moment the capsule is renamed, the tensor's deleter
/// is called with the last copy of the array; before that, the capsule owns the tensor.
template <class Managed>
DeviceArray adopt(cuda::Runtime& runtime, const py::capsule& capsule, const char* used_name) {
  auto* managed = capsule.get_pointer<Managed>();
  DeviceArray array = array_of(runtime, managed->tensor);
  array.owner = std::shared_ptr<void>(managed, [](void* memory) {
    auto* lent = static_cast<Managed*>(memory);
    if (lent->deleter != nullptr) lent->deleter(lent);
  });
  if (PyCapsule_SetName(capsule.ptr(), used_name) != 0) throw py::error_already_set();
  return array;
}

/// What a lent tensor needs until its deleter is called: the memory, and the arrays of its shape.
template <class Managed>
struct Loan {
  std::shared_ptr<void> owner;
  std::vector<std::int64_t> shape, strides;
  Managed managed;
};

/// Lends an array as a capsule with the given name. The deleter may run on any thread.
template <class Managed>
Managed* lend(const DeviceArray& array) {
  auto loan = std::make_unique<Loan<Managed>>();
  loan->owner = array.owner;
  loan->shape.assign(array.shape.begin(), array.shape.end());
  loan->strides.assign(array.strides.begin(), array.strides.end());
  Managed& managed = loan->managed;
  managed = {};
  managed.tensor = {array.data,
                    {dlpack::kCuda, array.runtime->info().ordinal},
                    static_cast<std::int32_t>(array.axes()),
                    {dlpack::kFloat, static_cast<std::uint8_t>(8 * array.item_bytes()), 1},
                    loan->shape.data(),
                    loan->strides.data(),
                    0};
  managed.deleter = [](Managed* lent) { delete static_cast<Loan<Managed>*>(lent->context); };
  managed.context = loan.release();
  return &managed;
}

/// Calls the deleter of a capsule that was not consumed. A consumed capsule has another name.
template <class Managed>
void drop_capsule(PyObject* capsule, const char* name) {
  if (PyCapsule_IsValid(capsule, name) == 0) return;
  auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule, name));
  managed->deleter(managed);
}

}  // namespace

DeviceArray borrow(const Device& device, const py::capsule& capsule, py::object library) {
  cuda::Runtime& runtime = *device.module().runtime;
  const char* name = capsule.name();
  const std::string kind = name == nullptr ? "" : name;
  DeviceArray array;
  if (kind == kUnversioned) {
    array = adopt<dlpack::Managed>(runtime, capsule, "used_dltensor");
  } else {
    if (kind != kVersioned) throw py::value_error("must give an unused DLPack capsule");
    const auto* managed = capsule.get_pointer<dlpack::ManagedVersioned>();
    if (managed->version.major != kMajor)
      throw py::value_error("must give a capsule of DLPack 1; got version " +
                            std::to_string(managed->version.major));
    const bool is_read_only = (managed->flags & dlpack::kReadOnly) != 0;
    array = adopt<dlpack::ManagedVersioned>(runtime, capsule, "used_dltensor_versioned");
    array.is_read_only = is_read_only;
  }
  array.library = std::move(library);
  runtime.synchronise(nullptr);
  return array;
}

py::object make_capsule(const DeviceArray& array, std::uint32_t major) {
  PyObject* capsule = nullptr;
  if (major >= kMajor) {
    auto* managed = lend<dlpack::ManagedVersioned>(array);
    managed->version = {kMajor, 0};
    managed->flags = array.is_read_only ? dlpack::kReadOnly : 0;
    capsule = PyCapsule_New(managed, kVersioned, [](PyObject* x) {
      drop_capsule<dlpack::ManagedVersioned>(x, kVersioned);
    });
  } else {
    if (array.is_read_only)
      throw py::buffer_error("a read-only array needs a library that reads DLPack 1");
    capsule = PyCapsule_New(lend<dlpack::Managed>(array), kUnversioned,
                            [](PyObject* x) { drop_capsule<dlpack::Managed>(x, kUnversioned); });
  }
  if (capsule == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(capsule);
}

}  // namespace metaspan::bind
