// Huge pages for large arrays.
#pragma once

#ifdef __linux__
#include <sys/mman.h>
#endif

#include <vector>

#include "metaspan/base/base.hpp"

namespace metaspan {

/// Asks the system to back an array of `count` numbers, not yet written, by huge pages. Sparse
/// sweeps address rows of B and of the gradient at random: with pages of 4 KiB most rows of a large
/// matrix miss the TLB, and fresh memory takes a page fault every 4 KiB. An array that contains no
/// whole huge page is left unchanged. If the system refuses huge pages, only the speed changes, so
/// the refusal is ignored.
template <class T>
void prefer_huge_pages(T* data, Index count) {
#ifdef MADV_HUGEPAGE
  constexpr std::uintptr_t kPage = 1 << 21;
  const auto first = reinterpret_cast<std::uintptr_t>(data);
  const std::uintptr_t begin = (first + kPage - 1) / kPage * kPage;
  const std::uintptr_t end = (first + static_cast<std::size_t>(count) * sizeof(T)) / kPage * kPage;
  if (begin < end)
    static_cast<void>(madvise(data + (begin - first) / sizeof(T), end - begin, MADV_HUGEPAGE));
#else
  static_cast<void>(data);
  static_cast<void>(count);
#endif
}

/// Allocates memory for `count` elements of an empty vector, in huge pages if the memory is large.
template <class T>
void reserve_huge(std::vector<T>& numbers, Index count) {
  numbers.reserve(static_cast<std::size_t>(count));
  prefer_huge_pages(numbers.data(), count);
}

}  // namespace metaspan
