// The extension module of one instruction-set level: all bindings of the core.
#include "bind.hpp"

PYBIND11_MODULE(METASPAN_MODULE, module) {
  using namespace metaspan::bind;
  bind_base(module);
  bind_shards(module);
  bind_device(module);
  bind_random(module);
  bind_geometry(module);
  bind_device_arrays(module);
  bind_data(module);
  bind_sweeps(module);
  bind_row_products(module);
  bind_device_rows(module);
  bind_in_law(module);
  bind_engines(module);
}
