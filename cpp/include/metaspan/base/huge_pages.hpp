// Huge pages for large arrays.
#pragma once

#ifdef __linux__
#include <sys/mman.h>
#endif

#include <vector>

#include "metaspan/base/base.hpp"

namespace metaspan {

/// Asks the operating system to use huge pages for an array of `count` numbers that has not been
/// written yet. Sparse sweeps access the rows of B and of the gradient in random order. With pages
/// of 4 KiB, most of these accesses miss the TLB if the matrix is large, and the first write to
/// each page of new memory causes a page fault. For an array that contains no whole huge page, the
/// function does nothing. If the operating system refuses huge pages, only the speed changes, so
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

/// Reserves memory for `count` elements in an empty vector, and asks for huge pages as
/// prefer_huge_pages() does.
template <class T>
void reserve_huge(std::vector<T>& numbers, Index count) {
  numbers.reserve(static_cast<std::size_t>(count));
  prefer_huge_pages(numbers.data(), count);
}

}  // namespace metaspan
