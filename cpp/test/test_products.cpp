// Eigen cuts matrix products into blocks by cache sizes, and the blocks determine the last bits of
// the products. The test checks that the core sets fixed cache sizes, so that the cache sizes of
// the processor have no effect.
#include <cstring>

#include "check.hpp"
#include "metaspan/base/base.hpp"

namespace metaspan {
namespace {

using test::check;

/// Returns a matrix product that is large enough for Eigen to cut it into blocks.
Mat product() {
  const Index n = 700;
  Mat A(n, n);
  for (Index i = 0; i < A.size(); ++i) A.data()[i] = 1.0 / static_cast<double>(1 + i % 977);
  return A * A.transpose();
}

bool same_bits(const Mat& a, const Mat& b) {
  return std::memcmp(a.data(), b.data(), sizeof(double) * static_cast<std::size_t>(a.size())) == 0;
}

void test_the_sizes_of_caches_are_those_of_the_core() {
  check(Eigen::l1CacheSize() == kCacheBytes[0], "the first cache has the core's size");
  check(Eigen::l2CacheSize() == kCacheBytes[1], "the second cache has the core's size");
  check(Eigen::l3CacheSize() == kCacheBytes[2], "the third cache has the core's size");
}

void test_they_decide_the_bits_of_a_product() {
  const Mat before = product();
  check(same_bits(before, product()), "a product has the same bits every time");
  Eigen::setCpuCacheSizes(4 * 1024, 64 * 1024, 256 * 1024);
  check(!same_bits(before, product()), "other cache sizes give other bits");
  Eigen::setCpuCacheSizes(kCacheBytes[0], kCacheBytes[1], kCacheBytes[2]);
  check(same_bits(before, product()), "the core's sizes restore the bits");
}

}  // namespace
}  // namespace metaspan

int main() {
  metaspan::test_the_sizes_of_caches_are_those_of_the_core();
  metaspan::test_they_decide_the_bits_of_a_product();
  return metaspan::test::failures;
}
