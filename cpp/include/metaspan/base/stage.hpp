// The work of a part of a round: one amount for each kind of operation, since a machine has a
// separate rate for each kind.
#pragma once

#include <vector>

namespace metaspan {

/// A part of a round. The arithmetic of a part overlaps with its data traffic, so the time of the
/// part is the time of its arithmetic or the time of its data traffic, whichever is longer.
struct Stage {
  double features = 0;  // flops at the rate of X B; other work as flops that take as long
  double grams = 0;     // flops at the rate of X X^T
  double memory = 0;    // bytes read from memory; other work as bytes that take as long
  double cached = 0;    // bytes read from a cache
};

/// The first use of memory that the operating system has just provided takes kFreshMemory times as
/// long as a later read of that memory.
constexpr double kFreshMemory = 10;

/// Parts of a round that run one after the other, so that the times of the parts are added.
using Stages = std::vector<Stage>;

}  // namespace metaspan
