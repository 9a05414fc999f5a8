#include "metaspan/base/base.hpp"

namespace metaspan {
namespace {

// Set while the core is loaded, so before any product.
[[maybe_unused]] const bool kCachesAreSet = [] {
  Eigen::setCpuCacheSizes(kCacheBytes[0], kCacheBytes[1], kCacheBytes[2]);
  return true;
}();

}  // namespace
}  // namespace metaspan
