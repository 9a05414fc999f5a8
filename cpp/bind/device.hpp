// A device, as Python passes it to runs.
#pragma once

#include <pybind11/pybind11.h>

#include "metaspan/cuda/module.hpp"

namespace metaspan::bind {

/// The device of a module that Python loaded. The module outlives it: Python unloads no extension.
class Device {
 public:
  /// Throws ImportError unless `capsule` is that of a module of this version, and RuntimeError if
  /// the module finds no device.
  explicit Device(const pybind11::capsule& capsule);

  const cuda::Module& module() const { return *module_; }

 private:
  const cuda::Module* module_;
};

}  // namespace metaspan::bind
