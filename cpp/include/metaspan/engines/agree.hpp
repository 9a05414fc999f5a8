// The agreement of the processes of a sharded run on a step.
#pragma once

#include "metaspan/base/shard.hpp"

namespace metaspan {

/// Returns whether a step is fine on all processes, which all call this function in every round.
inline bool agree(const Shard& shard, bool fine) { return shard.largest(fine ? 0.0 : 1.0) == 0; }

}  // namespace metaspan
