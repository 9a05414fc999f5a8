// The Python extension of the device module. It holds no logic: the core reads the capsule.
#include <pybind11/pybind11.h>

#include "parts.hpp"

#if defined(METASPAN_CUDA_EMULATED)
#include "bind_emulator.hpp"
#endif

namespace py = pybind11;

PYBIND11_MODULE(METASPAN_MODULE, extension) {
  extension.attr("version") = METASPAN_VERSION;
  extension.def("module",
                [] { return py::capsule(&metaspan::cuda::module(), "metaspan.cuda.Module"); });
#if defined(METASPAN_CUDA_EMULATED)
  metaspan::emulator::bind_emulator(extension);
#endif
}
