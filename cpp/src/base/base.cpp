#include "metaspan/base/base.hpp"

namespace metaspan {
namespace {

/// During static initialisation, before any matrix product is computed, fixes the cache sizes that
/// Eigen plans with. Eigen cuts a matrix product into blocks by these sizes, and the blocks decide
/// the order of its sums: if Eigen used the cache sizes of the machine, the last bits would differ
/// between processors of the same instruction-set level.
[[maybe_unused]] const bool kCachesAreSet = [] {
  Eigen::setCpuCacheSizes(kCacheBytes[0], kCacheBytes[1], kCacheBytes[2]);
  return true;
}();

}  // namespace
}  // namespace metaspan
