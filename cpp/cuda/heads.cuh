// Heads of tasks on a device, with the bits of HeadSource.
#pragma once

#include "heads.hpp"
#include "normal.cuh"

namespace metaspan::cuda {

/// Draws the head of a task in one thread, from the key of the stream `heads` in a round of a
/// trial. The pointers of `law` are to device memory.
__device__ inline void draw_head(Key key, std::uint32_t task, const kernels::HeadShape& law,
                                 std::ptrdiff_t stride,  // between the entries of `head`
                                 double* head) {         // (k_star,) out
  for (std::ptrdiff_t i = 0; i < law.k_star; i += 2) {
    const Pair pair = normals_of_panel(key, task, static_cast<std::uint32_t>(i / 2), 0);
    head[i * stride] = pair.even;
    if (i + 1 < law.k_star) head[(i + 1) * stride] = pair.odd;
  }
  kernels::place_heads<Exact>(law, 1, stride, head);
}

}  // namespace metaspan::cuda
