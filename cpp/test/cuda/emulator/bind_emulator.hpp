// Binds the counters and the settings of the emulated device, for tests.
#pragma once

#include <pybind11/pybind11.h>

#include "scheduler.hpp"

namespace metaspan::emulator {

inline void bind_emulator(pybind11::module_& extension) {
  extension.def("live_bytes", &live_bytes);
  extension.def("live_pinned_bytes", &live_pinned_bytes);
  extension.def("live_handles", &live_handles);
  extension.def("set_total_bytes", &set_total_bytes);
  extension.def("set_devices", &set_devices);
}

}  // namespace metaspan::emulator
