// The streams of random numbers, and the keys of Philox under which their numbers are drawn.
#pragma once

#include <cstdint>

namespace metaspan {

/// The streams: families of random numbers that are independent although they share one seed.
enum class Stream : std::uint32_t {
  heads = 1,
  noise_in,
  noise_out,
  features_in,
  features_out,
  b_star,
  start,
  frame,
  pool,
  user,
  samples,
  off_span,
  radii_in,
  radii_out,
  spread,
  privacy,
};

/// A Philox key.
struct Key {
  std::uint32_t words[2];
};

}  // namespace metaspan
