// The blocks of a round on a device, and the arrays that describe the tasks of a block.
#pragma once

#include <algorithm>
#include <vector>

#include "device_memory.hpp"
#include "device_sets.hpp"
#include "metaspan/cuda/algebra.hpp"
#include "metaspan/cuda/panels.hpp"
#include "metaspan/engines/device_arrays.hpp"

namespace metaspan {

/// Cuts a round of n tasks into blocks of at most `most` tasks.
inline std::vector<Block> cut(Index n, Index most) {
  std::vector<Block> blocks;
  for (Index first = 0; first < n; first += most)
    blocks.push_back({first, std::min(most, n - first)});
  return blocks;
}

/// Arrays of a block that the host computes, packed into one piece of memory that is copied to the
/// device as a whole. The memory is reused; the caller waits for a round before the next one.
class PackedArrays {
 public:
  void clear() { filled_ = 0; }

  /// Reserves an array and returns its offset in bytes.
  template <class T>
  std::size_t reserve(Index count) {
    const std::size_t at = filled_;
    filled_ += static_cast<std::size_t>(round_up(count * static_cast<Index>(sizeof(T)), kAlign));
    return at;
  }
  /// Allocates memory for the reserved arrays if they need more than before.
  void allocate(cuda::Runtime& runtime) {
    if (filled_ <= host_.size()) return;
    host_ = {};
    device_ = {};
    host_ = {runtime, filled_};
    device_ = {runtime, filled_};
  }
  template <class T>
  T* host(std::size_t at) const {
    return reinterpret_cast<T*>(host_.data() + at);
  }
  template <class T>
  T* device(std::size_t at) const {
    return reinterpret_cast<T*>(device_.data() + at);
  }
  void send(cuda::Runtime& runtime, cuda::Stream stream) const {
    runtime.copy(device_.data(), host_.data(), filled_, cuda::Copy::to_device, stream);
  }

 private:
  static constexpr Index kAlign = 256;
  cuda::PinnedArray<char> host_;
  cuda::DeviceArray<char> device_;
  std::size_t filled_ = 0;
};

/// Makes the block of samples of some sets in device memory.
template <class XScalar>
cuda::SampleBlock samples_of(const cuda::SampleSet* sets, Index n, Index most, Index rows) {
  return {sets, static_cast<int>(n), static_cast<int>(most), rows, real_of<XScalar>(), false, {}};
}

/// The tasks of a block: their number, their rows, and the arrays that describe them.
struct BlockOfTasks {
  Index first, count, rows_in, rows_out;
  cuda::SampleBlock in, out, both;
  const cuda::SampleSet *host_in, *host_out;  // (count,) the sets of `in` and `out`, on the host
  const double *y_in, *y_out;                 // panels, device; not written for generated samples
  const double* shares;                       // (count,) device: of the mean over tasks, (47)
};

/// Describes the blocks of a round to the device: the places of their features, their numbers of
/// samples, their responses, and their shares of the mean. A block whose features stay where they
/// are is described once.
template <class XScalar>
class BlockDescriptions {
 public:
  BlockDescriptions(cuda::Runtime& runtime, const TaskSet<XScalar>& tasks, const DeviceSizes& sizes)
      : runtime_(runtime), tasks_(tasks), sizes_(sizes) {}

  /// Returns the description of block number b, and queues the copy of its arrays if they change.
  BlockOfTasks describe(std::size_t b, const TaskSelection& taken, const Block& block,
                        const BlockFeatures<XScalar>& features, cuda::Stream stream) {
    if (blocks_.size() <= b) blocks_.resize(b + 1);
    Described& at = blocks_[b];
    const TaskSelection now = part_of(taken, block);
    const bool keeps = at.count == block.count && taken.tasks == nullptr && at.in == features.in &&
                       at.out == features.out;
    if (!keeps) write(at, now, features, taken.n, stream);
    return point_to(at, block);
  }

 private:
  struct Described {
    PackedArrays arrays;
    std::size_t sets_in, sets_out, sets_both, y_in, y_out, shares;  // offsets
    Index count = 0, rows_in = 0, rows_out = 0;
    std::vector<const XScalar*> in, out;
  };

  bool has_outer() const { return !tasks_.outer.empty(); }
  Index panels_of(Index count) const {
    return ceil_div(count, cuda::kPanelColumns) * cuda::kPanelColumns;
  }

  void write(Described& at, const TaskSelection& now, const BlockFeatures<XScalar>& features,
             Index n, cuda::Stream stream) {
    const Index count = now.n, padded = panels_of(count);
    at.count = count;
    at.in = features.in;
    at.out = features.out;
    PackedArrays& arrays = at.arrays;
    arrays.clear();
    at.sets_in = arrays.reserve<cuda::SampleSet>(count);
    at.sets_out = arrays.reserve<cuda::SampleSet>(count);
    at.sets_both = arrays.reserve<cuda::SampleSet>(2 * count);
    at.shares = arrays.reserve<double>(count);
    at.y_in = arrays.reserve<double>(padded * sizes_.most_in);
    at.y_out = arrays.reserve<double>(padded * sizes_.most_out);
    arrays.allocate(runtime_);
    at.rows_out = 0;
    for (Index i = 0; i < count; ++i) {
      arrays.host<double>(at.shares)[i] = tasks_.weight(now[i]) / static_cast<double>(n);
    }
    at.rows_in = write_sets(at, now, false, features.in, features.in_stride, 0);
    if (has_outer()) {
      at.rows_out = write_sets(at, now, true, features.out, features.out_stride, at.rows_in);
    }
    arrays.send(runtime_, stream);
  }

  /// Writes the inner or the outer sets of the tasks, and their responses as panels. Returns the
  /// number of rows of the sets.
  Index write_sets(Described& at, const TaskSelection& now, bool outer,
                   const std::vector<const XScalar*>& X, const std::vector<Index>& strides,
                   Index rows_before) {
    PackedArrays& arrays = at.arrays;
    const Index count = now.n, most = outer ? sizes_.most_out : sizes_.most_in;
    auto* alone = arrays.host<cuda::SampleSet>(outer ? at.sets_out : at.sets_in);
    auto* among_both = arrays.host<cuda::SampleSet>(at.sets_both) + (outer ? count : 0);
    double* y = arrays.host<double>(outer ? at.y_out : at.y_in);
    std::fill_n(y, panels_of(count) * most, 0.0);
    Index rows = 0;
    for (Index i = 0; i < count; ++i) {
      const Samples<XScalar>& set = outer ? tasks_.out(now[i]) : tasks_.in(now[i]);
      const auto place = static_cast<std::size_t>(i);
      alone[i] = {X[place],
                  strides[place],
                  rows,
                  static_cast<int>(set.m),
                  static_cast<int>(i),
                  static_cast<std::uint32_t>(now[i]),
                  outer ? 1 : 0};
      rows += set.m;
      among_both[i] = alone[i];
      among_both[i].first_row += rows_before;
      if (set.is_made()) continue;
      double* column =
          y + i / cuda::kPanelColumns * most * cuda::kPanelColumns + i % cuda::kPanelColumns;
      for (Index row = 0; row < set.m; ++row) {
        column[row * cuda::kPanelColumns] = normalisation(set.m) * static_cast<double>(set.y[row]);
      }
    }
    return rows;
  }

  BlockOfTasks point_to(const Described& at, const Block& block) const {
    const PackedArrays& arrays = at.arrays;
    const auto* in = arrays.device<cuda::SampleSet>(at.sets_in);
    const auto* out = arrays.device<cuda::SampleSet>(at.sets_out);
    const auto* both = arrays.device<cuda::SampleSet>(at.sets_both);
    const Index most = std::max(sizes_.most_in, sizes_.most_out);
    return {block.first,
            block.count,
            at.rows_in,
            at.rows_out,
            samples_of<XScalar>(in, block.count, sizes_.most_in, at.rows_in),
            samples_of<XScalar>(out, has_outer() ? block.count : 0, sizes_.most_out, at.rows_out),
            samples_of<XScalar>(both, (has_outer() ? 2 : 1) * block.count, most,
                                at.rows_in + at.rows_out),
            arrays.host<cuda::SampleSet>(at.sets_in),
            arrays.host<cuda::SampleSet>(at.sets_out),
            arrays.device<double>(at.y_in),
            arrays.device<double>(at.y_out),
            arrays.device<double>(at.shares)};
  }

  cuda::Runtime& runtime_;
  const TaskSet<XScalar>& tasks_;
  DeviceSizes sizes_;
  std::vector<Described> blocks_;
};

/// Describes the products of a block to the algebra. If the inner and the outer set of every task
/// are the same, so are their products.
inline cuda::TaskPanels panels_of(const BlockOfTasks& block, const DeviceSizes& sizes,
                                  const ProductMemory& products) {
  const bool apart = sizes.has_outer();
  return {block.in,
          block.out,
          static_cast<int>(sizes.k),
          products.Z_in.data(),
          (apart ? products.Z_out : products.Z_in).data(),
          block.y_in,
          block.y_out,
          products.K.data(),
          (apart ? products.K_cross : products.K).data(),
          (apart ? products.K_outer : products.K).data()};
}

/// Queues work on the blocks of a round: brings the features of a block to the device, describes
/// its tasks, and lets a caller queue the kernels of the block.
template <class XScalar>
class BlockQueue {
 public:
  /// Rounds have n tasks in blocks of at most `most` tasks. `keeps` says whether the features stay
  /// on the device.
  BlockQueue(cuda::Runtime& runtime, const TaskSet<XScalar>& tasks, const DeviceSizes& sizes,
             Index n, Index most, bool keeps)
      : runtime_(runtime),
        blocks_(cut(n, most)),
        descriptions_(runtime, tasks, sizes),
        stream_(runtime),
        sets_(runtime, tasks, keeps,
              static_cast<std::size_t>(sizes.x_bytes) *
                  static_cast<std::size_t>(std::min(n, most))) {}

  cuda::Runtime& runtime() const { return runtime_; }
  cuda::Stream stream() const { return stream_.get(); }
  const std::vector<Block>& blocks() const { return blocks_; }

  /// Calls body(block), which queues work, for every block of the round. Then waits for the work.
  /// After an exception, the device has finished all work too.
  template <class Body>
  void run(const TaskSelection& taken, int threads, Cancel* cancel, Body&& body) {
    try {
      sets_.each_block(taken, blocks_, stream(), threads, cancel,
                       [&](std::size_t b, const BlockFeatures<XScalar>& features) {
                         body(descriptions_.describe(b, taken, blocks_[b], features, stream()));
                       });
      cuda::OwnedEvent(runtime_, stream()).await(cancel);
      runtime_.synchronise(stream());
    } catch (...) {
      sets_.drain();
      stream_.drain();
      throw;
    }
  }

  /// Returns memory of at least `bytes` bytes for a kernel. Work on a stream runs in order, so
  /// kernels may share the memory, and releasing memory waits for the work on it.
  void* workspace(std::size_t bytes) {
    if (bytes > workspace_.size()) {
      workspace_ = {};
      workspace_ = {runtime_, bytes};
    }
    return workspace_.data();
  }

 private:
  cuda::Runtime& runtime_;
  std::vector<Block> blocks_;
  cuda::DeviceArray<char> workspace_;
  BlockDescriptions<XScalar> descriptions_;
  cuda::OwnedStream stream_;  // ends before the memory above
  DeviceSets<XScalar> sets_;
};

}  // namespace metaspan
