// The functions that define the extension module, one function for each folder of the core. The
// folder engines/ has one file for each engine.
#pragma once

#include <pybind11/pybind11.h>

namespace metaspan::bind {

void bind_base(pybind11::module_& module);      // the build, the CPUs
void bind_shards(pybind11::module_& module);    // shards of d columns, matrices of d rows
void bind_device(pybind11::module_& module);    // devices of a device module
void bind_random(pybind11::module_& module);    // generators, heads, samples at full size
void bind_geometry(pybind11::module_& module);  // frames, coordinates, measurements
void bind_data(pybind11::module_& module);      // checks of the user's arrays
void bind_sweeps(pybind11::module_& module);    // the gradient of one round on the data of a batch
void bind_row_products(pybind11::module_& module);  // products of all rows with matrices
void bind_in_law(pybind11::module_& module);   // draws of random samples, for tests of their law
void bind_engines(pybind11::module_& module);  // runs, and the costs of rounds
// Arrays in device memory, and products with the rows of a batch on a device.
void bind_device_arrays(pybind11::module_& module);
void bind_device_rows(pybind11::module_& module);

}  // namespace metaspan::bind
