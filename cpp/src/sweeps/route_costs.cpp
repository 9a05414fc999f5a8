#include "metaspan/sweeps/route_costs.hpp"

#include <algorithm>
#include <cmath>

#include "metaspan/algebra/task_algebra.hpp"
#include "metaspan/data/blocks.hpp"
#include "metaspan/geometry/coordinates.hpp"
#include "metaspan/sweeps/band_copies.hpp"
#include "metaspan/sweeps/dual_gram.hpp"
#include "metaspan/sweeps/sparse_sweeps.hpp"
#include "metaspan/sweeps/sweeps.hpp"
#include "metaspan/sweeps/vector_plan.hpp"
#include "sparse.hpp"

namespace metaspan {
namespace {

constexpr double kDouble = 8;           // bytes; float32 is converted, which takes as long
constexpr double kVectorPasses = 6;     // over u and X^T r, of length d, for each pass over X
constexpr double kVectorFlops = 4;      // flops of the vector route in the time of one of X B
constexpr double kVectorsTogether = 3;  // vectors of a task that a cache must hold at a time
constexpr double kReadingsOfB = 3;      // reads of B in a round, beside those of the panels
constexpr double kGramTask = .5;        // overhead of a task, relative to the vector route

// Times of work on sparse samples. Each comment names a unit and then a part of the work; the
// constant is the time of this part in this unit.
constexpr double kLineBytes = 64;       // read in addition to a table's row that is in no cache
constexpr double kEntryBytes = 12;      // bytes of an entry: a double and its column
constexpr double kVectorColumns = 12;   // columns of B in X B: an entry in X u and X^T r
constexpr double kEntryColumns = 8;     // columns of B: overhead of an entry in X B
constexpr double kListedColumns = 60;   // columns of B: an entry in a product of sparse rows
constexpr double kRowEntries = 4;       // entries: overhead of a row of X
constexpr double kWeighedSample = 250;  // operations of a sample that weighs bands on one thread
constexpr double kCopiedColumns = 60;   // columns of B: an entry that is copied by bands
constexpr double kSlowerOnB = 1.5;      // products of B with few vectors, and X^T C, by time

double number(Index count) { return static_cast<double>(count); }

/// Returns `bytes` as traffic from a cache if `fits` is true, and as traffic from memory if it is
/// false.
Stage traffic(double bytes, bool fits) { return fits ? Stage{0, 0, 0, bytes} : Stage{0, 0, bytes}; }

/// Counts the kernel calls of the task algebra, (5)-(10), for `panels` panels. One kernel call
/// serves all tasks of a panel. On the Gram route and the dual route a panel is a single task.
double algebra_calls(const Method& method, const DataSizes& sizes, double panels) {
  const AlgebraCounts counts = algebra_counts(method, sizes.losses);
  return panels * (counts.forward + counts.back + counts.added + counts.moves);
}

/// Returns whether the engine computes a round on one thread, by the rule that the engine itself
/// applies. In a round of fewer than kSerialFlops flops, waking a thread takes more time than the
/// thread saves.
bool is_serial(const Method& method, const DataSizes& sizes) {
  const double m_out = sizes.shared ? sizes.m_in : sizes.m_out;
  const double length = sizes.sparse ? sizes.entries : number(sizes.d);
  const double summed = sizes.sparse ? number(sizes.d) * number(sizes.k) : 0;
  return flops_of_round(method, length, number(sizes.n), sizes.m_in, m_out, summed) < kSerialFlops;
}

/// Adds the cost of measuring B at full size: the cost of computing the coordinates (13) in the
/// rounds that measure B, and the cost of the records. One thread computes the records, but the
/// rate of kernel calls is the rate of all threads together. The calls for the records are
/// therefore multiplied by the number of threads.
void add_geometry(const DataSizes& sizes, int threads, RouteCost& cost) {
  cost.records =
      coordinates_cost(sizes.geometry * number(sizes.d), sizes.k, sizes.k + sizes.k_star);
  cost.calls += sizes.record_calls * threads;
}

/// Returns which Gram matrices of (5) a round computes. If both loops use the same sets, only K is
/// computed.
GramsNeeded grams_of(const Method& method, const DataSizes& sizes) {
  const GramsNeeded needed = grams_needed(method, sizes.losses > 0);
  return sizes.shared ? needed.of_one_set() : needed;
}

/// Returns the fraction of the rounds that use the outer sets. The fraction is 1 if the method has
/// an outer part; otherwise it is the fraction of the rounds that record losses.
double outer_rounds(const Method& method, const DataSizes& sizes) {
  return method.has_outer_part() ? 1 : sizes.losses;
}

/// The numbers of terms s c^T in the factors C and C' of a task, (10).
struct TermCounts {
  double inner, outer;
};

/// Counts the terms of C, (9), which are two for each inner step of an exact method, and the terms
/// of C', (8) and (35).
TermCounts terms_of(const Method& method) {
  return {static_cast<double>(method.inner_terms()), static_cast<double>(method.outer_terms())};
}

/// Counts the numbers that Factors stores for the C of a set of m samples. Factors stores C as a
/// matrix, or s and c of every term of C if there are few terms.
double held_of_factors(double m, Index k, double terms) {
  const double width = number(padded(k));
  return 2 * terms >= number(k) ? m * width : terms * (m + width);
}

/// Counts the numbers that the TaskProducts of a task store, except C: Z, y, and the Gram matrices
/// of (5).
double held_of_products(const Method& method, const DataSizes& sizes) {
  const GramsNeeded stored = grams_needed(method, sizes.losses > 0);
  const double width = number(padded(sizes.k));
  return (sizes.m_in + sizes.m_out) * (width + 1) +
         grams_of(method, sizes).K * sizes.m_in * sizes.m_in +
         stored.K_cross * sizes.m_out * sizes.m_in + stored.K_outer * sizes.m_out * sizes.m_out;
}

/// Returns the number of tasks in the largest block of `tasks` tasks, by the rule of blocks_of()
/// for tasks of average size. A task larger than the limit of a block is the only task of its
/// block.
double tasks_of_block(const DataSizes& sizes, Index tasks) {
  if (!are_limited(sizes.stored, sizes.B_number_bytes)) return number(tasks);
  const double task = sizes.row_bytes() * (sizes.m_in + (sizes.shared ? 0 : sizes.m_out));
  const double room = block_bytes(sizes.d, sizes.k, sizes.B_number_bytes);
  return std::clamp(std::floor(room / task), 1.0, number(tasks));
}

/// Counts the numbers that the DenseWorkspace of a thread stores: the residuals of both sets and of
/// the inner steps, for exact methods the adjoints of the residuals of the inner steps, and for
/// MAML and clipped contributions the products of K and K' with the residual of every slot.
double held_of_workspace(const Method& method, const DataSizes& sizes) {
  const double rows = sizes.m_in + sizes.m_out;
  return rows + method.inner_steps * sizes.m_in * (method.exact ? 2 : 1) +
         (method.adapt_B || method.clips()) * method.slots() * rows +
         method.private_head * sizes.m_out + method.fresh_steps * sizes.m_in;
}

/// Counts the normals of the noise of a round, (30): one for each entry of B and for each number of
/// w and of the parameters that follow it.
double noise_numbers(const Method& method, const DataSizes& sizes) {
  const double numbers = number(sizes.d) * number(sizes.k) + number(method.parameters(sizes.k));
  return method.multiplier > 0 ? numbers : 0;
}

/// Counts the numbers that RoundMeans and its outputs store: a head, its gradient, and three losses
/// for each task.
double held_of_means(const Method& method, const DataSizes& sizes) {
  return number(sizes.n) * number(sizes.k + method.parameters(sizes.k) + 3);
}

/// The costs of the sweeps over sparse samples, with copies by bands if `copied` is true and the
/// copies make the sweeps faster. Arithmetic is counted in flops of a dense product X B. A sparse
/// product runs at half the rate of a dense product, so each entry counts as 4 flops for each
/// column of B. The constants above were fitted to measurements.
class SparseSweeps {
 public:
  explicit SparseSweeps(const DataSizes& sizes, bool copied = false)
      : sizes_(sizes), d_(number(sizes.d)), k_(number(sizes.k)), columns_(number(padded(sizes.k))) {
    const bool far = kDouble * d_ * k_ > kKeptBytes;  // a row of B waits for memory
    waits_ = (far ? kDouble * k_ + kLineBytes : 0) + kEntryBytes;
    entry_ = 4 * (k_ + kEntryColumns);
    copied_ = copied && copies_pay(sizes.m_out * sizes.entries, sizes.d, sizes.k);
    in_place_ = columns_ == k_ && sizes.B_number_bytes == static_cast<Index>(kDouble);
  }

  /// Returns the cost of X B. For each entry of X, a row of B is read and a multiple of it is added
  /// to a row of Z, at half the rate of a dense product. With copies by bands, B is read once, and
  /// a row of Z is read and written once for every band in which its row of X has entries.
  Stage features(double samples) const {
    const double entries = entries_of(samples);
    if (!copied_) return {entries * entry_, 0, entries * waits_};
    const double bands = std::ceil(d_ / number(columns_of_band(sizes_.k)));
    const double rows = std::min(samples * sizes_.entries, samples * bands);
    const double read = entries * kEntryBytes + kDouble * d_ * k_;
    return {kSlowerOnB * entries * entry_, 0, read, 2 * kDouble * columns_ * rows};
  }

  /// Returns the cost of X u and X^T r. For each entry of X, an element of u is read and an element
  /// of X^T r is updated. The read and the update are random accesses, each of which transfers a
  /// whole cache line if no cache holds u and X^T r.
  Stage passes(double samples) const {
    const double lines = 2 * kDouble * d_ > kTwoVectorsBytes ? 3 * kLineBytes : 0;
    const double entries = entries_of(samples);
    return {entries * 4 * kVectorColumns, 0, entries * (lines + kEntryBytes)};
  }

  /// Returns whether sets are copied by bands.
  bool copied() const { return copied_; }

  /// Returns the bytes of the copies of sets of m samples.
  double bytes_of_copies(double samples, double m) const {
    if (!copied_ || samples == 0) return 0;
    const double copy = bytes_of_copy(m * sizes_.entries, sizes_.number_bytes, sizes_.d, sizes_.k);
    return samples / m * copy;
  }

  /// Returns the cost of making copies of `samples` samples.
  Stage copying(double samples) const {
    return {copied_ ? samples * sizes_.entries * 4 * kCopiedColumns : 0};
  }

  /// Returns the cost of X^T C, (10), for sets of m samples and `terms` terms of C. There are two
  /// ways to compute X^T C: a vector X^T s for each term of C, or one sweep over X that adds, for
  /// each entry of X, a multiple of a row of C to a row of X^T C. Each addition in such a sweep
  /// reads and writes a row of X^T C. With copies by bands, the rows of X^T C are in an L2 cache.
  Stage combined(double samples, double m, double terms) const {
    if (by_terms(m, terms)) {
      const double of_a_set = terms * work(m).of_a_term * 4;
      return {samples / m * of_a_set, 0, kEntryBytes * samples * sizes_.entries};
    }
    const double entries = entries_of(samples);
    return {kSlowerOnB * entries * entry_, 0, entries * (copied_ ? kEntryBytes : 2 * waits_)};
  }

  /// Returns whether X^T C is computed by a vector X^T s for each term of C. The rule is the one
  /// that the second sweep itself applies.
  bool by_terms(double m, double terms) const {
    return 2 * terms < k_ && terms * work(m).of_a_term < work(m).of_rows;
  }

  /// Returns the memory traffic of grad_B, which does not depend on the entries of X: the d rows of
  /// grad_B are set to zero, written with the sums of X^T C, and read by the step. If the sums are
  /// accumulated in a cache or in grad_B itself, they cause no further traffic.
  Stage gradient() const {
    const double sums = in_place_ || copied_ ? 2 * k_ : 3 * columns_;
    return {0, 0, kDouble * d_ * (sums + 5 * k_)};
  }

  /// Returns the cost of the first use of memory for `numbers` numbers.
  static Stage table(double numbers) { return {0, 0, kFreshMemory * kDouble * numbers}; }

  /// Returns the cost of the inner products of `rows` sparse rows with `others` sparse rows.
  /// Entries are looked up in lists of the entries of kListedRows rows, and entries in the same
  /// column are multiplied and summed.
  Stage products(double rows, double others) const {
    const auto block = static_cast<double>(kListedRows);
    const double looked_up =
        sizes_.entries * (rows * std::ceil(others / block) + others * std::ceil(rows / block));
    const double met = rows * others * sizes_.entries * sizes_.entries * sizes_.meeting;
    return {(looked_up + met) * 4 * kListedColumns};
  }

  /// Returns the bytes of the lists that products() counts. Each thread has the lists of up to
  /// kListedRows of a set's m rows: a head for each column, and the entries of these rows.
  double listed_bytes(int threads, double m) const {
    const double rows = std::min(m, static_cast<double>(kListedRows));
    constexpr auto kHead = static_cast<double>(sizeof(std::int32_t));
    return threads * (kHead * d_ + sizeof(kernels::ListedEntry) * rows * sizes_.entries);
  }

  /// Returns the bytes of the sums of X^T C and, if `vectors` is true, of the vectors X^T s that
  /// are added to the sums together. If the sums need no padding, they are in grad_B itself and
  /// take no further bytes. With copies by bands, each thread stores the sums of one band.
  double sum_bytes(bool vectors, int threads) const {
    const double rows = copied_ ? std::min(d_, threads * number(columns_of_band(sizes_.k))) : d_;
    return kDouble * rows * (!in_place_ * columns_ + static_cast<double>(kTermsAtOnce) * vectors);
  }

  /// Returns the bytes of the sums of X^T C for all rows, without padding, or 0 if the sums are in
  /// grad_B or are made by bands. The memory of these sums is freed when the gradient is complete.
  double released_bytes() const { return in_place_ || copied_ ? 0 : kDouble * d_ * k_; }

  /// Counts the numbers that are stored for the C of a set of m samples. If Factors stores C as
  /// terms, but X^T C needs the rows of C, the numbers of the expanded C are counted too.
  double held_of_factors(double m, double terms) const {
    const bool expands = terms > 0 && 2 * terms < k_ && !by_terms(m, terms);
    return metaspan::held_of_factors(m, sizes_.k, terms) + expands * m * columns_;
  }

 private:
  /// Counts the entries of samples, plus kRowEntries for each row.
  double entries_of(double samples) const { return samples * (sizes_.entries + kRowEntries); }
  TermWork work(double m) const { return term_work(m * sizes_.entries, sizes_.d, sizes_.k); }

  const DataSizes& sizes_;
  double d_, k_, columns_;
  double waits_, entry_;    // bytes and flops of an entry in X B
  bool copied_, in_place_;  // sets have copies by bands; sums are in grad_B
};

/// How the first sweep cuts the columns of a task: the number of chunks that threads sweep apart,
/// the further products that a thread holds while it adds the leaves of a chunk, and the columns of
/// the widest leaf.
struct SweepCut {
  Index count, depth, widest;
};

SweepCut chunks_of(Index d, Index rows, Index n) {
  const Shard shard(d);
  const Index together = leaves_together(shard, rows, n);
  Index depth = 0;
  while (Index{1} << depth < together) ++depth;
  return {shard.leaves().count / together, depth, shard.leaves().widest()};
}

/// Returns the bytes that the Gram route holds on dense data: the TaskProducts of a block, C and
/// C', the workspaces, the outputs, and the memory of the sweeps. The first sweep needs memory for
/// tiles and for the partial products of chunks of leaves, and the second sweep needs memory for
/// tiles. The two sweeps do not overlap, so only the sweep that needs more memory is counted.
double dense_gram_bytes(const Method& method, const DataSizes& sizes, int threads) {
  const double n = tasks_of_block(sizes, sizes.n), width = number(padded(sizes.k));
  const auto rows = static_cast<Index>(sizes.m_in + sizes.m_out);
  const auto [chunks, depth, widest] = chunks_of(sizes.d, rows, sizes.n);
  const TermCounts terms = terms_of(method);
  const double C = held_of_factors(sizes.m_in, sizes.k, terms.inner) * method.has_inner_part() +
                   held_of_factors(sizes.m_out, sizes.k, terms.outer);
  const double parts =
      (n * number(chunks - 1) + threads * number(depth)) * held_of_products(method, sizes);
  // `first` and `second` count the tiles of the two sweeps. The first sweep also has tiles of X
  // converted to double.
  const auto columns = number(std::min(kProjectedColumns, widest));
  const bool converts = sizes.number_bytes < static_cast<Index>(kDouble);
  const double first = threads * columns * (width + converts * (sizes.m_in + sizes.m_out));
  const double second =
      threads * number(kCombinedRows) * (width + std::max(sizes.m_in, sizes.m_out));
  return kDouble * (n * (held_of_products(method, sizes) + C) + std::max(parts + first, second) +
                    threads * held_of_workspace(method, sizes) + held_of_means(method, sizes));
}

/// Returns the cost of a round of the Gram route on dense data. The first sweep computes (5); its
/// flops are counted separately for X B and for X X^T, which run at different rates. Measurements
/// show that the traffic of X does not overlap with this arithmetic, so traffic and arithmetic are
/// separate stages. The second sweep applies (10): it multiplies each outer sample by a column for
/// each term of C' and, if the method has an inner part, each inner sample by min(2 J, k) columns
/// of C. If C is stored as terms, X is read once for each of these columns. X is read from a cache
/// if all of X is still in the cache from the previous round.
RouteCost dense_gram(const Method& method, const DataSizes& sizes, int threads) {
  const double d = number(sizes.d), outer = outer_rounds(method, sizes) * sizes.samples_out();
  const double samples = sizes.shared ? sizes.samples() : sizes.samples_in() + outer;
  const bool inner_part = method.has_inner_part();
  const GramsNeeded grams = grams_of(method, sizes);
  const bool kept = sizes.bytes() <= kKeptBytes;
  RouteCost cost;
  Stage first;
  first.features = 2 * samples * d * number(padded(sizes.k));
  first.grams = d * sizes.m_in * (2 * sizes.samples_in() * grams.K + 2 * outer * grams.K_cross);
  first.grams += d * sizes.m_out * 2 * outer * grams.K_outer;
  const TermCounts counts = terms_of(method);
  const double terms = std::min(counts.inner, number(sizes.k));
  const double inner = inner_part ? sizes.samples_in() : 0;
  const double combined = method.has_outer_part() * sizes.samples_out();
  Stage second = traffic((combined + inner) * d * kDouble, kept);
  second.features = 2 * d * (counts.outer * sizes.samples_out() + terms * sizes.samples_in());
  if (2 * terms < number(sizes.k)) second.cached += std::max(terms - 1, 0.0) * inner * d * kDouble;
  cost.round = {traffic(samples * d * kDouble, kept), first, second};
  cost.flops = first.features + first.grams + second.features;
  cost.bytes = dense_gram_bytes(method, sizes, threads);
  return cost;
}

/// Returns the cost of a round of the Gram route on sparse data: the cost of X B and X^T C from
/// SparseSweeps, and for MAML the cost of inner products of sparse rows. K is symmetric, so only
/// half of its inner products are computed. The Gram matrices are written to new memory in each
/// round. The memory of the sums of X^T C is freed when the gradient is complete.
RouteCost sparse_gram(const Method& method, const DataSizes& sizes, int threads) {
  const SparseSweeps sweeps(sizes, sizes.copied);
  const double n = number(sizes.n), samples = sizes.samples();
  const TermCounts terms = terms_of(method);
  const bool exact = method.has_inner_part(), grams = method.needs_cross_gram() || method.clips();
  const double all_out = sizes.m_out * number(sizes.all_tasks);
  const double all_in = method.inner_steps > 0 && !sizes.shared ? sizes.all_in() : 0;
  RouteCost cost;
  cost.round = {
      sweeps.features(samples), sweeps.gradient(),
      sweeps.combined(method.has_outer_part() * sizes.samples_out(), sizes.m_out, terms.outer)};
  double held = held_of_products(method, sizes) + sweeps.held_of_factors(sizes.m_out, terms.outer);
  bool vectors = sweeps.by_terms(sizes.m_out, terms.outer);
  if (exact) {
    cost.round.push_back(sweeps.combined(sizes.samples_in(), sizes.m_in, terms.inner));
    held += sweeps.held_of_factors(sizes.m_in, terms.inner);
    vectors = vectors || sweeps.by_terms(sizes.m_in, terms.inner);
  }
  // If there are no copies by bands, one thread finds the edges of the bands from sampled entries.
  if (threads > 1 && !sweeps.copied()) {
    cost.round.push_back({threads * kWeighedSample * number(kBandSamples)});
  }
  cost.copy_bytes =
      sweeps.bytes_of_copies(all_out, sizes.m_out) + sweeps.bytes_of_copies(all_in, sizes.m_in);
  cost.setup = {sweeps.copying(all_out + all_in)};
  if (grams) {
    const GramsNeeded needed = grams_of(method, sizes);
    const double pairs = sizes.samples_out() * needed.K_cross + sizes.samples_in() * needed.K / 2;
    const double of_outer = sizes.samples_out() * needed.K_outer / 2;
    Stage products = sweeps.products(sizes.m_in, pairs / n);
    products.features += sweeps.products(sizes.m_out, of_outer / n).features;
    products.features *= n;
    cost.round.push_back(products);
    cost.round.push_back(SparseSweeps::table(pairs * sizes.m_in + of_outer * sizes.m_out));
  }
  const double listed = grams ? sweeps.listed_bytes(threads, method.clips_by_outer_gram()
                                                                 ? std::max(sizes.m_in, sizes.m_out)
                                                                 : sizes.m_in)
                              : 0;
  cost.bytes =
      kDouble * (tasks_of_block(sizes, sizes.n) * held +
                 threads * held_of_workspace(method, sizes) + held_of_means(method, sizes)) +
      std::max(listed, sweeps.sum_bytes(vectors, threads));
  cost.released_bytes = sweeps.released_bytes();
  const double combined = sizes.samples_out() + exact * sizes.samples_in();
  cost.flops = 2 * sizes.entries * number(sizes.k) * (samples + combined);
  return cost;
}

/// Returns the cost of X u and X^T r for `samples` dense samples, where a sample counts once for
/// each pass over it. A pass uses each row twice. The row is read from memory for the first use and
/// from a cache for the second use; if the row is too long for a cache, it is read from memory
/// twice.
Stage dense_passes(const DataSizes& sizes, double samples) {
  const double d = number(sizes.d), data = sizes.bytes();
  // Rows that are too long for kFarBytes are no longer in a cache at their second use.
  const double times = 2 * sizes.row_bytes() > static_cast<double>(kFarBytes) ? 2 : 1;
  const double passed = times * samples * sizes.row_bytes(), again = times * samples * d * kDouble;
  double memory = passed;
  if (data <= kKeptBytes) {
    memory = 0;
  } else if (data / number(sizes.n) <= kTaskBytes) {
    memory = std::min(data, passed);  // later passes find the task in the cache
  }
  return {0, 0, memory, again * (1 - memory / passed / 2)};
}

/// Adds the cost of an outer step that is not plain, (28): the blocks beside B, which a step reads
/// twice, for the check and for the step, and writes once; and the factorisation of B, which makes
/// one copy of B in its own type and two in double.
void add_outer_step(const Method& method, const DataSizes& sizes, RouteCost& cost) {
  if (method.step.is_plain()) return;
  const Index blocks = method.step.blocks();
  const double numbers = number(sizes.d) * number(sizes.k), bytes = number(sizes.B_number_bytes);
  cost.copies_of_B += static_cast<int>(blocks - 1);
  cost.round.push_back(traffic(bytes * numbers * number(3 * blocks), false));
  if (!method.step.orthonormal) return;
  cost.copies_of_B +=
      1 + static_cast<int>(2 * sizeof(double)) / static_cast<int>(sizes.B_number_bytes);
  for (const Stage& stage : coordinates_cost(3 * number(sizes.d), sizes.k, sizes.k)) {
    cost.round.push_back(stage);
  }
}

}  // namespace

/// Counts the operations of X u and X^T r: for a set of m samples, 4 m times the length of a row. X
/// u and X^T r are computed J times for each inner set, or 2 J times if the gradient has an inner
/// part, and once for each outer set. Each number of the gradient takes one multiplication and one
/// addition.
double flops_of_round(const Method& method, double length, double n, double m_in, double m_out,
                      double numbers) {
  return 4 * n * length * (method.inner_passes() * m_in + m_out) + 2 * numbers;
}

/// Returns the cost of the Gram route, (11), on dense or sparse data. The algebra processes one
/// task at a time, so each of its kernels is called once for each task.
RouteCost gram_cost(const Method& method, const DataSizes& sizes, int threads) {
  RouteCost cost =
      sizes.sparse ? sparse_gram(method, sizes, threads) : dense_gram(method, sizes, threads);
  cost.reads = sizes.bytes();
  cost.calls = algebra_calls(method, sizes, number(sizes.n));
  // The overhead of a task is memory traffic of small arrays, and measurements show that several
  // threads do not make this traffic faster. The rate of tasks is the rate of all threads together,
  // so the overhead is multiplied by the number of threads.
  cost.tasks = kGramTask * number(sizes.n) * threads;
  cost.serial = is_serial(method, sizes);
  add_outer_step(method, sizes, cost);
  add_geometry(sizes, threads, cost);
  cost.numbers = noise_numbers(method, sizes);
  return cost;
}

namespace {

/// Returns the number of tasks that the busiest thread of the vector route processes, divided by
/// the mean number of tasks of a thread. A thread takes the next panel when it has finished a
/// panel. Panels of full size come first, and then the last panel, which may be smaller.
double busiest_share(const VectorPlan& plan, const DataSizes& sizes, int threads) {
  const Sharing sharing = sharing_of(plan, sizes.n, sizes.task_bytes(), sizes.sparse, threads);
  const Index n = std::min(plan.block, sizes.n), full = n / plan.panel;
  if (sharing.groups == 1) return 1;
  Index most = ceil_div(full, sharing.groups) * plan.panel;
  if (full % sharing.groups == 0) most += n % plan.panel;
  return number(most * sharing.groups) / number(n);
}

/// Adds the cost of computing Z = X B of the inner sets, (5), on the vector route, which takes one
/// pass over each inner set. For an exact method, one more pass over each inner set computes the 2
/// J vectors of the task, two vectors at a time.
void add_features(const Method& method, const DataSizes& sizes, RouteCost& cost) {
  const double d = number(sizes.d), samples = sizes.samples_in();
  Stage read = traffic(samples * sizes.row_bytes(), sizes.bytes() <= kKeptBytes);
  const double vectors = method.inner_terms();
  if (vectors > 0) {
    Stage combined = read;
    combined.memory += kDouble * number(sizes.n) * vectors * d * 2;
    combined.features = 2 * vectors * samples * d / kVectorFlops;
    cost.round.push_back(combined);
  }
  read.features = 2 * samples * d * number(sizes.k);
  cost.round.push_back(read);
  cost.flops += read.features + 2 * vectors * samples * d;
}

}  // namespace

/// Returns the cost of the vector route, (11). The route makes J passes over X of an inner set, or
/// 2 J passes if the gradient has an inner part, and one more pass in rounds that record losses.
/// The vector route makes one pass over X of an outer set. If the inner loops use Z, add_features()
/// counts the cost of the inner sets instead. In addition to reading X, a pass reads and writes
/// vectors of length d, and multiplies by B^T once for each task. Each read of B serves all tasks
/// of a panel, so reads of B are counted once for each panel, and arithmetic once for each task.
RouteCost vector_cost(const Method& method, const DataSizes& sizes, int threads) {
  const VectorPlan plan = plan_of(method, sizes);
  const double d = number(sizes.d), k = number(sizes.k), n = number(sizes.n);
  const double panel = number(plan.panel);
  const double inner = plan.features ? 0 : method.inner_passes() + sizes.losses;
  // A private head takes a pass of its own over the outer sets.
  const double outer = outer_rounds(method, sizes) + method.private_head;
  const double samples = inner * sizes.samples_in() + outer * sizes.samples_out();
  // A pass writes the vectors u and X^T r, of length d, once and reads them a few times.
  const double passes = (inner + outer) * n, B_t = kDouble * d * k;
  const bool near = kDouble * panel * d * kVectorsTogether < kKeptBytes;
  const double of_B = (4 * passes + 2 * n * number(plan.terms)) * d * k;
  RouteCost cost;
  // A panel reads B once for each product with B or B^T. If a panel has a single task, B is in a
  // cache.
  cost.round = {traffic(kDouble * passes * d * kVectorPasses, near),
                traffic((2 * passes / panel + kReadingsOfB) * B_t, plan.panel == 1)};
  if (sizes.sparse) {
    const SparseSweeps sweeps(sizes);
    cost.round.push_back(sweeps.passes(samples));
    cost.round.push_back({kSlowerOnB * of_B});
    cost.flops = 4 * samples * sizes.entries + of_B;
  } else {
    cost.round.push_back(dense_passes(sizes, samples));
    cost.flops = 4 * samples * d + of_B;
    cost.round.push_back({cost.flops / kVectorFlops});
    if (plan.features) add_features(method, sizes, cost);
  }
  // The norm (29) reads two vectors of length d for each pair of terms.
  const double dots = n * method.pairs_of_terms();
  if (dots > 0) cost.round.push_back(traffic(kDouble * dots * 2 * d, near));
  cost.reads = sizes.bytes();
  cost.bytes = vector_memory(method, sizes, threads);
  cost.calls = algebra_calls(method, sizes, number(ceil_div(sizes.n, plan.panel)));
  cost.tasks = n;
  cost.serial = is_serial(method, sizes);
  add_outer_step(method, sizes, cost);
  cost.busiest = busiest_share(plan, sizes, threads);
  add_geometry(sizes, threads, cost);
  cost.numbers = noise_numbers(method, sizes);
  return cost;
}

namespace {

/// Adds the work before the first round of the dual route, (24): computing the Gram matrix for
/// `pairs` pairs of samples, and passes over X. The passes over X compute Z_0 = X B_0, B at the end
/// of the run and, if B is measured, the products of X with B_star and E.
void add_dual_setup(const DataSizes& sizes, double pairs, RouteCost& cost) {
  const double d = number(sizes.d), N = sizes.all_samples();
  if (sizes.sparse) {
    const SparseSweeps sweeps(sizes);
    Stage products = sweeps.products(N, N);
    products.features *= pairs / (N * N) / 2;
    cost.setup = {sweeps.features(N), products, SparseSweeps::table(N * N), sweeps.gradient()};
    return;
  }
  const double data = N * sizes.row_bytes(), passes = 2 + (sizes.geometry > 0 ? 2 : 0);
  const Stage products{0, pairs * d, data};
  const Stage pass{2 * N * d * number(padded(sizes.k)), 0, data};
  cost.setup.assign(static_cast<std::size_t>(passes), pass);
  cost.setup.push_back(products);
  cost.setup_reads = (1 + passes) * data;
}

/// Returns the bytes of memory of a trial on the dual route, without G. Three phases that do not
/// overlap need memory: the computation of Z_0, the computation of the products for the
/// coordinates, and a round. The phase that needs the most memory is counted. If B is measured, the
/// factor L^T of (24) is in memory during all phases.
double dual_bytes(const Method& method, const DataSizes& sizes, double active, int threads) {
  const double N = sizes.all_samples(), width = number(padded(sizes.k));
  const double rows = sizes.samples_out() + method.has_inner_part() * sizes.samples_in();
  const Index most = static_cast<Index>(sizes.m_in + sizes.m_out);
  const Index chunks = sizes.sparse ? 1 : chunks_of(sizes.d, most, sizes.all_tasks).count;
  // Blocks of tasks are processed one after another. Each block is split along d into pieces, and
  // the partial products of the pieces are then summed.
  const double cut = tasks_of_block(sizes, sizes.all_tasks) / number(sizes.all_tasks);
  const double parts = 1 + cut * number(chunks - 1);
  const double start = std::max(parts, 2.0) * N * width;  // Z_0 and its partial products
  // C and C' of all tasks of a round, and the features of a task for each thread.
  const double round = rows * width + held_of_means(method, sizes) +
                       threads * (held_of_workspace(method, sizes) + number(most) * width);
  const double products = sizes.geometry > 0 ? parts * N * width : 0;
  double held = N * width + N + std::max(start, N * width + std::max(products, round));
  if (sizes.geometry > 0) {
    // Counts the Cholesky factor and the matrix that is factored. If the matrix has too many rows
    // for d features, it is singular, and only one of the two is in memory.
    const bool regular = active + number(sizes.k + sizes.k_star) <= number(sizes.d);
    held += (regular ? 2 : 1) * active * active + active * number(sizes.k + sizes.k_star);
  }
  return kDouble * held;
}

}  // namespace

/// Returns the cost of the dual route, (24). A round computes Z_t = Z_0 + G A_t for the samples of
/// the round, and the algebra uses blocks of G as K and K'. `active` is the number of samples that
/// have rows in A: all samples, or only the outer samples if the method has no X^T C of inner sets.
/// All trials of a run use the same G. A replaces B, so a trial stores one copy of B instead of
/// two. After the setup, the time does not depend on d.
RouteCost dual_cost(const Method& method, const DataSizes& sizes, int threads) {
  const double N = sizes.all_samples(), rows = sizes.samples(), n = number(sizes.n);
  const double k = number(sizes.k), width = number(padded(sizes.k));
  const bool whole = method.has_inner_part() || sizes.shared;
  const double inner = whole ? 0 : sizes.all_in();
  const double active = N - inner;  // samples that gradients combine
  RouteCost cost;
  // Pairs in both triangles of G are counted. Pairs of two inner samples are counted only if the
  // method uses their inner products.
  add_dual_setup(sizes, N * N - inner * inner, cost);
  const double table = kDouble * rows * active;
  // Measurements show that the traffic of G does not overlap with the arithmetic of its products
  // with the few columns of A, so traffic and arithmetic are separate stages.
  cost.round = {
      traffic(table, table <= 2 * kKeptBytes), {2 * rows * active * width}, {2 * rows * k}};
  if (method.needs_cross_gram() || method.clips()) {
    cost.round.push_back({6.0 * (method.inner_steps + 1) * rows * (rows / n)});
  }
  if (sizes.geometry > 0) {
    cost.setup.push_back({0, active * active * active / 3 * threads});  // factor, on one thread
    cost.records = coordinates_cost(sizes.geometry * active, sizes.k, sizes.k);
    cost.records.push_back({sizes.geometry * active * active * width});
    cost.calls += sizes.record_calls * threads;
  }
  cost.calls += algebra_calls(method, sizes, n);
  cost.tasks = kGramTask * n;
  cost.flops = 2 * rows * active * k;
  cost.serial = cost.flops < kSerialFlops;
  cost.bytes = dual_bytes(method, sizes, active, threads);
  cost.copies_of_B = 1;
  // The blocks beside A, and the new blocks before they replace the old ones.
  const Index beside = method.step.blocks() - 1;
  if (beside > 0) {
    cost.bytes += kDouble * number(2 * beside + 1) * N * width;
    cost.round.push_back(traffic(kDouble * number(3 * beside + 2) * N * width, false));
  }
  cost.shared_bytes = cost.opening_bytes = kDouble * N * N;
  if (sizes.sparse) {
    const SparseSweeps sweeps(sizes);
    cost.opening_bytes += sweeps.listed_bytes(threads, N);
    cost.shared_bytes += sweeps.sum_bytes(false, threads);  // of B, for one trial at a time
  } else {
    const Index columns = std::min(tile_columns(static_cast<Index>(N)), sizes.d);
    cost.opening_bytes += kDouble * N * number(columns);
  }
  return cost;
}

}  // namespace metaspan
