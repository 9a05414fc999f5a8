// Exports the sizes of blocks that the estimates of time and memory, and the tests of these
// estimates, use.
#include "metaspan/base/sizes.hpp"

#include "run.hpp"

namespace metaspan::bind {

void bind_sizes(py::module_& module) {
  module.attr("PANEL_TASKS") = kPanelTasks;
  module.attr("SHORT_VECTORS") = kShortVectors;
  module.attr("LARGE_B") = static_cast<Index>(kLargeB);
  module.attr("STORE_BLOCK_BYTES") = static_cast<Index>(kStoreBlockBytes);
  module.attr("VECTOR_BLOCK_BYTES") = static_cast<Index>(kVectorBlockBytes);
  module.attr("MADE_BYTES") = kMadeBytes;
  module.attr("PANEL_BYTES") = static_cast<Index>(kPanelBytes);
  module.attr("BAND_BYTES") = kBandBytes;
  module.attr("NEAR_BYTES") = kNearBytes;
  module.attr("FAR_BYTES") = kFarBytes;
  module.attr("KEPT_BYTES") = static_cast<Index>(kKeptBytes);
  module.attr("TASK_BYTES") = static_cast<Index>(kTaskBytes);
  module.attr("MOST_DEVICE_COLUMNS") = kMostDeviceColumns;
  module.attr("TWO_VECTORS_BYTES") = static_cast<Index>(kTwoVectorsBytes);
}

}  // namespace metaspan::bind
