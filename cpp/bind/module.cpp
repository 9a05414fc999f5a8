#include "bind.hpp"
#include "metaspan/base.hpp"

PYBIND11_MODULE(METASPAN_MODULE, module) {
  using namespace metaspan::bind;
  // How Eigen blocks a product follows the caches it sees, and the last bits follow the blocks: the
  // same everywhere.
  Eigen::setCpuCacheSizes(32 * 1024, 512 * 1024, 4 * 1024 * 1024);
  bind_random(module);
  bind_draws(module);
  bind_features(module);
  bind_pathwise(module);
  bind_state(module);
  bind_data(module);
  bind_gradients(module);
  bind_run(module);
}
