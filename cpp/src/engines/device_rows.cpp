#include "metaspan/engines/device_rows.hpp"

#include <algorithm>

#include "device_sets.hpp"
#include "metaspan/base/error.hpp"
#include "metaspan/cuda/owned.hpp"
#include "metaspan/cuda/sweeps.hpp"

namespace metaspan {
namespace {

constexpr double kKeptShare = 0.5;  // of free device memory: the most that X may take to stay there

/// Device memory that grows to the largest request, and is reused by the work on one stream.
class Scratch {
 public:
  Scratch(cuda::Runtime& runtime, cuda::Stream stream) : runtime_(runtime), stream_(stream) {}

  template <class T>
  T* reserve(Index count) {
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
    if (bytes > memory_.size()) {
      runtime_.synchronise(stream_);  // earlier work may use the memory
      memory_ = {};                   // before the larger memory is allocated
      memory_ = {runtime_, bytes};
    }
    return reinterpret_cast<T*>(memory_.data());
  }

 private:
  cuda::Runtime& runtime_;
  cuda::Stream stream_;
  cuda::DeviceArray<char> memory_;
};

/// The sets of a block in device memory: those of each task stacked, inner before outer; or inner
/// and outer sets apart.
struct BlockSets {
  std::vector<cuda::SampleSet> stacked, in, out;
  Index rows = 0;
};

template <class XScalar>
class RowsOfBatch final : public DeviceRows {
 public:
  RowsOfBatch(const DeviceUse& use, const TaskSet<XScalar>& tasks)
      : runtime_(*use.module->runtime),
        sweeps_(*use.module->sweeps),
        tasks_(tasks),
        offsets_(row_offsets(tasks)),
        block_bytes_(block_bytes(use, tasks)),
        sets_(runtime_, tasks, stays(use, tasks), static_cast<std::size_t>(block_bytes_)),
        stream_(runtime_),
        B_(runtime_, stream_.get()),
        out_(runtime_, stream_.get()),
        Z_(runtime_, stream_.get()),
        C_(runtime_, stream_.get()),
        workspace_(runtime_, stream_.get()),
        tables_(runtime_, stream_.get()) {}
  ~RowsOfBatch() override {  // the work ends before the memory that it uses is released
    sets_.drain();
    stream_.drain();
  }

  void features(const double* B, Index k, double* Z, int threads, Cancel* cancel) override {
    send_B(B, k);
    each_block(all(), k, threads, cancel, [&](const Block& block, const BlockSets& sets) {
      const double* of_block = project(sets, k);
      receive(Z + offset(block.first) * k, of_block, sets.rows * k);
    });
  }

  void combine(const double* C, Index k, double* out, int threads, Cancel* cancel) override {
    each_block(all(), k, threads, cancel, [&](const Block& block, const BlockSets& sets) {
      double* of_block = C_.template reserve<double>(sets.rows * k);
      send(of_block, C + offset(block.first) * k, sets.rows * k);
      add_combined(block, sets, k);
    });
    receive(out, out_.template reserve<double>(tasks_.d * k), tasks_.d * k);
  }

  void combine_features(const double* B, Index k, const RowTransform& transform, double* out,
                        int threads, Cancel* cancel) override {
    send_B(B, k);
    std::vector<double> Z, C;
    each_block(all(), k, threads, cancel, [&](const Block& block, const BlockSets& sets) {
      const Index numbers = sets.rows * k;
      Z.resize(static_cast<std::size_t>(numbers));
      C.resize(static_cast<std::size_t>(numbers));
      receive(Z.data(), project(sets, k), numbers);
      transform(block.first, block.count, Z.data(), C.data());
      send(C_.template reserve<double>(numbers), C.data(), numbers);
      add_combined(block, sets, k);
    });
    receive(out, out_.template reserve<double>(tasks_.d * k), tasks_.d * k);
  }

  std::vector<Mat> grams(Index first, Index count, int threads, Cancel* cancel) override {
    std::vector<Mat> all_grams;
    all_grams.reserve(static_cast<std::size_t>(count));
    const Index most = most_rows();
    each_block({count, nullptr, first}, most, threads, cancel,
               [&](const Block& block, const BlockSets& sets) {
                 append_grams(first + block.first, block.count, sets, all_grams);
               });
    return all_grams;
  }

 private:
  /// Returns the bytes of X of a block: the block's share of `use`, and room for a largest task.
  static Index block_bytes(const DeviceUse& use, const TaskSet<XScalar>& tasks) {
    Index largest = 0;
    for (Index i = 0; i < tasks.size(); ++i) {
      largest = std::max(largest, DeviceSets<XScalar>::task_bytes(tasks, i));
    }
    return std::max(largest, static_cast<Index>(use.block_bytes));
  }
  /// Returns whether X is copied to the device once.
  static bool stays(const DeviceUse& use, const TaskSet<XScalar>& tasks) {
    return use.may_keep && static_cast<double>(DeviceSets<XScalar>::all_bytes(tasks)) <=
                               kKeptShare * static_cast<double>(use.module->runtime->free_bytes());
  }

  TaskSelection all() const { return {tasks_.size()}; }
  Index offset(Index task) const { return offsets_[static_cast<std::size_t>(task)]; }
  bool is_apart(Index task) const { return !tasks_.outer.empty() && !tasks_.shares(task); }
  Index most_rows() const {
    Index most = 0;
    for (Index i = 0; i < tasks_.size(); ++i) most = std::max(most, offset(i + 1) - offset(i));
    return most;
  }

  /// Cuts tasks into blocks. X of a block, and `columns` doubles for each of its rows, have at most
  /// block_bytes_ bytes each, unless a single task has more.
  std::vector<Block> cut(const TaskSelection& taken, Index columns) const {
    const Index row_bytes = DeviceSets<XScalar>::row_bytes(tasks_.d);
    std::vector<Block> blocks;
    Index rows = 0;
    for (Index i = 0; i < taken.n; ++i) {
      const Index more = offset(taken[i] + 1) - offset(taken[i]);
      const Index bytes = (rows + more) * std::max(row_bytes, 8 * columns);
      if (blocks.empty() || bytes > block_bytes_) {
        blocks.push_back({i, 0});
        rows = 0;
      }
      ++blocks.back().count;
      rows += more;
    }
    return blocks;
  }

  /// Calls body(block, sets) for every block, while the features of the block are on the device.
  template <class Body>
  void each_block(const TaskSelection& taken, Index columns, int threads, Cancel* cancel,
                  Body&& body) {
    const std::vector<Block> blocks = cut(taken, columns);
    sets_.each_block(taken, blocks, stream_.get(), threads, cancel,
                     [&](std::size_t b, const BlockFeatures<XScalar>& features) {
                       body(blocks[b], describe(part_of(taken, blocks[b]), features));
                     });
  }

  /// Describes the sets of a block for the sweeps.
  BlockSets describe(const TaskSelection& now, const BlockFeatures<XScalar>& features) const {
    BlockSets sets;
    Index in_row = 0, out_row = 0;
    const auto add = [](std::vector<cuda::SampleSet>& to, const XScalar* X, Index stride, Index row,
                        Index m, Index task) {
      to.push_back({X, stride, row, static_cast<int>(m), static_cast<int>(task), 0, 0});
    };
    for (Index i = 0; i < now.n; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const Index m_in = tasks_.in(now[i]).m;
      add(sets.stacked, features.in[at], features.in_stride[at], sets.rows, m_in, i);
      add(sets.in, features.in[at], features.in_stride[at], in_row, m_in, i);
      sets.rows += m_in;
      in_row += m_in;
      const bool apart = is_apart(now[i]);
      const Index m_out = apart ? tasks_.out(now[i]).m : 0;
      if (apart) {
        add(sets.stacked, features.out[at], features.out_stride[at], sets.rows, m_out, i);
        sets.rows += m_out;
      }
      if (!tasks_.outer.empty()) {
        add(sets.out, features.out[at], features.out_stride[at], out_row, m_out, i);
        out_row += m_out;
      }
    }
    return sets;
  }

  /// Copies descriptions of sets to the device, at position `at` of the tables.
  cuda::SampleBlock block_of(const std::vector<cuda::SampleSet>& sets, cuda::SampleSet* at) const {
    cuda::SampleBlock block{};
    send(at, sets.data(), static_cast<Index>(sets.size()));
    block.sets = at;
    block.n = static_cast<int>(sets.size());
    for (const cuda::SampleSet& set : sets) {
      block.most = std::max(block.most, set.m);
      block.rows += set.m;
    }
    block.type = std::is_same_v<XScalar, double> ? cuda::Real::float64 : cuda::Real::float32;
    return block;
  }
  cuda::SampleSet* tables(std::size_t count) {
    return tables_.template reserve<cuda::SampleSet>(static_cast<Index>(count));
  }

  /// Queues Z = X B of a block, and returns Z (rows, k) in device memory.
  const double* project(const BlockSets& sets, Index k) {
    cuda::FirstSweep sweep{};
    sweep.in = block_of(sets.stacked, tables(sets.stacked.size()));
    sweep.d = tasks_.d;
    sweep.B = {B_.template reserve<double>(tasks_.d * k), cuda::Real::float64, static_cast<int>(k),
               0};
    sweep.layout = cuda::Layout::rows;
    sweep.Z_in = Z_.template reserve<double>(sets.rows * k);
    run(sweep);
    return sweep.Z_in;
  }

  /// Queues out <- out + X^T C for the rows C of a block; the first block overwrites `out`.
  void add_combined(const Block& block, const BlockSets& sets, Index k) {
    cuda::SecondSweep sweep{};
    sweep.block = block_of(sets.stacked, tables(sets.stacked.size()));
    sweep.d = tasks_.d;
    sweep.k = static_cast<int>(k);
    sweep.C = C_.template reserve<double>(sets.rows * k);
    sweep.out = out_.template reserve<double>(tasks_.d * k);
    sweep.start = block.first == 0 ? nullptr : sweep.out;
    sweep.type = cuda::Real::float64;
    run(sweep);
  }

  /// Computes the Gram matrices of a block: those of inner sets, of outer sets, and between them,
  /// are put together on the host.
  void append_grams(Index first, Index count, const BlockSets& sets, std::vector<Mat>& grams) {
    cuda::SampleSet* const at = tables(sets.in.size() + sets.out.size());
    cuda::FirstSweep sweep{};
    sweep.in = block_of(sets.in, at);
    const bool apart = sets.rows > sweep.in.rows;
    if (apart) sweep.out = block_of(sets.out, at + sets.in.size());
    sweep.d = tasks_.d;
    sweep.layout = cuda::Layout::rows;
    const Index m_in = sweep.in.most, m_out = sweep.out.most;
    const Index each = (m_in + m_out) * (m_in + m_out) - m_in * m_out;
    double* const K = Z_.template reserve<double>(count * each);
    sweep.K = K;
    if (apart) {
      sweep.K_cross = K + count * m_in * m_in;
      sweep.K_outer = sweep.K_cross + count * m_out * m_in;
    }
    run(sweep);
    std::vector<double> host(static_cast<std::size_t>(count * each));
    receive(host.data(), K, count * each);
    const double* const cross = host.data() + count * m_in * m_in;
    const double* const outer = cross + count * m_out * m_in;
    for (Index i = 0; i < count; ++i) {
      const Index in = tasks_.in(first + i).m, m = offset(first + i + 1) - offset(first + i);
      Mat gram(m, m);
      const auto part = [i](const double* from, Index rows, Index columns) {
        return ConstMat(from + i * rows * columns, rows, columns);
      };
      gram.topLeftCorner(in, in) = part(host.data(), m_in, m_in).topLeftCorner(in, in);
      if (m > in) {
        gram.bottomLeftCorner(m - in, in) = part(cross, m_out, m_in).topLeftCorner(m - in, in);
        gram.topRightCorner(in, m - in) = gram.bottomLeftCorner(m - in, in).transpose();
        gram.bottomRightCorner(m - in, m - in) =
            part(outer, m_out, m_out).topLeftCorner(m - in, m - in);
      }
      grams.push_back(std::move(gram));
    }
  }

  template <class Sweep>
  void run(const Sweep& sweep) {
    const std::size_t bytes = sweeps_.workspace(sweep);
    sweeps_.run(sweep, workspace_.template reserve<char>(static_cast<Index>(bytes)), stream_.get());
  }

  void send_B(const double* B, Index k) {
    send(B_.template reserve<double>(tasks_.d * k), B, tasks_.d * k);
  }
  template <class T>
  void send(T* to, const T* from, Index count) const {
    runtime_.copy(to, from, static_cast<std::size_t>(count) * sizeof(T), cuda::Copy::to_device,
                  stream_.get());
    runtime_.synchronise(stream_.get());  // the caller may change `from`
  }
  void receive(double* to, const double* from, Index count) {
    runtime_.copy(to, from, static_cast<std::size_t>(count) * sizeof(double), cuda::Copy::to_host,
                  stream_.get());
    runtime_.synchronise(stream_.get());
  }

  cuda::Runtime& runtime_;
  cuda::Sweeps& sweeps_;
  const TaskSet<XScalar>& tasks_;
  std::vector<Index> offsets_;  // (n + 1,)
  Index block_bytes_;
  DeviceSets<XScalar> sets_;
  cuda::OwnedStream stream_;
  Scratch B_, out_, Z_, C_, workspace_, tables_;
};

}  // namespace

template <class XScalar>
std::unique_ptr<DeviceRows> make_device_rows(const DeviceUse& use, const TaskSet<XScalar>& tasks) {
  require(!tasks.is_sparse(), "device=\"cuda\" needs dense features");
  return std::make_unique<RowsOfBatch<XScalar>>(use, tasks);
}

template std::unique_ptr<DeviceRows> make_device_rows(const DeviceUse&, const TaskSet<double>&);
template std::unique_ptr<DeviceRows> make_device_rows(const DeviceUse&, const TaskSet<float>&);

}  // namespace metaspan
