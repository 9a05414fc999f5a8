#include "metaspan/sweeps/route_costs.hpp"

#include <algorithm>
#include <cmath>

#include "metaspan/algebra/task_algebra.hpp"
#include "metaspan/data/blocks.hpp"
#include "metaspan/geometry/coordinates.hpp"
#include "metaspan/sweeps/dual_gram.hpp"
#include "metaspan/sweeps/sparse_sweeps.hpp"
#include "metaspan/sweeps/sweeps.hpp"
#include "metaspan/sweeps/vector_plan.hpp"
#include "sparse.hpp"

namespace metaspan {
namespace {

constexpr double kDouble = 8;           // bytes; float32 is converted, which takes as long
constexpr double kVectorPasses = 6;     // over vectors of length d in a pass over X: u and X^T r
constexpr double kVectorFlops = 4;      // of the vector route, that take as long as one of X B
constexpr double kVectorsTogether = 3;  // of a task, that a cache must hold at a time
constexpr double kReadingsOfB = 3;      // in a round, beside those of the panels
constexpr double kGramTask = .5;        // of the time of the vector route's

// Sparse samples, in units that take as long.
constexpr double kLineBytes = 64;      // read beside a row of a table that no cache holds
constexpr double kEntryBytes = 12;     // of an entry
constexpr double kVectorColumns = 12;  // columns of B: an entry in X u and X^T r
constexpr double kEntryColumns = 8;    // an entry in X B beside its columns
constexpr double kListedColumns = 60;  // an entry of a list
constexpr double kRowEntries = 4;      // entries: a row of X itself
constexpr double kSlowerOnB = 1.5;     // of products of B with few vectors, and of X^T C

double number(Index count) { return static_cast<double>(count); }

/// Bytes from a cache where they fit, and from memory where not.
Stage traffic(double bytes, bool fits) { return fits ? Stage{0, 0, 0, bytes} : Stage{0, 0, bytes}; }

/// Calls of the kernels of the task algebra, for so many panels.
double algebra_calls(const Method& method, const DataSizes& sizes, double panels) {
  const AlgebraCounts counts = algebra_counts(method, sizes.losses);
  return panels * (counts.forward + counts.back + counts.added + counts.moves);
}

/// Whether the engine computes a round of a gradient route on one thread.
bool is_serial(const Method& method, const DataSizes& sizes) {
  const double m_out = sizes.shared ? sizes.m_in : sizes.m_out;
  return flops_of_passes(method, number(sizes.d), number(sizes.n), sizes.m_in, m_out) <
         kSerialFlops;
}

/// Measuring B at full size. One thread makes the records.
void add_geometry(const DataSizes& sizes, int threads, RouteCost& cost) {
  cost.records =
      coordinates_cost(sizes.geometry * number(sizes.d), sizes.k, sizes.k + sizes.k_star);
  cost.calls += sizes.record_calls * threads;
}

/// The Grams that a round needs; of shared sets K is K' too.
GramsNeeded grams_of(const Method& method, const DataSizes& sizes) {
  const bool cross = method.needs_cross_gram();
  return {method.needs_gram() || (cross && (sizes.losses > 0 || sizes.shared)),
          cross && !sizes.shared};
}

/// Terms of C of a task's inner and outer set.
struct TermCounts {
  double inner, outer;
};

TermCounts terms_of(const Method& method) {
  return {method.has_inner_part() ? 2.0 * method.inner_steps : 0, 1};
}

/// Numbers of C of a set with m samples, as Factors hold it.
double held_of_factors(double m, Index k, double terms) {
  const double width = number(padded(k));
  return 2 * terms >= number(k) ? m * width : terms * (m + width);
}

/// Numbers of TaskProducts beside C, of a task.
double held_of_products(const Method& method, const DataSizes& sizes) {
  const GramsNeeded grams = grams_of(method, sizes);
  const double width = number(padded(sizes.k));
  return (sizes.m_in + sizes.m_out) * (width + 1) + grams.K * sizes.m_in * sizes.m_in +
         method.needs_cross_gram() * sizes.m_out * sizes.m_in;
}

/// Tasks of the largest block, of so many.
double tasks_of_block(const DataSizes& sizes, Index tasks) {
  if (!are_limited(sizes.stored, sizes.B_number_bytes)) return number(tasks);
  const double task = sizes.row_bytes() * (sizes.m_in + (sizes.shared ? 0 : sizes.m_out));
  const double room = block_bytes(sizes.d, sizes.k, sizes.B_number_bytes);
  return std::clamp(std::floor(room / task), 1.0, number(tasks));
}

/// Numbers of a thread's DenseWorkspace.
double held_of_workspace(const Method& method, const DataSizes& sizes) {
  const double rows = sizes.m_in + sizes.m_out;
  return rows + method.inner_steps * sizes.m_in * (method.exact ? 2 : 1) +
         method.adapt_B * slots_of(method.inner_steps) * rows;
}

/// Numbers of what a round tells: heads, their gradients and losses.
double held_of_means(const DataSizes& sizes) { return number(sizes.n) * number(2 * sizes.k + 3); }

/// Sweeps over sparse samples.
class SparseSweeps {
 public:
  explicit SparseSweeps(const DataSizes& sizes)
      : sizes_(sizes), d_(number(sizes.d)), k_(number(sizes.k)), columns_(number(padded(sizes.k))) {
    const bool far = kDouble * d_ * k_ > kKeptBytes;  // a row of B waits for memory
    waits_ = (far ? kDouble * k_ + kLineBytes : 0) + kEntryBytes;
    entry_ = 4 * (k_ + kEntryColumns);
  }

  /// X B: an entry takes a row of B, at half the rate of a dense product.
  Stage features(double samples) const {
    const double entries = entries_of(samples);
    return {entries * entry_, 0, entries * waits_};
  }

  /// X u and X^T r: an entry takes a number of u, and one of the sums.
  Stage passes(double samples) const {
    const double lines = 2 * kDouble * d_ > kTwoVectorsBytes ? 3 * kLineBytes : 0;
    const double entries = entries_of(samples);
    return {entries * 4 * kVectorColumns, 0, entries * (lines + kEntryBytes)};
  }

  /// X^T C for sets of m samples, with so many terms of C.
  Stage combined(double samples, double m, double terms) const {
    if (by_terms(m, terms)) {
      const double of_a_set = terms * work(m).of_a_term * 4;
      return {samples / m * of_a_set, 0, kEntryBytes * samples * sizes_.entries};
    }
    const double entries = entries_of(samples);
    return {kSlowerOnB * entries * entry_, 0, 2 * entries * waits_};
  }

  /// Whether C is short enough for a vector X^T s for each of its terms.
  bool by_terms(double m, double terms) const {
    return 2 * terms < k_ && terms * work(m).of_a_term < work(m).of_rows;
  }

  /// Zeros, sums and a step: d rows, whatever the entries are.
  Stage gradient() const { return {0, 0, kDouble * d_ * (3 * columns_ + 5 * k_)}; }

  /// Memory that the system gives afresh, of so many numbers.
  static Stage table(double numbers) { return {0, 0, kFreshMemory * kDouble * numbers}; }

  /// Products of rows with others: entries are looked up block by block, and those that meet added.
  Stage products(double rows, double others) const {
    const auto block = static_cast<double>(kListedRows);
    const double looked_up =
        sizes_.entries * (rows * std::ceil(others / block) + others * std::ceil(rows / block));
    const double met = rows * others * sizes_.entries * sizes_.entries * sizes_.meeting;
    return {(looked_up + met) * 4 * kListedColumns};
  }

  /// Bytes for products of rows on so many threads, m rows listed at a time at most.
  double listed_bytes(int threads, double m) const {
    const double rows = std::min(m, static_cast<double>(kListedRows));
    constexpr auto kHead = static_cast<double>(sizeof(std::int32_t));
    return threads * (kHead * d_ + sizeof(kernels::ListedEntry) * rows * sizes_.entries);
  }

  /// Bytes of the sums of X^T C, and of vectors X^T s.
  double sum_bytes(bool vectors) const {
    return kDouble * d_ * (columns_ + static_cast<double>(kTermsAtOnce) * vectors);
  }

  /// Numbers of C of a set as it is held and, where it is combined by its rows, expanded.
  double held_of_factors(double m, double terms) const {
    const bool expands = terms > 0 && 2 * terms < k_ && !by_terms(m, terms);
    return metaspan::held_of_factors(m, sizes_.k, terms) + expands * m * columns_;
  }

 private:
  double entries_of(double samples) const { return samples * (sizes_.entries + kRowEntries); }
  TermWork work(double m) const { return term_work(m * sizes_.entries, sizes_.d, sizes_.k); }

  const DataSizes& sizes_;
  double d_, k_, columns_;
  double waits_, entry_;  // bytes and operations of an entry in X B
};

/// Bytes of the gram route's TaskProducts, and of the parts of those that pieces of d make.
double dense_gram_bytes(const Method& method, const DataSizes& sizes, int threads) {
  const double n = tasks_of_block(sizes, sizes.n), width = number(padded(sizes.k));
  const auto rows = static_cast<Index>(sizes.m_in + sizes.m_out);
  const Index pieces = pieces_of(sizes.d, rows, sizes.n);
  const TermCounts terms = terms_of(method);
  const double C = held_of_factors(sizes.m_in, sizes.k, terms.inner) * method.has_inner_part() +
                   held_of_factors(sizes.m_out, sizes.k, terms.outer);
  const double parts = n * number(pieces - 1) * held_of_products(method, sizes);
  // Tiles of the first sweep, and what goes before the second begins, or comes with it.
  const auto columns = number(std::min(kProjectedColumns, sizes.d / pieces));
  const bool converts = sizes.number_bytes < static_cast<Index>(kDouble);
  const double first = threads * columns * (width + converts * (sizes.m_in + sizes.m_out));
  const double second =
      threads * number(kCombinedRows) * (width + std::max(sizes.m_in, sizes.m_out));
  return kDouble * (n * (held_of_products(method, sizes) + C) + std::max(parts + first, second) +
                    threads * held_of_workspace(method, sizes) + held_of_means(sizes));
}

RouteCost dense_gram(const Method& method, const DataSizes& sizes, int threads) {
  const double d = number(sizes.d), samples = sizes.samples();
  const bool exact = method.has_inner_part();
  const GramsNeeded grams = grams_of(method, sizes);
  const bool kept = sizes.bytes() <= kKeptBytes;
  RouteCost cost;
  Stage first = traffic(samples * d * kDouble, kept);
  first.features = 2 * samples * d * number(padded(sizes.k));
  first.grams =
      d * sizes.m_in * (2 * sizes.samples_in() * grams.K + 2 * sizes.samples_out() * grams.K_cross);
  const double inner = exact ? sizes.samples_in() : 0;
  const double terms = exact ? std::min(2.0 * method.inner_steps, number(sizes.k)) : 0;
  Stage second = traffic((sizes.samples_out() + inner) * d * kDouble, kept);
  second.features = 2 * d * (sizes.samples_out() + terms * sizes.samples_in());
  cost.round = {first, second};
  cost.flops = first.features + first.grams + second.features;
  cost.bytes = dense_gram_bytes(method, sizes, threads);
  return cost;
}

RouteCost sparse_gram(const Method& method, const DataSizes& sizes, int threads) {
  const SparseSweeps sweeps(sizes);
  const double n = number(sizes.n), samples = sizes.samples();
  const TermCounts terms = terms_of(method);
  const bool exact = method.has_inner_part(), grams = method.needs_cross_gram();
  RouteCost cost;
  cost.round = {sweeps.features(samples), sweeps.gradient(),
                sweeps.combined(sizes.samples_out(), sizes.m_out, terms.outer)};
  double held = held_of_products(method, sizes) + sweeps.held_of_factors(sizes.m_out, terms.outer);
  bool vectors = sweeps.by_terms(sizes.m_out, terms.outer);
  if (exact) {
    cost.round.push_back(sweeps.combined(sizes.samples_in(), sizes.m_in, terms.inner));
    held += sweeps.held_of_factors(sizes.m_in, terms.inner);
    vectors = vectors || sweeps.by_terms(sizes.m_in, terms.inner);
  }
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
               std::max(listed, sweeps.sum_bytes(vectors));
  cost.released_bytes = kDouble * number(sizes.d) * number(sizes.k);
  const double combined = sizes.samples_out() + exact * sizes.samples_in();
  cost.flops = 2 * sizes.entries * number(sizes.k) * (samples + combined);
  return cost;
}

/// X u and X^T r of so many dense samples. Every row is met twice; what comes from memory, once.
Stage dense_passes(const DataSizes& sizes, double samples) {
  const double d = number(sizes.d), data = sizes.bytes();
  // No cache holds rows so long until they are used again.
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

/// Counts X u and X^T r, 4 m d operations for a set of m samples: J times over the inner sets,
/// twice that if the gradient has an inner part, and once over the outer ones.
double flops_of_passes(const Method& method, double d, double n, double m_in, double m_out) {
  const double steps = method.inner_steps * (method.has_inner_part() ? 2 : 1);
  return 4 * n * d * (steps * m_in + m_out);
}

RouteCost gram_cost(const Method& method, const DataSizes& sizes, int threads) {
  RouteCost cost =
      sizes.sparse ? sparse_gram(method, sizes, threads) : dense_gram(method, sizes, threads);
  cost.reads = sizes.bytes();
  cost.calls = algebra_calls(method, sizes, number(sizes.n));
  cost.tasks = kGramTask * number(sizes.n);
  cost.serial = is_serial(method, sizes);
  add_geometry(sizes, threads, cost);
  return cost;
}

RouteCost vector_cost(const Method& method, const DataSizes& sizes, int threads) {
  const VectorPlan plan(method, sizes.d, sizes.k, sizes.all_tasks);
  const double d = number(sizes.d), k = number(sizes.k), n = number(sizes.n);
  const double panel = number(plan.panel);
  const double inner = method.inner_steps * (method.has_inner_part() ? 2 : 1) + sizes.losses;
  const double samples = inner * sizes.samples_in() + sizes.samples_out();
  // A pass writes u and X^T r of length d once and reads them a few times.
  const double passes = (inner + 1) * n, B_t = kDouble * d * k;
  const bool near = kDouble * panel * d * kVectorsTogether < kKeptBytes;
  const double of_B = (4 * passes + 2 * n * number(plan.terms)) * d * k;
  RouteCost cost;
  // B is met once a panel; tasks are taken one by one where a cache keeps it.
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
  }
  cost.reads = sizes.bytes();
  cost.bytes = vector_memory(method, sizes, threads);
  cost.calls = algebra_calls(method, sizes, number(ceil_div(sizes.n, plan.panel)));
  cost.tasks = n;
  cost.serial = is_serial(method, sizes);
  add_geometry(sizes, threads, cost);
  return cost;
}

namespace {

/// The Gram matrix, X B_0, what the coordinates take, and B in the end.
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

/// Bytes of a trial: at most while Z_0 or the factor is made, or in a round.
double dual_bytes(const Method& method, const DataSizes& sizes, double active, int threads) {
  const double N = sizes.all_samples(), width = number(padded(sizes.k));
  const double rows = sizes.samples_out() + method.has_inner_part() * sizes.samples_in();
  const Index most = static_cast<Index>(sizes.m_in + sizes.m_out);
  const Index pieces = sizes.sparse ? 1 : pieces_of(sizes.d, most, sizes.all_tasks);
  // Blocks of tasks are cut into pieces of d, one block after the other.
  const double cut = tasks_of_block(sizes, sizes.all_tasks) / number(sizes.all_tasks);
  const double parts = 1 + cut * number(pieces - 1);
  const double start = std::max(parts, 2.0) * N * width;  // Z_0 and the products it is made of
  // C and a task's features, or products with what the coordinates are of.
  const double round = rows * width + held_of_means(sizes) +
                       threads * (held_of_workspace(method, sizes) + number(most) * width);
  const double products = sizes.geometry > 0 ? parts * N * width : 0;
  double held = N * width + N + std::max(start, N * width + std::max(products, round));
  if (sizes.geometry > 0) {
    // The factor, and what it is made from; there is none for samples that must be dependent.
    const bool regular = active + number(sizes.k + sizes.k_star) <= number(sizes.d);
    held += (regular ? 2 : 1) * active * active + active * number(sizes.k + sizes.k_star);
  }
  return kDouble * held;
}

}  // namespace

RouteCost dual_cost(const Method& method, const DataSizes& sizes, int threads) {
  const double N = sizes.all_samples(), rows = sizes.samples(), n = number(sizes.n);
  const double k = number(sizes.k), width = number(padded(sizes.k));
  const bool whole = method.has_inner_part() || sizes.shared;
  const double inner = whole ? 0 : sizes.all_in();
  const double active = N - inner;  // samples that gradients combine
  RouteCost cost;
  // Both triangles, of which one is computed.
  add_dual_setup(sizes, N * N - inner * inner, cost);
  const double table = kDouble * rows * active;
  // Measured: with the few columns of C, the products wait for G instead of hiding its traffic.
  cost.round = {
      traffic(table, table <= 2 * kKeptBytes), {2 * rows * active * width}, {2 * rows * k}};
  if (method.needs_cross_gram()) {
    cost.round.push_back({6.0 * (method.inner_steps + 1) * rows * (rows / n)});
  }
  if (sizes.geometry > 0) {
    cost.setup.push_back({0, active * active * active / 3 * threads});  // on one thread
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
    cost.shared_bytes += sweeps.sum_bytes(false);  // of B, one trial after the other
  } else {
    const Index columns = std::min(tile_columns(static_cast<Index>(N)), sizes.d);
    cost.opening_bytes += kDouble * N * number(columns);
  }
  return cost;
}

}  // namespace metaspan
