// The shard that a call may pass with matrices of d rows.
#pragma once

#include <memory>

#include "metaspan/base/error.hpp"
#include "metaspan/base/shard.hpp"

namespace metaspan::bind {

using MaybeShard = std::shared_ptr<Shard>;  // null: the matrices have all rows

/// Checks that the matrices of a call have the rows of a shard.
inline void require_rows(const MaybeShard& shard, Index rows) {
  require(shard == nullptr || shard->size() == rows,
          "the matrices must have the rows of the shard");
}

}  // namespace metaspan::bind
