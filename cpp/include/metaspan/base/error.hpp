// Exceptions of the core. It checks only what memory safety depends on; Python checks everything
// else first, with more helpful messages.
#pragma once

#include <stdexcept>

#include "metaspan/base/base.hpp"

namespace metaspan {

/// Thrown by a round that was cancelled. The state is the one before that round.
struct Cancelled : std::exception {
  const char* what() const noexcept override { return "cancelled"; }
};

/// Throws std::invalid_argument with `message` unless `condition` holds.
inline void require(bool condition, const char* message) {
  if (!condition) throw std::invalid_argument(message);
}

}  // namespace metaspan
