#include "bind.hpp"

PYBIND11_MODULE(METASPAN_MODULE, module) {
  using namespace metaspan::bind;
  bind_random(module);
  bind_draws(module);
  bind_features(module);
  bind_pathwise(module);
  bind_state(module);
  bind_data(module);
  bind_gradients(module);
  bind_run(module);
}
