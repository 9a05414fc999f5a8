// Sizes by which the core splits its work. Python's estimates read them from the bindings, so that
// each number is written down once.
#pragma once

#include "metaspan/base/base.hpp"

namespace metaspan {

constexpr int kPanelTasks = 8;        // tasks of a panel that the algebra serves: a register row
constexpr Index kRowsAtOnce = 8;      // rows of X that a kernel reads, or a maker fills, at a time
constexpr double kSerialFlops = 1e6;  // a smaller round runs serially: waking a thread costs more

constexpr Index kTermsAtOnce = 8;   // vectors v of terms v c^T that are added together
constexpr Index kListedRows = 256;  // rows of a sparse set that are multiplied by others at a time

// The vector route lets the tasks of a panel share each read of B in two cases: if the panel's
// vectors of length d have at most kShortVectors numbers and stay in a cache, or if B has more than
// kLargeB numbers and no cache holds it.
constexpr Index kShortVectors = 1 << 14;
constexpr double kLargeB = 1 << 19;

// The vector route computes the inner loop of ANIL from Z = X B where that is faster than the
// passes over X that it replaces, see takes_features(). Rows need at least kLeastLong numbers. Rows
// of more than kLongRow bytes, of which no L2 cache holds eight, allow B kLongColumns columns for
// each pass. For shorter rows the first pass does not count, nor the second one of an exact method;
// each other pass allows kLongColumns columns if a row has more than kNearestBytes, otherwise
// kShortColumns.
constexpr Index kLeastLong = 512;
constexpr Index kLongRow = 1 << 18;
constexpr Index kLongColumns = 15;
constexpr Index kShortColumns = 8;
constexpr Index kVectorPiece = 8192;  // features whose part of B^T stays in the L2 cache
constexpr Index kFeatureRows = 64;    // rows of X whose sums for X B stay in a cache

constexpr double kStoreBlockBytes = 1 << 27;   // X that a store loads at a time; more if B is large
constexpr double kVectorBlockBytes = 1 << 26;  // gradient terms that a block of tasks keeps
constexpr Index kMadeBytes = 1 << 26;          // generated rows that are held for a panel of tasks

// Bytes of the sums of a band of columns, where sparse sets have copies by bands: the sums stay in
// an L2 cache.
constexpr Index kBandBytes = 1 << 20;

// Threads share each panel whose X has more bytes than kPanelBytes; smaller panels go to one thread
// each. The limit is kUnevenBytes where few sparse panels would leave some threads without work.
constexpr double kPanelBytes = 1 << 25;
constexpr double kUnevenBytes = 1 << 20;

// Bytes of X that are read at a time, so that a second use of the rows hits a cache: half of an L2
// cache or, if eight rows are longer than that, a thread's share of the L3 cache. A thread that
// shares its rows with no other takes kNearestBytes, or eight rows.
constexpr Index kNearestBytes = 1 << 16;
constexpr Index kNearBytes = 1 << 19;
constexpr Index kFarBytes = 13 << 19;

// Sizes up to which estimates assume that data are still in a cache when a sweep reads them again.
constexpr double kKeptBytes = 1 << 24;        // data of all tasks, until the next round
constexpr double kTaskBytes = 12 << 20;       // data of one task: a thread's share of the L3 cache
constexpr double kTwoVectorsBytes = 1 << 23;  // u and X^T r, which sparse entries read at random

}  // namespace metaspan
