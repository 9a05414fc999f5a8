#include "metaspan/base/base.hpp"

namespace metaspan {
namespace {

/// Sets the cache sizes with which Eigen plans matrix products, during static initialisation and
/// thus before any product is computed. Eigen cuts a matrix product into blocks by these sizes, and
/// the blocks determine the order of the sums in the product. If Eigen used the cache sizes of the
/// machine, the last bits of a product would differ between processors of the same instruction-set
/// level.
[[maybe_unused]] const bool kCachesAreSet = [] {
  Eigen::setCpuCacheSizes(kCacheBytes[0], kCacheBytes[1], kCacheBytes[2]);
  return true;
}();

}  // namespace
}  // namespace metaspan
