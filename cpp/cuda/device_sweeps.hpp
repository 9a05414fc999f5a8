// The sweeps of the device module.
#pragma once

#include "sweep_plan.hpp"

namespace metaspan::cuda {

/// The sweeps on the device of a runtime.
class DeviceSweeps final : public Sweeps {
 public:
  /// Kernels are launched with at most `blocks` blocks; results do not depend on this number.
  DeviceSweeps(Runtime& runtime, int blocks) : runtime_(runtime), blocks_(blocks) {}

  std::size_t workspace(const FirstSweep& sweep) const override;
  std::size_t workspace(const SecondSweep& sweep) const override;
  std::size_t workspace(const TaskSweep& sweep) const override;
  void run(const FirstSweep& sweep, void* workspace, Stream stream) override;
  void run(const SecondSweep& sweep, void* workspace, Stream stream) override;
  void run(const TaskSweep& sweep, void* workspace, Stream stream) override;
  DeviceWork work(const FirstSweep& sweep) const override;
  DeviceWork work(const SecondSweep& sweep) const override;
  DeviceWork work(const TaskSweep& sweep) const override;
  bool step(void* B, const void* grad, double beta, std::ptrdiff_t count, Real type, int* flag,
            Stream stream) override;
  std::size_t gram_workspace(const TallMatrix& A, const TallMatrix& B,
                             std::ptrdiff_t d) const override;
  void gram(const TallMatrix& A, const TallMatrix& B, std::ptrdiff_t d, double* out,
            void* workspace, Stream stream) override;

 private:
  /// Returns the number of blocks for `items` items, if a block takes `at_a_time` of them at once.
  unsigned grid(std::ptrdiff_t items, std::ptrdiff_t at_a_time = 1) const;

  Runtime& runtime_;
  int blocks_;
};

}  // namespace metaspan::cuda
