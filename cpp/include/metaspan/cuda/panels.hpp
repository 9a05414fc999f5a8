// The panels of a device.
#pragma once

namespace metaspan::cuda {

/// Columns of a device panel: a warp serves a panel, and each of its threads one column.
constexpr int kPanelColumns = 32;

}  // namespace metaspan::cuda
