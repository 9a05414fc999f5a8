// Standard normals from Philox4x32-10 counters by the Box-Muller transform. Serial; pointers and
// shapes alone.
#pragma once

#include <cstddef>
#include <cstdint>

namespace metaspan::kernels {

/// One Philox4x32-10 block (Salmon, Moraes, Dror, Shaw 2011): out = bijection(counter) under the
/// key.
void philox(const std::uint32_t key[2],      // (2,)
            const std::uint32_t counter[4],  // (4,)
            std::uint32_t out[4]);           // (4,)

/// Normals of the counters (first + i, c1, c2, c3), i < count: two independent ones each, in `a`
/// and `b`.
///
/// With the block's words x0..x3, 52 bits of (x0, x1) give u in (0, 1), the top two bits of x2 a
/// quadrant q and 52 bits of the rest g in (-1/2, 1/2); then  a = sqrt(-2 log u) cos(pi/2 (q + g)),
/// b the same with sin. The same bits on every instruction set: only correctly rounded operations,
/// never contracted.
void normal_pairs(const std::uint32_t key[2],  // (2,)
                  std::uint32_t first, std::uint32_t c1, std::uint32_t c2, std::uint32_t c3,
                  std::ptrdiff_t count,
                  double* a,   // (count,) out
                  double* b);  // (count,) out, must not alias a

}  // namespace metaspan::kernels
