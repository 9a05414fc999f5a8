// Sizes by which the core splits its work. The estimates in Python read these sizes through the
// bindings, so that each size is defined in one place.
#pragma once

#include "metaspan/base/base.hpp"

namespace metaspan {

constexpr int kPanelTasks = 8;        // tasks that the algebra serves together in a panel
constexpr Index kRowsAtOnce = 8;      // rows of X that are read, or generated, at a time
constexpr double kSerialFlops = 1e6;  // smaller rounds run serially: waking threads takes longer

constexpr Index kTermsAtOnce = 8;   // terms v c^T that are added to grad_B together
constexpr Index kListedRows = 256;  // rows of a sparse set whose products are computed at a time

// The vector route lets the tasks of a panel share each read of B in two cases: if the vectors of
// length d of kPanelTasks tasks have at most kShortVectors numbers together, so that these vectors
// stay in a cache, or if B has more than kLargeB numbers, so that B fits in no cache.
constexpr Index kShortVectors = 1 << 14;
constexpr double kLargeB = 1 << 19;

// For ANIL the vector route computes the inner loop from Z = X B if forming Z takes less time than
// the passes over X that Z replaces; see takes_features(). A row of X must have at least kLeastLong
// numbers, and B must have at most kLongColumns or kShortColumns columns for each replaced pass
// that counts. If a row has more than kLongRow bytes, so that eight rows do not fit in an L2 cache,
// the limit is kLongColumns and every pass counts. If a row is shorter, the limit is kLongColumns
// for rows of more than kNearestBytes bytes and kShortColumns for all shorter rows. For rows of at
// most kLongRow bytes the first pass does not count, and for an exact method the second pass does
// not count either.
constexpr Index kLeastLong = 512;
constexpr Index kLongRow = 1 << 18;
constexpr Index kLongColumns = 15;
constexpr Index kShortColumns = 8;
constexpr Index kVectorPiece = 8192;  // features whose part of B^T stays in the L2 cache
constexpr Index kFeatureRows = 64;    // rows of X whose sums for X B stay in a cache

// The rows of a pool in law are stored in panels of kTriangleRows rows, column by column. A product
// X B processes kTrianglePanels panels for each chunk of kTriangleColumns columns, so that the rows
// of B of a chunk are read once for all of them; X^T C completes one chunk after the other. The
// chunk is a multiple of the rows of all register tiles of kernels::product().
constexpr Index kTriangleRows = 16;
constexpr Index kTriangleColumns = 240;
constexpr Index kTrianglePanels = 8;

constexpr double kStoreBlockBytes = 1 << 27;   // bytes of X that a store loads; more if B is large
constexpr double kVectorBlockBytes = 1 << 26;  // bytes of gradient terms of a block of tasks
constexpr Index kMadeBytes = 1 << 26;          // bytes of generated rows of a panel of tasks

// On a device, a block of tasks has at most kDeviceBlockBytes bytes of features and products, or as
// many as B if B has more, and B has at most kMostDeviceColumns columns.
constexpr double kDeviceBlockBytes = 1 << 30;
constexpr Index kMostDeviceColumns = 256;

// If sparse sets have copies by bands of columns, the sums of one band take kBandBytes bytes, so
// that these sums stay in an L2 cache.
constexpr Index kBandBytes = 1 << 20;

// If X of a panel has more than kPanelBytes bytes, all threads share the panel; otherwise one
// thread processes the panel. If X is sparse and there are so few panels that some threads would
// have no work, the limit is kUnevenBytes instead of kPanelBytes.
constexpr double kPanelBytes = 1 << 25;
constexpr double kUnevenBytes = 1 << 20;

// A pass over X reads a few rows at a time, so that these rows are still in a cache when the pass
// uses them a second time. If eight rows fit in kNearBytes, a pass reads up to kNearBytes bytes at
// a time, which is half of an L2 cache. If eight rows are longer than kNearBytes, a pass reads up
// to kFarBytes bytes, which is a thread's share of the L3 cache. A thread that does not share its
// rows with other threads reads kNearestBytes, or eight rows if these are longer, at a time.
constexpr Index kNearestBytes = 1 << 16;
constexpr Index kNearBytes = 1 << 19;
constexpr Index kFarBytes = 13 << 19;

// Limits in bytes. Data up to these limits are taken to be still in a cache when a sweep reads the
// data again: by the estimates, and by the vector route, which otherwise prefetches small sets.
constexpr double kKeptBytes = 1 << 24;        // data of all tasks, until the next round
constexpr double kTaskBytes = 12 << 20;       // data of one task: a thread's share of the L3 cache
constexpr double kTwoVectorsBytes = 1 << 23;  // u and X^T r, which sparse entries read at random

}  // namespace metaspan
