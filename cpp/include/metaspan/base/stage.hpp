// Work, counted by the rates at which a machine performs it.
#pragma once

#include <vector>

namespace metaspan {

/// A part of a round. Its arithmetic overlaps with its data traffic, so the longer of the two is
/// its time.
struct Stage {
  double features = 0;  // flops at the rate of X B; other work as the flops that take as long
  double grams = 0;     // flops at the rate of X X^T
  double memory = 0;    // bytes read from memory; other work as the bytes that take as long
  double cached = 0;    // bytes read from a cache
};

/// Time of the first use of memory that the system has just provided, as a number of reads of it.
constexpr double kFreshMemory = 10;

/// Parts that follow each other: their times add up.
using Stages = std::vector<Stage>;

}  // namespace metaspan
