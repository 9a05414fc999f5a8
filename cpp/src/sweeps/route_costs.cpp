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

// Times of sparse samples. Each comment names a unit and then a part of the work. The constant is
// the time of that part in that unit.
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

/// Returns `bytes` as traffic from a cache if the data fit into the cache, and from memory
/// otherwise.
Stage traffic(double bytes, bool fits) { return fits ? Stage{0, 0, 0, bytes} : Stage{0, 0, bytes}; }

/// Counts the kernel calls of the task algebra, (5)-(10), for `panels` panels. One call serves all
/// tasks of a panel. On the Gram and the dual route a panel is a single task.
double algebra_calls(const Method& method, const DataSizes& sizes, double panels) {
  const AlgebraCounts counts = algebra_counts(method, sizes.losses);
  return panels * (counts.forward + counts.back + counts.added + counts.moves);
}

/// Returns whether the engine computes a round on one thread, by the engine's own rule: in a round
/// of fewer than kSerialFlops, waking a thread costs more time than the thread saves.
bool is_serial(const Method& method, const DataSizes& sizes) {
  const double m_out = sizes.shared ? sizes.m_in : sizes.m_out;
  const double length = sizes.sparse ? sizes.entries : number(sizes.d);
  const double summed = sizes.sparse ? number(sizes.d) * number(sizes.k) : 0;
  return flops_of_round(method, length, number(sizes.n), sizes.m_in, m_out, summed) < kSerialFlops;
}

/// Adds the cost of measuring B at full size: of its coordinates (13), in a share of the rounds,
/// and of the records. One thread computes the records, whereas the rate of kernel calls is that of
/// all threads, so the calls of the records are multiplied by the number of threads.
void add_geometry(const DataSizes& sizes, int threads, RouteCost& cost) {
  cost.records =
      coordinates_cost(sizes.geometry * number(sizes.d), sizes.k, sizes.k + sizes.k_star);
  cost.calls += sizes.record_calls * threads;
}

/// Returns which Gram matrices of (5) a round computes. Losses after adaptation need K if the inner
/// loop moves B, (6). For shared sets K' equals K, and K is computed once.
GramsNeeded grams_of(const Method& method, const DataSizes& sizes) {
  const bool outer = method.has_outer_part() || sizes.losses > 0;
  const bool cross = method.needs_cross_gram() && outer;
  return {method.needs_gram() || (cross && (sizes.losses > 0 || sizes.shared)),
          cross && !sizes.shared, outer};
}

/// Returns the share of rounds that use the outer sets: 1 if the method has an outer part, and
/// otherwise the share of rounds that record losses.
double outer_rounds(const Method& method, const DataSizes& sizes) {
  return method.has_outer_part() ? 1 : sizes.losses;
}

/// The numbers of terms s c^T in the factors C and C' of a task, (10).
struct TermCounts {
  double inner, outer;
};

/// Counts the terms of C, two for each inner step of an exact method, (9), and of C', (8).
TermCounts terms_of(const Method& method) {
  return {static_cast<double>(method.inner_terms()), method.has_outer_part() ? 1.0 : 0.0};
}

/// Counts the numbers that Factors holds for the C of a set of m samples: all of C, or s and c of
/// each term if these are fewer numbers.
double held_of_factors(double m, Index k, double terms) {
  const double width = number(padded(k));
  return 2 * terms >= number(k) ? m * width : terms * (m + width);
}

/// Counts the numbers of the TaskProducts of a task, without C: Z, y, and the Gram matrices of (5).
double held_of_products(const Method& method, const DataSizes& sizes) {
  const GramsNeeded grams = grams_of(method, sizes);
  const double width = number(padded(sizes.k));
  return (sizes.m_in + sizes.m_out) * (width + 1) + grams.K * sizes.m_in * sizes.m_in +
         method.needs_cross_gram() * sizes.m_out * sizes.m_in;
}

/// Returns how many of `tasks` tasks the largest block has, by the rule of blocks_of() for tasks of
/// average size. A task that exceeds the limit of a block has a block of its own.
double tasks_of_block(const DataSizes& sizes, Index tasks) {
  if (!are_limited(sizes.stored, sizes.B_number_bytes)) return number(tasks);
  const double task = sizes.row_bytes() * (sizes.m_in + (sizes.shared ? 0 : sizes.m_out));
  const double room = block_bytes(sizes.d, sizes.k, sizes.B_number_bytes);
  return std::clamp(std::floor(room / task), 1.0, number(tasks));
}

/// Counts the numbers of the DenseWorkspace of a thread: residuals of both sets and of the inner
/// steps, for exact methods the adjoints of these residuals, and for MAML the products of every
/// slot with K and K'.
double held_of_workspace(const Method& method, const DataSizes& sizes) {
  const double rows = sizes.m_in + sizes.m_out;
  return rows + method.inner_steps * sizes.m_in * (method.exact ? 2 : 1) +
         method.adapt_B * slots_of(method.inner_steps) * rows;
}

/// Counts the numbers of RoundMeans and of its outputs: heads, their gradients, and three losses
/// for each task.
double held_of_means(const DataSizes& sizes) { return number(sizes.n) * number(2 * sizes.k + 3); }

/// The costs of the sweeps over sparse samples, with copies by bands if `copied` is set and the
/// copies pay. Arithmetic is counted in flops of a dense X B. Sparse products run at half the rate
/// of a dense one, so each entry counts 4 flops for each column. The units above were fitted to
/// measurements.
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

  /// Returns the cost of X B: each entry reads a row of B and adds a multiple of it, at half the
  /// rate of a dense product. With copies by bands, B is read once, and a row of Z is read and
  /// written by every band in which it has entries.
  Stage features(double samples) const {
    const double entries = entries_of(samples);
    if (!copied_) return {entries * entry_, 0, entries * waits_};
    const double bands = std::ceil(d_ / number(columns_of_band(sizes_.k)));
    const double rows = std::min(samples * sizes_.entries, samples * bands);
    const double read = entries * kEntryBytes + kDouble * d_ * k_;
    return {kSlowerOnB * entries * entry_, 0, read, 2 * kDouble * columns_ * rows};
  }

  /// Returns the cost of X u and X^T r: an entry reads a number of u and updates one of the sums.
  /// Both are random accesses, which cost whole cache lines if no cache holds the two vectors.
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

  /// Returns the cost of X^T C, (10), for sets of m samples and `terms` terms of C. Either a vector
  /// X^T s is computed for each term, or each entry adds a multiple of a row of C to a row of the
  /// sums, which is read and written. With copies by bands, these rows of the sums are in an L2
  /// cache.
  Stage combined(double samples, double m, double terms) const {
    if (by_terms(m, terms)) {
      const double of_a_set = terms * work(m).of_a_term * 4;
      return {samples / m * of_a_set, 0, kEntryBytes * samples * sizes_.entries};
    }
    const double entries = entries_of(samples);
    return {kSlowerOnB * entries * entry_, 0, entries * (copied_ ? kEntryBytes : 2 * waits_)};
  }

  /// Returns whether X^T C is computed as a vector X^T s for each term of C, by the rule that the
  /// sweep applies.
  bool by_terms(double m, double terms) const {
    return 2 * terms < k_ && terms * work(m).of_a_term < work(m).of_rows;
  }

  /// Returns the traffic of grad_B, which does not depend on the entries: its d rows are set to
  /// zero, summed, and read by the step. Sums that are in a cache or in grad_B itself add no
  /// further traffic.
  Stage gradient() const {
    const double sums = in_place_ || copied_ ? 2 * k_ : 3 * columns_;
    return {0, 0, kDouble * d_ * (sums + 5 * k_)};
  }

  /// Returns the cost of the first use of memory for `numbers` numbers.
  static Stage table(double numbers) { return {0, 0, kFreshMemory * kDouble * numbers}; }

  /// Returns the cost of the inner products of `rows` rows with `others` rows: the entries are
  /// looked up in lists of kListedRows rows, and pairs of entries in the same column are multiplied
  /// and added.
  Stage products(double rows, double others) const {
    const auto block = static_cast<double>(kListedRows);
    const double looked_up =
        sizes_.entries * (rows * std::ceil(others / block) + others * std::ceil(rows / block));
    const double met = rows * others * sizes_.entries * sizes_.entries * sizes_.meeting;
    return {(looked_up + met) * 4 * kListedColumns};
  }

  /// Returns the bytes of the lists for products(), one list of at most m rows for each thread: a
  /// head for each column, and the entries.
  double listed_bytes(int threads, double m) const {
    const double rows = std::min(m, static_cast<double>(kListedRows));
    constexpr auto kHead = static_cast<double>(sizeof(std::int32_t));
    return threads * (kHead * d_ + sizeof(kernels::ListedEntry) * rows * sizes_.entries);
  }

  /// Returns the bytes of the sums of X^T C and, if `vectors`, of the vectors X^T s that are added
  /// together. Sums that need no padding are in grad_B itself and take no bytes here. With copies
  /// by bands, each thread holds the sums of one band.
  double sum_bytes(bool vectors, int threads) const {
    const double rows = copied_ ? std::min(d_, threads * number(columns_of_band(sizes_.k))) : d_;
    return kDouble * rows * (!in_place_ * columns_ + static_cast<double>(kTermsAtOnce) * vectors);
  }

  /// Returns the bytes, without padding, of a padded sum of all rows. They are freed when the
  /// gradient is complete.
  double released_bytes() const { return in_place_ || copied_ ? 0 : kDouble * d_ * k_; }

  /// Counts the numbers that Factors holds for the C of a set of m samples. If C is held as terms
  /// but X^T C adds rows of C, the numbers of the expanded C are counted too.
  double held_of_factors(double m, double terms) const {
    const bool expands = terms > 0 && 2 * terms < k_ && !by_terms(m, terms);
    return metaspan::held_of_factors(m, sizes_.k, terms) + expands * m * columns_;
  }

 private:
  /// Counts the entries of samples, with the overhead of their rows.
  double entries_of(double samples) const { return samples * (sizes_.entries + kRowEntries); }
  TermWork work(double m) const { return term_work(m * sizes_.entries, sizes_.d, sizes_.k); }

  const DataSizes& sizes_;
  double d_, k_, columns_;
  double waits_, entry_;    // bytes and flops of an entry in X B
  bool copied_, in_place_;  // sets have copies by bands; sums are in grad_B
};

/// Returns the bytes that the Gram route holds on dense data: the TaskProducts of a block, C and
/// C', the workspaces, the outputs, and the memory of the sweeps. The first sweep needs partial
/// products of the pieces of d and tiles; the second sweep needs tiles. The two sweeps do not
/// overlap, so the larger of their needs is counted.
double dense_gram_bytes(const Method& method, const DataSizes& sizes, int threads) {
  const double n = tasks_of_block(sizes, sizes.n), width = number(padded(sizes.k));
  const auto rows = static_cast<Index>(sizes.m_in + sizes.m_out);
  const Index pieces = pieces_of(sizes.d, rows, sizes.n);
  const TermCounts terms = terms_of(method);
  const double C = held_of_factors(sizes.m_in, sizes.k, terms.inner) * method.has_inner_part() +
                   held_of_factors(sizes.m_out, sizes.k, terms.outer);
  const double parts = n * number(pieces - 1) * held_of_products(method, sizes);
  // Tiles of both sweeps; the first one converts X to double.
  const auto columns = number(std::min(kProjectedColumns, sizes.d / pieces));
  const bool converts = sizes.number_bytes < static_cast<Index>(kDouble);
  const double first = threads * columns * (width + converts * (sizes.m_in + sizes.m_out));
  const double second =
      threads * number(kCombinedRows) * (width + std::max(sizes.m_in, sizes.m_out));
  return kDouble * (n * (held_of_products(method, sizes) + C) + std::max(parts + first, second) +
                    threads * held_of_workspace(method, sizes) + held_of_means(sizes));
}

/// Counts a round of the Gram route on dense data. The first sweep computes (5), in flops of X B
/// and of X X^T, which run at different rates. By measurement, these products wait for X instead of
/// hiding its traffic, so arithmetic and traffic are separate stages. The second sweep applies
/// (10): it multiplies each sample by one column of C' and, if the method has an inner part, by
/// min(2 J, k) columns of C. If C is held as terms, X is read for each of these columns. X comes
/// from a cache if all of it is still there from the round before.
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
  const TermCounts counts = terms_of(method);
  const double terms = std::min(counts.inner, number(sizes.k));
  const double inner = inner_part ? sizes.samples_in() : 0;
  const double combined = counts.outer * sizes.samples_out();
  Stage second = traffic((combined + inner) * d * kDouble, kept);
  second.features = 2 * d * (combined + terms * sizes.samples_in());
  if (2 * terms < number(sizes.k)) second.cached += std::max(terms - 1, 0.0) * inner * d * kDouble;
  cost.round = {traffic(samples * d * kDouble, kept), first, second};
  cost.flops = first.features + first.grams + second.features;
  cost.bytes = dense_gram_bytes(method, sizes, threads);
  return cost;
}

/// Counts a round of the Gram route on sparse data: X B and X^T C, as SparseSweeps counts them, and
/// for MAML products of sparse rows. K is symmetric, so half of its products suffice. The Gram
/// matrices are fresh memory in each round. The sums of X^T C are freed when the gradient is
/// complete.
RouteCost sparse_gram(const Method& method, const DataSizes& sizes, int threads) {
  const SparseSweeps sweeps(sizes, sizes.copied);
  const double n = number(sizes.n), samples = sizes.samples();
  const TermCounts terms = terms_of(method);
  const bool exact = method.has_inner_part(), grams = method.needs_cross_gram();
  const double all_out = sizes.m_out * number(sizes.all_tasks);
  const double all_in = method.inner_steps > 0 && !sizes.shared ? sizes.all_in() : 0;
  RouteCost cost;
  cost.round = {sweeps.features(samples), sweeps.gradient(),
                sweeps.combined(terms.outer * sizes.samples_out(), sizes.m_out, terms.outer)};
  double held = held_of_products(method, sizes) + sweeps.held_of_factors(sizes.m_out, terms.outer);
  bool vectors = sweeps.by_terms(sizes.m_out, terms.outer);
  if (exact) {
    cost.round.push_back(sweeps.combined(sizes.samples_in(), sizes.m_in, terms.inner));
    held += sweeps.held_of_factors(sizes.m_in, terms.inner);
    vectors = vectors || sweeps.by_terms(sizes.m_in, terms.inner);
  }
  // One thread finds the edges of the bands from sampled entries, unless the bands of the copies
  // are used.
  if (threads > 1 && !sweeps.copied()) {
    cost.round.push_back({threads * kWeighedSample * number(kBandSamples)});
  }
  cost.copy_bytes =
      sweeps.bytes_of_copies(all_out, sizes.m_out) + sweeps.bytes_of_copies(all_in, sizes.m_in);
  cost.setup = {sweeps.copying(all_out + all_in)};
  if (grams) {
    const GramsNeeded needed = grams_of(method, sizes);
    const double pairs = sizes.samples_out() * needed.K_cross + sizes.samples_in() * needed.K / 2;
    Stage products = sweeps.products(sizes.m_in, pairs / n);
    products.features *= n;
    cost.round.push_back(products);
    cost.round.push_back(SparseSweeps::table(pairs * sizes.m_in));
  }
  const double listed = grams ? sweeps.listed_bytes(threads, sizes.m_in) : 0;
  cost.bytes = kDouble * (tasks_of_block(sizes, sizes.n) * held +
                          threads * held_of_workspace(method, sizes) + held_of_means(sizes)) +
               std::max(listed, sweeps.sum_bytes(vectors, threads));
  cost.released_bytes = sweeps.released_bytes();
  const double combined = sizes.samples_out() + exact * sizes.samples_in();
  cost.flops = 2 * sizes.entries * number(sizes.k) * (samples + combined);
  return cost;
}

/// Returns the cost of X u and X^T r for `samples` dense samples, counting repeated passes. Each
/// row is used twice. A row is read from memory for the first use and from a cache for the second
/// use, unless the row is too long for a cache.
Stage dense_passes(const DataSizes& sizes, double samples) {
  const double d = number(sizes.d), data = sizes.bytes();
  // Rows longer than kFarBytes leave every cache before their second use.
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

}  // namespace

/// Counts the operations of X u and X^T r, 4 m times the length of a row for a set of m samples.
/// They are computed J times for each inner set, or 2 J times if the gradient has an inner part,
/// and once for each outer set. Each number of the gradient takes one multiplication and one
/// addition.
double flops_of_round(const Method& method, double length, double n, double m_in, double m_out,
                      double numbers) {
  return 4 * n * length * (method.inner_passes() * m_in + m_out) + 2 * numbers;
}

/// Counts rounds of the Gram route, (11), on dense or sparse data. The algebra runs task by task,
/// so its kernels are called once for each task.
RouteCost gram_cost(const Method& method, const DataSizes& sizes, int threads) {
  RouteCost cost =
      sizes.sparse ? sparse_gram(method, sizes, threads) : dense_gram(method, sizes, threads);
  cost.reads = sizes.bytes();
  cost.calls = algebra_calls(method, sizes, number(sizes.n));
  // By measurement, threads do not share this overhead, which is memory traffic of small arrays.
  // The rate of tasks is that of all threads, so the overhead is multiplied by the number of
  // threads.
  cost.tasks = kGramTask * number(sizes.n) * threads;
  cost.serial = is_serial(method, sizes);
  add_geometry(sizes, threads, cost);
  return cost;
}

namespace {

/// Returns the tasks of the busiest thread of the vector route, as a multiple of an even share.
/// Threads take panels as they become free: panels of full size first, and then the last panel,
/// which may be smaller.
double busiest_share(const VectorPlan& plan, const DataSizes& sizes, int threads) {
  const Sharing sharing = sharing_of(plan, sizes.n, sizes.task_bytes(), sizes.sparse, threads);
  const Index n = std::min(plan.block, sizes.n), full = n / plan.panel;
  if (sharing.groups == 1) return 1;
  Index most = ceil_div(full, sharing.groups) * plan.panel;
  if (full % sharing.groups == 0) most += n % plan.panel;
  return number(most * sharing.groups) / number(n);
}

/// Adds the cost of Z = X B of the inner sets, (5), on the vector route, which reads each set once.
/// For an exact method one more pass computes the 2 J vectors of each task, two at a time.
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

/// Counts rounds of the vector route, (11). X of an inner set is passed over J times, or 2 J times
/// if the gradient has an inner part, and once more in rounds that record losses. X of an outer set
/// is passed over once. If the inner sets are processed by Z, add_features() counts their cost.
/// Beside X, a pass reads and writes vectors of length d and multiplies by B^T once for each task.
/// All tasks of a panel share each read of B, so reads of B are counted for each panel and
/// arithmetic for each task.
RouteCost vector_cost(const Method& method, const DataSizes& sizes, int threads) {
  const VectorPlan plan = plan_of(method, sizes);
  const double d = number(sizes.d), k = number(sizes.k), n = number(sizes.n);
  const double panel = number(plan.panel);
  const double inner = plan.features ? 0 : method.inner_passes() + sizes.losses;
  const double outer = outer_rounds(method, sizes);
  const double samples = inner * sizes.samples_in() + outer * sizes.samples_out();
  // A pass writes u and X^T r of length d once and reads them a few times.
  const double passes = (inner + outer) * n, B_t = kDouble * d * k;
  const bool near = kDouble * panel * d * kVectorsTogether < kKeptBytes;
  const double of_B = (4 * passes + 2 * n * number(plan.terms)) * d * k;
  RouteCost cost;
  // A panel reads B once for each product. Panels have a single task only if a cache keeps B.
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
  cost.reads = sizes.bytes();
  cost.bytes = vector_memory(method, sizes, threads);
  cost.calls = algebra_calls(method, sizes, number(ceil_div(sizes.n, plan.panel)));
  cost.tasks = n;
  cost.serial = is_serial(method, sizes);
  cost.busiest = busiest_share(plan, sizes, threads);
  add_geometry(sizes, threads, cost);
  return cost;
}

namespace {

/// Adds the work before the first round of the dual route, (24): the Gram matrix with `pairs` pairs
/// of samples, and passes over X for Z_0 = X B_0, for B at the end of the run and, if B is
/// measured, for the products of X with B_star and E.
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

/// Returns the bytes of a trial on the dual route, without G. The peak is the largest of three
/// phases that do not overlap: computing Z_0, computing the products for the coordinates, and a
/// round. The factor L^T of (24) remains if B is measured.
double dual_bytes(const Method& method, const DataSizes& sizes, double active, int threads) {
  const double N = sizes.all_samples(), width = number(padded(sizes.k));
  const double rows = sizes.samples_out() + method.has_inner_part() * sizes.samples_in();
  const Index most = static_cast<Index>(sizes.m_in + sizes.m_out);
  const Index pieces = sizes.sparse ? 1 : pieces_of(sizes.d, most, sizes.all_tasks);
  // Blocks are processed one after another. Each is split along d into pieces, whose partial
  // products are then summed.
  const double cut = tasks_of_block(sizes, sizes.all_tasks) / number(sizes.all_tasks);
  const double parts = 1 + cut * number(pieces - 1);
  const double start = std::max(parts, 2.0) * N * width;  // Z_0 and its partial products
  // C and C' of all tasks of a round, and the features of a task for each thread.
  const double round = rows * width + held_of_means(sizes) +
                       threads * (held_of_workspace(method, sizes) + number(most) * width);
  const double products = sizes.geometry > 0 ? parts * N * width : 0;
  double held = N * width + N + std::max(start, N * width + std::max(products, round));
  if (sizes.geometry > 0) {
    // The Cholesky factor and the matrix that is factored. If there are more samples than d, this
    // matrix is singular, and only one of the two is held.
    const bool regular = active + number(sizes.k + sizes.k_star) <= number(sizes.d);
    held += (regular ? 2 : 1) * active * active + active * number(sizes.k + sizes.k_star);
  }
  return kDouble * held;
}

}  // namespace

/// Counts rounds of the dual route, (24): Z_t = Z_0 + G A_t on the rows of the round, and the
/// algebra with blocks of G as K and K'. `active` counts the samples with rows in A: all samples,
/// or the outer samples alone if the method has no X^T C. The trials of a run share G. A replaces
/// B, so a trial holds one copy of B instead of two. The time does not depend on d after the setup.
RouteCost dual_cost(const Method& method, const DataSizes& sizes, int threads) {
  const double N = sizes.all_samples(), rows = sizes.samples(), n = number(sizes.n);
  const double k = number(sizes.k), width = number(padded(sizes.k));
  const bool whole = method.has_inner_part() || sizes.shared;
  const double inner = whole ? 0 : sizes.all_in();
  const double active = N - inner;  // samples that gradients combine
  RouteCost cost;
  // Pairs of both triangles of G. Pairs of two inner samples are left out unless the method uses
  // them.
  add_dual_setup(sizes, N * N - inner * inner, cost);
  const double table = kDouble * rows * active;
  // By measurement, products with the few columns of A wait for G instead of hiding its traffic, so
  // traffic and arithmetic are separate stages.
  cost.round = {
      traffic(table, table <= 2 * kKeptBytes), {2 * rows * active * width}, {2 * rows * k}};
  if (method.needs_cross_gram()) {
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
