// Binding of devices: which module they come from, and their properties.
#include "device.hpp"

#include <new>
#include <string>

#include "bind.hpp"

namespace metaspan::bind {
namespace {

namespace py = pybind11;

constexpr const char* kCapsule = "metaspan.cuda.Module";

const cuda::Module* module_of(const py::capsule& capsule) {
  if (capsule.name() == nullptr || std::string(capsule.name()) != kCapsule) {
    throw py::type_error("module must be the capsule of a device module");
  }
  const auto* module = capsule.get_pointer<const cuda::Module>();
  if (std::string(module->version) != METASPAN_VERSION) {
    throw py::import_error("the device module is of metaspan " + std::string(module->version) +
                           ", and this is metaspan " METASPAN_VERSION
                           ": install the same version of both");
  }
  return module;
}

/// The properties of a device, by the names that show_config() prints.
py::dict device_info(const Device& device) {
  const cuda::DeviceInfo info = device.module().runtime->info();
  py::dict result;
  result["name"] = info.name;
  result["ordinal"] = info.ordinal;
  result["capability"] = std::to_string(info.major) + "." + std::to_string(info.minor);
  result["multiprocessors"] = info.multiprocessors;
  result["total_bytes"] = info.total_bytes;
  result["shared_bytes"] = info.shared_bytes;
  result["bytes_per_second"] = info.bytes_per_second;
  result["flops"] = info.flops;
  result["driver"] = info.driver;
  result["runtime"] = info.runtime;
  result["is_emulated"] = info.is_emulated;
  return result;
}

}  // namespace

Device::Device(const pybind11::capsule& capsule) : module_(module_of(capsule)) {
  module_->runtime->info();
}

void bind_device(py::module_& module) {
  py::register_local_exception_translator([](std::exception_ptr error) {
    try {
      if (error) std::rethrow_exception(error);
    } catch (const cuda::OutOfDeviceMemory& out_of_memory) {
      py::set_error(PyExc_MemoryError, out_of_memory.what());
    }
  });
  py::class_<Device>(module, "Device")
      .def(py::init<const py::capsule&>(), py::arg("module"))
      .def_property_readonly("info", &device_info)
      .def_property_readonly(
          "free_bytes", [](const Device& self) { return self.module().runtime->free_bytes(); });
}

}  // namespace metaspan::bind
