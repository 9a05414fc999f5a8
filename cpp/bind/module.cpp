#include "bind.hpp"

PYBIND11_MODULE(_core, module) {
  using namespace metaspan::bind;
  bind_random(module);
  bind_state(module);
  bind_gradients(module);
  bind_run(module);
}
