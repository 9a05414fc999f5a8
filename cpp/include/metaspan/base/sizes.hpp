// Sizes by which work is cut. Python's estimates read them from here: no number of these is written
// down a second time.
#pragma once

#include "metaspan/base/base.hpp"

namespace metaspan {

constexpr int kPanelTasks = 8;        // that the algebra takes together: a register row
constexpr Index kRowsAtOnce = 8;      // of X, that kernels take or makers make together
constexpr double kSerialFlops = 1e6;  // a round of fewer is not worth waking a thread for

constexpr Index kTermsAtOnce = 8;   // vectors v of terms v c^T that are added together
constexpr Index kListedRows = 256;  // whose products with others are found together

constexpr Index kShortVectors = 1 << 14;  // numbers of a vector of every task of a panel
constexpr double kLargeB = 1 << 19;       // numbers of a B that no cache keeps

constexpr double kStoreBlockBytes = 1 << 27;   // of X that a store hands over at a time, at least
constexpr double kVectorBlockBytes = 1 << 26;  // of the vectors that a block of tasks keeps
constexpr Index kMadeBytes = 1 << 26;          // of rows that are made, for a panel of tasks
constexpr double kPanelBytes = 1 << 25;        // of data: threads share the tasks of a larger panel
constexpr double kUnevenBytes = 1 << 20;       // and of a smaller one that leaves some without work
constexpr Index kNearBytes = 1 << 19;  // of X to read at a time: half of a second cache, or, where
constexpr Index kFarBytes = 13 << 19;  // rows are longer, a thread's share of the last one

// Where estimates expect data that a sweep meets again.
constexpr double kKeptBytes = 1 << 24;        // of data that caches keep until the next round
constexpr double kTaskBytes = 12 << 20;       // of a task's data: a thread's share of the last one
constexpr double kTwoVectorsBytes = 1 << 23;  // of u and X^T r that sparse entries meet at random

}  // namespace metaspan
