// The agreement of the processes of a sharded run on a step.
#pragma once

#include "metaspan/base/cancel.hpp"
#include "metaspan/base/shard.hpp"

namespace metaspan {

/// Returns whether a step is fine on all processes. All of them call this function in every round,
/// with a token each or none. If cancellation has been requested on any process, it is requested on
/// all, so that all of them stop before the same round. While other processes wait for an exchange,
/// no process may stop by itself; hence a sharded run polls its token here alone.
inline bool agree(const Shard& shard, bool fine, Cancel* cancel) {
  if (!shard.is_shared()) return fine;
  if (cancel != nullptr) cancel->poll();
  const bool stops = cancel != nullptr && cancel->requested();
  double faults[] = {fine ? 0.0 : 1.0, stops ? 1.0 : 0.0};
  shard.largest(2, faults);
  if (faults[1] != 0 && cancel != nullptr) cancel->request();
  return faults[0] == 0;
}

}  // namespace metaspan
