// The features X of a batch in device memory: all of them, or one block of tasks at a time.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "device_upload.hpp"
#include "metaspan/data/blocks.hpp"

namespace metaspan {

/// The features of the tasks of a block in device memory. The pointers of generated features are
/// null.
template <class XScalar>
struct BlockFeatures {
  std::vector<const XScalar*> in, out;  // (count,) first numbers of X and of X'
  std::vector<Index> in_stride, out_stride;
};

/// Brings the features of a batch to a device. If all of them fit, they are copied once. Otherwise
/// every round copies one block of tasks after another into two buffers, and the copies run on a
/// stream of their own: while the device works on a block, the host collects the next block and the
/// device copies it. Results do not depend on which of the two happens, since the blocks of a round
/// are the same.
template <class XScalar>
class DeviceSets {
 public:
  /// If `resident` is true, all features are copied to the device once. `block_bytes` is the
  /// largest number of bytes of a block.
  DeviceSets(cuda::Runtime& runtime, const TaskSet<XScalar>& tasks, bool resident,
             std::size_t block_bytes)
      : runtime_(runtime), tasks_(tasks), resident_(resident) {
    if (tasks.is_made() || tasks.on_device) return;
    uploader_ = std::make_unique<Uploader>(runtime, resident ? all_bytes(tasks) : block_bytes);
    copies_ = std::make_unique<cuda::OwnedStream>(runtime);
    if (resident) {
      all_ = {runtime, all_bytes(tasks)};
      return;
    }
    for (Slot& slot : slots_) slot.memory = {runtime, block_bytes};
  }

  /// Returns the bytes of a row of X, and of all features of a task or of a batch, on a device.
  static Index row_bytes(Index d) {
    return round_up(d * static_cast<Index>(sizeof(XScalar)), kDeviceAlignment);
  }
  static Index task_bytes(const TaskSet<XScalar>& tasks, Index task) {
    if (tasks.is_made() || tasks.on_device) return 0;
    const bool apart = !tasks.outer.empty() && !tasks.shares(task);
    return row_bytes(tasks.d) * (tasks.in(task).m + (apart ? tasks.out(task).m : 0));
  }
  static std::size_t all_bytes(const TaskSet<XScalar>& tasks) {
    Index bytes = 0;
    for (Index i = 0; i < tasks.size(); ++i) bytes += task_bytes(tasks, i);
    return static_cast<std::size_t>(bytes);
  }

  /// Calls body(block number, features) for every block of a round. The body queues work on
  /// `stream`, which waits for the features, and does not wait for this work.
  template <class Body>
  void each_block(const TaskSelection& taken, const std::vector<Block>& blocks, cuda::Stream stream,
                  int threads, Cancel* cancel, Body&& body) {
    if (tasks_.is_made() || tasks_.on_device || resident_) {
      if (resident_) bring_all(threads, cancel);
      for (std::size_t b = 0; b < blocks.size(); ++b) {
        if (cancel != nullptr) cancel->poll();
        throw_if_requested(cancel);
        body(b, features_of(part_of(taken, blocks[b])));
      }
      return;
    }
    std::size_t b = 0;
    metaspan::each_block(
        tasks_, taken, blocks, [&](const auto& held, const TaskSelection& now, const Block&) {
          Slot& slot = slots_[b % slots_.size()];
          slot.free.hold(copies_->get());
          const auto features = upload(held, now, slot.memory.data(), threads, cancel);
          cuda::OwnedEvent(runtime_, copies_->get()).hold(stream);
          body(b++, features);
          slot.free = {runtime_, stream};
        });
  }

  /// Waits for all copies, and ignores their errors.
  void drain() noexcept {
    if (copies_ != nullptr) copies_->drain();
  }

 private:
  struct Slot {
    cuda::DeviceArray<char> memory;
    cuda::OwnedEvent free;  // when the work on the slot is done
  };

  /// Copies all features, in the order of the tasks, at the first call.
  void bring_all(int threads, Cancel* cancel) {
    if (is_here_ || tasks_.is_made() || tasks_.on_device) return;
    places_ = {};
    Index at = 0;
    const TaskSelection every{tasks_.size()};
    std::vector<Block> blocks{{0, every.n}};
    if (tasks_.is_stored()) blocks = blocks_of<XScalar>(tasks_, every, 1, every.n);
    metaspan::each_block(tasks_, every, blocks,
                         [&](const auto& held, const TaskSelection& now, const Block&) {
                           const auto some = upload(held, now, all_.data() + at, threads, cancel);
                           for (Index i = 0; i < now.n; ++i) at += task_bytes(held, now[i]);
                           places_.in.insert(places_.in.end(), some.in.begin(), some.in.end());
                           places_.out.insert(places_.out.end(), some.out.begin(), some.out.end());
                         });
    runtime_.synchronise(copies_->get());
    uploader_.reset();
    is_here_ = true;
  }

  /// Queues the copies of the features of some tasks to consecutive device memory.
  BlockFeatures<XScalar> upload(const TaskSet<XScalar>& held, const TaskSelection& now, char* to,
                                int threads, Cancel* cancel) {
    const Index row = row_bytes(held.d), stride = row / static_cast<Index>(sizeof(XScalar));
    BlockFeatures<XScalar> features;
    uploader_->begin(to, copies_->get(), threads, cancel);
    const auto add = [&](const Samples<XScalar>& set) {
      const auto number = static_cast<Index>(sizeof(XScalar));
      const DenseRows<XScalar>& rows = set.dense();
      uploader_->add(rows.X, set.m, held.d * number, rows.stride * number, row);
      const auto* X = reinterpret_cast<const XScalar*>(to);
      to += set.m * row;
      return X;
    };
    for (Index i = 0; i < now.n; ++i) {
      const Index task = now[i];
      features.in.push_back(add(held.in(task)));
      if (held.outer.empty()) continue;
      features.out.push_back(held.shares(task) ? features.in.back() : add(held.out(task)));
    }
    uploader_->end();
    features.in_stride.assign(features.in.size(), stride);
    features.out_stride.assign(features.out.size(), stride);
    return features;
  }

  /// Collects the places of the features of some tasks that are in device memory already.
  BlockFeatures<XScalar> features_of(const TaskSelection& now) const {
    BlockFeatures<XScalar> features;
    const Index stride = row_bytes(tasks_.d) / static_cast<Index>(sizeof(XScalar));
    const auto add = [&](const Samples<XScalar>& set, const std::vector<const XScalar*>& places,
                         Index task, auto& X, auto& strides) {
      const bool lent = tasks_.on_device;
      X.push_back(lent ? set.dense().X
                       : (places.empty() ? nullptr : places[static_cast<std::size_t>(task)]));
      strides.push_back(lent ? set.dense().stride : stride);
    };
    for (Index i = 0; i < now.n; ++i) {
      const Index task = now[i];
      add(tasks_.in(task), places_.in, task, features.in, features.in_stride);
      if (!tasks_.outer.empty()) {
        add(tasks_.out(task), places_.out, task, features.out, features.out_stride);
      }
    }
    return features;
  }

  cuda::Runtime& runtime_;
  const TaskSet<XScalar>& tasks_;
  bool resident_, is_here_ = false;
  cuda::DeviceArray<char> all_;
  BlockFeatures<XScalar> places_;  // of all tasks, in all_
  std::array<Slot, 2> slots_;
  std::unique_ptr<Uploader> uploader_;
  std::unique_ptr<cuda::OwnedStream> copies_;  // last, so that it ends before its memory
};

}  // namespace metaspan
