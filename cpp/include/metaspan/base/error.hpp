// Exceptions of the core. The core checks only the conditions that memory safety depends on; before
// it calls the core, the Python package checks all other conditions and gives more helpful
// messages.
#pragma once

#include <stdexcept>

#include "metaspan/base/base.hpp"

namespace metaspan {

/// Thrown by a round that was cancelled. After this exception the engine has the same state as
/// before the cancelled round.
struct Cancelled : std::exception {
  const char* what() const noexcept override { return "cancelled"; }
};

/// Throws std::invalid_argument with `message` unless `condition` holds.
inline void require(bool condition, const char* message) {
  if (!condition) throw std::invalid_argument(message);
}

}  // namespace metaspan
