// The parts of the extension module: a file per room of the core, and for engines one per engine.
#pragma once

#include <pybind11/pybind11.h>

namespace metaspan::bind {

void bind_base(pybind11::module_& module);      // the build, the CPUs
void bind_random(pybind11::module_& module);    // generators, heads, samples at full size
void bind_geometry(pybind11::module_& module);  // frames, coordinates, measurements
void bind_data(pybind11::module_& module);      // checks of the user's arrays
void bind_sweeps(pybind11::module_& module);    // one round on given tasks
void bind_in_law(pybind11::module_& module);    // what random samples are made of
void bind_engines(pybind11::module_& module);   // training

}  // namespace metaspan::bind
