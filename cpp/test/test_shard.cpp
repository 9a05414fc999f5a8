// Threads stand for the processes of a sharded run. The test checks that sums over d have the same
// bits for any number of processes, and that the processes agree on a step.
#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>

#include "check.hpp"
#include "metaspan/engines/agree.hpp"

namespace metaspan {
namespace {

using test::check;

/// Where `ranks` threads meet and show their numbers to each other.
struct Meeting {
  explicit Meeting(Index ranks) : numbers(static_cast<std::size_t>(ranks)) {}

  /// Waits until all threads have called.
  void wait() {
    std::unique_lock<std::mutex> lock(mutex);
    const Index meeting = meetings;
    if (++waiting == static_cast<Index>(numbers.size())) {
      waiting = 0;
      ++meetings;
      all_came.notify_all();
    } else {
      all_came.wait(lock, [&] { return meetings != meeting; });
    }
  }

  std::vector<const double*> numbers;  // of each thread
  std::mutex mutex;
  std::condition_variable all_came;
  Index waiting = 0, meetings = 0;
};

/// The exchange of one thread.
class ThreadExchange final : public Exchange {
 public:
  ThreadExchange(Meeting& meeting, Index rank, std::vector<std::vector<Index>>& sent)
      : meeting_(meeting), rank_(static_cast<std::size_t>(rank)), sent_(sent) {}

  void gather(const double* numbers, const std::vector<Index>& counts, double* all) override {
    meeting_.numbers[rank_] = numbers;
    meeting_.wait();
    for (std::size_t r = 0; r < counts.size(); ++r) {
      all = std::copy_n(meeting_.numbers[r], counts[r], all);
    }
    meeting_.wait();
  }

  void swap(const double* numbers, const std::vector<Index>& sent,
            const std::vector<Index>& received, double* out) override {
    meeting_.numbers[rank_] = numbers;
    sent_[rank_] = sent;
    meeting_.wait();
    for (std::size_t r = 0; r < received.size(); ++r) {
      const double* from = meeting_.numbers[r];
      for (std::size_t before = 0; before < rank_; ++before) from += sent_[r][before];
      check(sent_[r][rank_] == received[r], "what a process sends is what another one expects");
      out = std::copy_n(from, received[r], out);
    }
    meeting_.wait();
  }

 private:
  Meeting& meeting_;
  std::size_t rank_;
  std::vector<std::vector<Index>>& sent_;  // of each thread
};

/// Calls body(shard) for every rank, each in a thread.
template <class Body>
void each_rank(Index d, Index ranks, Body&& body) {
  Meeting meeting(ranks);
  std::vector<std::vector<Index>> sent(static_cast<std::size_t>(ranks));
  std::vector<std::thread> threads;
  for (Index rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      body(Shard(d, rank, ranks, std::make_shared<ThreadExchange>(meeting, rank, sent)));
    });
  }
  for (std::thread& thread : threads) thread.join();
}

/// Number c of the part of d at a column, all of different magnitudes.
double part_of(Index column, Index c) {
  return (1 + static_cast<double>((column * 7919 + c * 104729) % 1000003)) /
         static_cast<double>(1 + (column + c) % 97);
}

/// Returns the sum over d of `count` numbers, computed by a shard.
std::vector<double> sum_of(const Shard& shard, Index count) {
  const Shard::Pieces pieces = shard.pieces(512);
  std::vector<double> parts, sum(static_cast<std::size_t>(count));
  for (Index i = 0; i < pieces.count; ++i) {
    for (Index c = 0; c < count; ++c) parts.push_back(part_of(shard.first() + pieces.begin(i), c));
  }
  shard.sum(pieces, count, parts.data(), sum.data());
  return sum;
}

void test_sums_have_the_same_bits_for_any_number_of_ranks() {
  for (const Index d : {300, 2048, 5000, 9000, 40000, 3000000}) {
    for (const Index count : {1, 3, 2000}) {  // few numbers are gathered, and many are swapped
      const std::vector<double> alone = sum_of(d, count);
      for (Index ranks = 1; ranks <= std::min<Index>(7, Shard::leaves(d)); ++ranks) {
        each_rank(d, ranks, [&](const Shard& shard) {
          const std::vector<double> sum = sum_of(shard, count);
          check(std::memcmp(sum.data(), alone.data(), sizeof(double) * sum.size()) == 0,
                "a sum has the bits of one process");
        });
      }
    }
  }
}

void test_shards_cover_all_columns() {
  for (const Index d : {300, 2048, 5000, 9000, 40000, 3000000}) {
    for (Index ranks = 1; ranks <= std::min<Index>(7, Shard::leaves(d)); ++ranks) {
      const std::vector<Index> edges = Shard::edges(d, ranks);
      check(edges.front() == 0 && edges.back() == d, "the edges span all columns");
      each_rank(d, ranks, [&](const Shard& shard) {
        const auto rank = static_cast<std::size_t>(shard.rank());
        check(shard.first() == edges[rank] && shard.size() == edges[rank + 1] - edges[rank],
              "a rank holds the columns between its edges");
        Index columns = 0;
        for (const Index width : shard.columns_of_nodes()) columns += width;
        check(columns == d, "the nodes have all columns");
      });
    }
  }
}

void test_the_largest_is_that_of_all_ranks() {
  each_rank(9000, 3, [](const Shard& shard) {
    const auto rank = static_cast<double>(shard.rank());
    check(shard.largest(-rank) == 0, "the largest of one number");
    double numbers[] = {rank, -1 - rank};
    shard.largest(2, numbers);
    check(numbers[0] == 2 && numbers[1] == -1, "the largest of each number");
  });
}

void test_a_step_is_taken_by_all_ranks_or_by_none() {
  for (Index bad = -1; bad < 3; ++bad) {
    each_rank(9000, 3, [&](const Shard& shard) {
      check(agree(shard, shard.rank() != bad) == (bad < 0), "all ranks agree on a step");
    });
  }
}

}  // namespace
}  // namespace metaspan

int main() {
  metaspan::test_shards_cover_all_columns();
  metaspan::test_sums_have_the_same_bits_for_any_number_of_ranks();
  metaspan::test_the_largest_is_that_of_all_ranks();
  metaspan::test_a_step_is_taken_by_all_ranks_or_by_none();
  return metaspan::test::failures;
}
