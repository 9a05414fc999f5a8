// The parts of the extension module.
#pragma once

#include <pybind11/pybind11.h>

namespace metaspan::bind {

void bind_random(pybind11::module_& module);     // generators, laws of heads
void bind_draws(pybind11::module_& module);      // what random samples are made of
void bind_features(pybind11::module_& module);   // random samples at full size
void bind_pathwise(pybind11::module_& module);   // a round on random samples that are given
void bind_state(pybind11::module_& module);      // coordinates, measurements, the build
void bind_data(pybind11::module_& module);       // sweeps over the user's arrays
void bind_gradients(pybind11::module_& module);  // one round on given tasks
void bind_run(pybind11::module_& module);        // training

}  // namespace metaspan::bind
