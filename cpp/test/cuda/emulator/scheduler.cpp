// Runs the threads of emulated kernels as fibres or as threads of the system.
#include "scheduler.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
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

constexpr const char* kApart =
    "some threads of a block wait at a barrier that the others do not reach";
constexpr unsigned kSets = 3;  // blocks that run at once on threads of the system

Mode chosen_mode = is_watched_for_races() ? Mode::threads : Mode::fibres;

/// A barrier of some threads of a block. A waiting thread only reads the generation, which the last
/// thread to arrive writes. Nothing else orders the threads, so ThreadSanitizer finds every race of
/// threads that lack a barrier; a mutex would order some of them by chance.
struct Barrier {
  std::atomic<std::uint64_t> state{0};  // arrived threads, plus 2^32 times expected threads
  std::atomic<std::uint32_t> generation{0};
};

constexpr std::uint64_t kExpected = std::uint64_t{1} << 32;

int expected(std::uint64_t state) { return static_cast<int>(state >> 32); }
bool is_complete(std::uint64_t state) { return state != 0 && state % kExpected == state >> 32; }

/// Sleeps until the generation is not `value`, or for half a second.
void sleep(std::atomic<std::uint32_t>& generation, std::uint32_t value) {
  const timespec half_a_second = {0, 500000000};
  ::syscall(SYS_futex, &generation, FUTEX_WAIT_PRIVATE, value, &half_a_second, nullptr, 0);
}

/// Releases the waiting threads, after all expected threads have arrived. The barrier then expects
/// `expected` threads.
void release(Barrier& barrier, int expected) {
  barrier.state = static_cast<std::uint64_t>(expected) * kExpected;
  barrier.generation.fetch_add(1, std::memory_order_release);
  if (mode() == Mode::threads) {
    ::syscall(SYS_futex, &barrier.generation, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
  }
}

/// Lanes of a warp that synchronise, indexed by the lowest lane of their mask. Exchanges alternate
/// between two sets of slots, so that each exchange needs only one barrier.
struct Group {
  Barrier barrier;
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
        warps(static_cast<std::size_t>((threads + 31) / 32)),
        bytes(shape.shared_bytes),
        shared(new (std::align_val_t{16}) unsigned char[shape.shared_bytes]) {
    std::memset(shared, 0xff, bytes);  // doubles that no thread wrote are NaN
    barrier.state = static_cast<std::uint64_t>(threads) * kExpected;
  }
  ~Block() { ::operator delete[](shared, std::align_val_t{16}); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  const int threads;
  std::atomic<int> waiting{0};      // threads that wait at a barrier
  Barrier barrier;                  // of the threads that have not returned
  std::atomic<int> counts[3] = {};  // of count_in_block, in turns
  std::vector<Warp> warps;
  const std::size_t bytes;
  unsigned char* const shared;
  std::mutex mutex;  // of `arrays`
  std::map<const void*, std::vector<std::uint64_t>> arrays;
};

namespace {

/// A thread of a block on a fibre, and the barrier at which it waits.
struct FibreThread {
  Thread thread;
  Fibre fibre;
  const Barrier* barrier = nullptr;
  unsigned generation = 0;
};

/// The fibres of this thread of the system, which later blocks reuse.
thread_local std::vector<std::unique_ptr<FibreThread>> fibres;
thread_local FibreThread* running = nullptr;
thread_local const std::function<void()>* fibre_body = nullptr;

int live_threads(const Block& block) {
  return expected(block.barrier.state.load(std::memory_order_relaxed));
}

/// Arrives at a barrier and waits for the others.
void wait(Barrier& barrier, Block& block, bool keeps_expected) {
  const std::uint32_t generation = barrier.generation.load(std::memory_order_relaxed);
  const std::uint64_t state = barrier.state.fetch_add(1, std::memory_order_acq_rel) + 1;
  if (is_complete(state)) {
    block.waiting.fetch_sub(expected(state) - 1, std::memory_order_relaxed);
    return release(barrier, keeps_expected ? expected(state) : 0);
  }
  block.waiting.fetch_add(1, std::memory_order_relaxed);
  if (mode() == Mode::fibres) {
    running->barrier = &barrier;
    running->generation = generation;
    return running->fibre.pause();
  }
  // All threads wait for a moment until the last one releases them. If all wait for seconds, they
  // wait at different barriers.
  int stuck = 0;
  while (barrier.generation.load(std::memory_order_acquire) == generation) {
    sleep(barrier.generation, generation);
    const bool all_wait = block.waiting.load(std::memory_order_relaxed) == live_threads(block);
    stuck = all_wait ? stuck + 1 : 0;
    if (stuck > 4) fail(kApart);
  }
}

/// Removes a thread that returns from the kernel from the barriers of its block.
void leave_block(Thread& thread) {
  Block& block = *thread.block;
  block.warps[static_cast<std::size_t>(thread.warp)].left.fetch_or(1u << thread.lane,
                                                                   std::memory_order_relaxed);
  const std::uint64_t state =
      block.barrier.state.fetch_sub(kExpected, std::memory_order_acq_rel) - kExpected;
  if (is_complete(state)) {
    block.waiting.fetch_sub(expected(state), std::memory_order_relaxed);
    release(block.barrier, expected(state));
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

/// Runs the threads of a block in turns. Every second block runs from the last thread to the first,
/// so that a result that depends on the order of threads is wrong.
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
  while (live_threads(block) > 0) {
    if (!is_moving) fail(kApart);
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

/// Blocks that run one after the other on the same threads of the system. Nothing orders two sets,
/// so ThreadSanitizer finds races between their blocks.
struct BlockSet {
  Barrier barrier;
  std::unique_ptr<Block> block;

  /// Waits for all threads of the set; the last one makes the next block.
  void meet(unsigned threads, const Shape& shape) {
    const std::uint32_t generation = barrier.generation.load(std::memory_order_relaxed);
    if (barrier.state.fetch_add(1, std::memory_order_acq_rel) + 1 == threads) {
      block = std::make_unique<Block>(shape, static_cast<int>(threads));
      return release(barrier, 0);
    }
    while (barrier.generation.load(std::memory_order_acquire) == generation) {
      sleep(barrier.generation, generation);
    }
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
          set.meet(threads, shape);
          Thread thread = make_thread(shape, t, b, *set.block);
          current = &thread;
          body();
          leave_block(thread);
          current = nullptr;
        }
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
  wait(block.barrier, block, true);
}

void synchronise_warp(unsigned mask) {
  Block& block = *current->block;
  Warp& warp = block.warps[static_cast<std::size_t>(current->warp)];
  // The last warp of a block may be incomplete; then a mask of all lanes means the existing lanes.
  const int lanes = std::min(32, block.threads - 32 * current->warp);
  if (lanes < 32) mask &= (1u << lanes) - 1;
  require_lane(mask, current->lane);
  if ((mask & warp.left.load(std::memory_order_relaxed)) != 0) {
    fail("a lane of the mask has returned from the kernel");
  }
  const int group = __builtin_ctz(mask);
  ++current->exchanges[group];
  Barrier& barrier = warp.groups[group].barrier;
  std::uint64_t state = 0;
  const auto members = static_cast<std::uint64_t>(__builtin_popcount(mask));
  barrier.state.compare_exchange_strong(state, members * kExpected, std::memory_order_relaxed);
  if (state != 0 && state >> 32 != members) fail("lanes of a warp meet with different masks");
  wait(barrier, block, false);
}

int count_in_block(bool predicate) {
  Block& block = *current->block;
  const unsigned turn = current->counts++ % 3;
  block.counts[turn].fetch_add(predicate ? 1 : 0, std::memory_order_relaxed);
  synchronise_block();
  const int count = block.counts[turn].load(std::memory_order_relaxed);
  // Every thread has read the previous counter, and none adds to it before the next call.
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
    fail("the mask of an exchange leaves out a lane that takes part");
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
  std::_Exit(70);
}

}  // namespace metaspan::emulator
