// Random numbers of the device module.
#pragma once

#include "metaspan/cuda/random.hpp"

namespace metaspan::cuda {

/// The random numbers of the current device.
class DeviceRandom final : public Random {
 public:
  /// Kernels are launched with at most `blocks` blocks; results do not depend on this number.
  explicit DeviceRandom(int blocks) : blocks_(blocks) {}

  std::size_t workspace(const RowRadii& radii) const override;
  void write_radii(const RowRadii& radii, void* workspace, Stream stream) override;
  void write_responses(const Responses& responses, Stream stream) override;
  void write_parameters(const Parameters& parameters, Stream stream) override;
  void add_normals(Key key, double scale, std::ptrdiff_t first, std::ptrdiff_t count, Real type,
                   void* out, Stream stream) override;

 private:
  /// Returns the number of blocks for `items` items, if a block takes `at_a_time` of them at once.
  int grid(std::ptrdiff_t items, int at_a_time) const;

  int blocks_;
};

}  // namespace metaspan::cuda
