// Runs the threads of emulated kernels, on fibres or on threads of the system.
#include "scheduler.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "fibre.hpp"
#include "sanitizers.hpp"

namespace metaspan::emulator {

thread_local Thread* current = nullptr;

namespace {

constexpr unsigned kSets = 3;  // blocks that run at once on threads of the system

Mode chosen_mode = is_watched_for_races() ? Mode::threads : Mode::fibres;

/// A barrier of some threads of a block.
struct Barrier {
  std::mutex mutex;
  std::condition_variable released;
  int arrived = 0;
  unsigned generation = 0;
};

/// Lanes of a warp that meet, named by the lowest lane of their mask; the slots are used in turns,
/// so that one barrier an exchange suffices.
struct Group {
  Barrier barrier;
  unsigned mask = 0;
  alignas(8) unsigned char slots[2][32 * 8];
};

struct Warp {
  Group groups[32];
  std::atomic<unsigned> left{0};  // lanes that have returned from the kernel
};

}  // namespace

/// One block of a launch.
struct Block {
  Block(const Shape& shape, int threads)
      : threads(threads),
        live(threads),
        warps(static_cast<std::size_t>((threads + 31) / 32)),
        bytes(shape.shared_bytes),
        shared(new (std::align_val_t{16}) unsigned char[shape.shared_bytes]) {
    std::memset(shared, 0xff, bytes);  // doubles that no thread wrote are NaN
  }
  ~Block() { ::operator delete[](shared, std::align_val_t{16}); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  const int threads;
  std::atomic<int> live;            // threads that have not returned
  std::atomic<int> waiting{0};      // threads that wait in a barrier
  Barrier barrier;                  // of all threads
  std::atomic<int> counts[3] = {};  // of count_in_block, in turns
  std::vector<Warp> warps;
  const std::size_t bytes;
  unsigned char* const shared;
  std::mutex mutex;  // of `arrays`
  std::map<const void*, std::vector<std::uint64_t>> arrays;
};

namespace {

/// A thread of a block on a fibre, and the barrier that it waits in.
struct FibreThread {
  Thread thread;
  Fibre fibre;
  const Barrier* barrier = nullptr;
  unsigned generation = 0;
};

/// The fibres of this thread of the system; they are kept for the next block.
thread_local std::vector<std::unique_ptr<FibreThread>> fibres;
thread_local FibreThread* running = nullptr;
thread_local const std::function<void()>* fibre_body = nullptr;

void release(Barrier& barrier) {
  barrier.arrived = 0;
  ++barrier.generation;
}

/// Waits until `expected` threads have arrived; `expected` is asked again when a thread returns.
template <class Expected>
void wait(Barrier& barrier, Block& block, Expected expected) {
  if (mode() == Mode::fibres) {
    if (++barrier.arrived == expected()) return release(barrier);
    running->barrier = &barrier;
    running->generation = barrier.generation;
    running->fibre.pause();
    return;
  }
  std::unique_lock<std::mutex> lock(barrier.mutex);
  if (++barrier.arrived == expected()) {
    release(barrier);
    block.waiting.fetch_sub(expected() - 1, std::memory_order_relaxed);
    barrier.released.notify_all();
    return;
  }
  const unsigned generation = barrier.generation;
  if (block.waiting.fetch_add(1, std::memory_order_relaxed) + 1 ==
      block.live.load(std::memory_order_relaxed)) {
    fail("some threads of a block wait in a barrier that the others do not reach");
  }
  barrier.released.wait(lock, [&] { return barrier.generation != generation; });
}

/// A thread returns from the kernel: the others wait for it no more.
void leave_block(Thread& thread) {
  Block& block = *thread.block;
  block.warps[static_cast<std::size_t>(thread.warp)].left.fetch_or(1u << thread.lane,
                                                                   std::memory_order_relaxed);
  std::unique_lock<std::mutex> lock(block.barrier.mutex);
  const int live = block.live.fetch_sub(1, std::memory_order_relaxed) - 1;
  if (live > 0 && block.barrier.arrived == live) {
    block.waiting.fetch_sub(live, std::memory_order_relaxed);
    release(block.barrier);
    block.barrier.released.notify_all();
  } else if (live > 0 && mode() == Mode::threads &&
             block.waiting.load(std::memory_order_relaxed) == live) {
    fail("some threads of a block wait in a barrier that the others do not reach");
  }
}

Thread make_thread(const Shape& shape, unsigned index, unsigned block_index, Block& block) {
  Thread thread{};
  const dim3 b = shape.block, g = shape.grid;
  thread.thread_index = {index % b.x, index / b.x % b.y, index / b.x / b.y};
  thread.block_index = {block_index % g.x, block_index / g.x % g.y, block_index / g.x / g.y};
  thread.block_dim = b;
  thread.grid_dim = g;
  thread.lane = static_cast<int>(index % 32);
  thread.warp = static_cast<int>(index / 32);
  thread.block = &block;
  return thread;
}

void run_fibre(void* argument) {
  auto* self = static_cast<FibreThread*>(argument);
  (*fibre_body)();
  leave_block(self->thread);
}

/// Runs the threads of a block in turns; every second block from the last thread to the first, so
/// that a result that needs an order of the threads differs.
void run_block_on_fibres(const Shape& shape, unsigned block_index,
                         const std::function<void()>& body) {
  const unsigned threads = shape.block.x * shape.block.y * shape.block.z;
  Block block(shape, static_cast<int>(threads));
  while (fibres.size() < threads) fibres.push_back(std::make_unique<FibreThread>());
  for (unsigned t = 0; t < threads; ++t) {
    FibreThread& fibre = *fibres[t];
    fibre.thread = make_thread(shape, t, block_index, block);
    fibre.barrier = nullptr;
    fibre.fibre.start(&run_fibre, &fibre);
  }
  fibre_body = &body;
  bool is_moving = true;
  while (block.live.load() > 0) {
    if (!is_moving) fail("some threads of a block wait in a barrier that the others do not reach");
    is_moving = false;
    for (unsigned i = 0; i < threads; ++i) {
      FibreThread& fibre = *fibres[block_index % 2 == 0 ? i : threads - 1 - i];
      if (fibre.fibre.is_done()) continue;
      if (fibre.barrier != nullptr && fibre.barrier->generation == fibre.generation) continue;
      fibre.barrier = nullptr;
      running = &fibre;
      current = &fibre.thread;
      fibre.fibre.resume();
      is_moving = true;
    }
  }
  current = nullptr;
}

/// Threads of the system for a set of blocks, which they run one after the other. Nothing orders
/// the sets, so that ThreadSanitizer sees races between blocks.
struct BlockSet {
  std::mutex mutex;
  std::condition_variable turn;
  unsigned arrived = 0, generation = 0;
  std::unique_ptr<Block> block;

  template <class Last>
  void meet(unsigned threads, Last last) {
    std::unique_lock<std::mutex> lock(mutex);
    if (++arrived == threads) {
      last();
      arrived = 0;
      ++generation;
      turn.notify_all();
      return;
    }
    const unsigned before = generation;
    turn.wait(lock, [&] { return generation != before; });
  }
};

void run_grid_on_threads(const Shape& shape, const std::function<void()>& body) {
  const unsigned threads = shape.block.x * shape.block.y * shape.block.z;
  const unsigned blocks = shape.grid.x * shape.grid.y * shape.grid.z;
  std::vector<BlockSet> sets(std::min(kSets, blocks));
  std::vector<std::thread> pool;
  for (unsigned s = 0; s < sets.size(); ++s) {
    for (unsigned t = 0; t < threads; ++t) {
      pool.emplace_back([&, s, t] {
        BlockSet& set = sets[s];
        for (unsigned b = s; b < blocks; b += static_cast<unsigned>(sets.size())) {
          set.meet(threads,
                   [&] { set.block = std::make_unique<Block>(shape, static_cast<int>(threads)); });
          Thread thread = make_thread(shape, t, b, *set.block);
          current = &thread;
          body();
          leave_block(thread);
          current = nullptr;
        }
        set.meet(threads, [] {});
      });
    }
  }
  for (std::thread& thread : pool) thread.join();
}

}  // namespace

bool is_watched_for_races() {
#if defined(METASPAN_EMULATOR_TSAN)
  return true;
#else
  return false;
#endif
}

Mode mode() { return chosen_mode; }
void set_mode(Mode mode) { chosen_mode = mode; }

void run_grid(const Shape& shape, const std::function<void()>& body) {
  if (mode() == Mode::threads) return run_grid_on_threads(shape, body);
  const unsigned blocks = shape.grid.x * shape.grid.y * shape.grid.z;
  for (unsigned b = 0; b < blocks; ++b) run_block_on_fibres(shape, b, body);
}

void synchronise_block() {
  Block& block = *current->block;
  wait(block.barrier, block, [&] { return block.live.load(std::memory_order_relaxed); });
}

void synchronise_warp(unsigned mask) {
  Block& block = *current->block;
  Warp& warp = block.warps[static_cast<std::size_t>(current->warp)];
  // The last warp of a block may be partly empty; a mask of all lanes means those that exist.
  const int lanes = std::min(32, block.threads - 32 * current->warp);
  if (lanes < 32) mask &= (1u << lanes) - 1;
  require_lane(mask, current->lane);
  if ((mask & warp.left.load(std::memory_order_relaxed)) != 0) {
    fail("a lane of the mask has returned from the kernel");
  }
  const int group = __builtin_ctz(mask);
  ++current->exchanges[group];
  wait(warp.groups[group].barrier, block, [&] { return __builtin_popcount(mask); });
}

int count_in_block(bool predicate) {
  Block& block = *current->block;
  const unsigned turn = current->counts++ % 3;
  block.counts[turn].fetch_add(predicate ? 1 : 0, std::memory_order_relaxed);
  synchronise_block();
  const int count = block.counts[turn].load(std::memory_order_relaxed);
  // Every thread has left the turn before this one, and none is in the turn after it yet.
  block.counts[(turn + 2) % 3].store(0, std::memory_order_relaxed);
  return count;
}

unsigned char* exchange_slots(unsigned mask) {
  if (mask == 0) fail("a shuffle has an empty mask");
  const int group = __builtin_ctz(mask);
  Warp& warp = current->block->warps[static_cast<std::size_t>(current->warp)];
  return warp.groups[group].slots[current->exchanges[group] % 2];
}

void require_lane(unsigned mask, int lane) {
  if (lane < 0 || lane > 31 || (mask >> lane & 1u) == 0) {
    fail("a lane takes part in an exchange that its mask leaves out");
  }
}

void* dynamic_shared() { return current->block->shared; }

void* static_shared(const void* key, std::size_t bytes) {
  Block& block = *current->block;
  const std::lock_guard<std::mutex> lock(block.mutex);
  auto& array = block.arrays[key];
  if (array.empty()) array.assign((bytes + 7) / 8, ~std::uint64_t{0});
  return array.data();
}

void fail(const char* message) {
  std::fprintf(stderr, "emulator: %s", message);
  if (current != nullptr) {
    std::fprintf(stderr, " (block %u, thread %u)", current->block_index.x, current->thread_index.x);
  }
  std::fputs("\n", stderr);
  std::abort();
}

}  // namespace metaspan::emulator
