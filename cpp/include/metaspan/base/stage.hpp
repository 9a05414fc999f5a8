// Work counted by the rates that a machine does it at.
#pragma once

#include <vector>

namespace metaspan {

/// A part of a round. Its arithmetic goes on while its data come: the longer of both is its time.
struct Stage {
  double features = 0;  // flops at the rate of X B, or what takes as long
  double grams = 0;     // flops at the rate of X X^T
  double memory = 0;    // bytes that pass from memory, or what takes as long
  double cached = 0;    // bytes that pass from a cache
};

/// Readings of memory that its first use takes as long as, when the system gives it.
constexpr double kFreshMemory = 10;

/// Parts that follow each other.
using Stages = std::vector<Stage>;

}  // namespace metaspan
