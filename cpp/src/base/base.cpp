#include "metaspan/base/base.hpp"

namespace metaspan {
namespace {

/// Fixes the cache sizes that Eigen plans with during static initialisation, before any product can
/// run. Eigen cuts a product into blocks by these sizes, and the blocks decide the order of its
/// sums: with the sizes of the machine, the last bits would differ between processors of one
/// instruction-set level.
[[maybe_unused]] const bool kCachesAreSet = [] {
  Eigen::setCpuCacheSizes(kCacheBytes[0], kCacheBytes[1], kCacheBytes[2]);
  return true;
}();

}  // namespace
}  // namespace metaspan
