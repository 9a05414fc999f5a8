// What the core throws when memory safety is at stake. Everything else is checked in Python, with
// better words.
#pragma once

#include <stdexcept>

#include "metaspan/base/base.hpp"

namespace metaspan {

/// Thrown by a round that was asked to stop; the state is the one before the round.
struct Cancelled : std::exception {
  const char* what() const noexcept override { return "cancelled"; }
};

inline void require(bool condition, const char* message) {
  if (!condition) throw std::invalid_argument(message);
}

}  // namespace metaspan
