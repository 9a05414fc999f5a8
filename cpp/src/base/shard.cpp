#include "metaspan/base/shard.hpp"

#include <algorithm>

#include "metaspan/base/error.hpp"

namespace metaspan {
namespace {

// The columns are cut into up to 2^kFewLevels leaves of at least kShortLeaf columns, and into more,
// up to 2^kMostLevels, if these have at least kLongLeaf columns: short leaves let few processes
// share a small d, and long leaves let a sweep spend its time within pieces.
constexpr int kFewLevels = 2, kMostLevels = 10;
constexpr Index kShortLeaf = 2048, kLongLeaf = 4096;

/// Returns the level of the leaves of d columns, which have 2^level of them.
int leaf_level_of(Index units) {
  int level = 0;
  while (level < kMostLevels) {
    const Index least = (level < kFewLevels ? kShortLeaf : kLongLeaf) / Shard::kUnit;
    if (units >> (level + 1) < least) break;
    ++level;
  }
  return level;
}

/// Returns the first unit of a piece of a level. The edges of a level are among those of the next.
Index edge(Index units, Index piece, int level) { return units * piece >> level; }

/// Appends the sizes of the largest unions of leaves in [begin, end) that the tree contains.
void append_nodes(Index begin, Index end, std::vector<Index>& sizes) {
  while (begin < end) {
    Index size = 1;
    while (begin % (2 * size) == 0 && begin + 2 * size <= end) size *= 2;
    sizes.push_back(size);
    begin += size;
  }
}

}  // namespace

/// Gives every process a range of leaves; the numbers of leaves differ by at most one.
Shard::Shard(Index d, Index rank, Index ranks, std::shared_ptr<Exchange> exchange)
    : d_(d),
      rank_(rank),
      ranks_(ranks),
      units_(std::max<Index>(1, ceil_div(d, kUnit))),
      leaf_level_(leaf_level_of(units_)),
      nodes_of_(static_cast<std::size_t>(ranks)),
      exchange_(std::move(exchange)) {
  const Index all = Index{1} << leaf_level_;
  require(ranks > 0 && ranks <= all && rank >= 0 && rank < ranks,
          "there must be a leaf of columns for every rank");
  require(exchange_ != nullptr || ranks == 1, "several ranks need an exchange");
  for (Index r = 0; r < ranks; ++r) {
    const std::size_t before = node_sizes_.size();
    append_nodes(r * all / ranks, (r + 1) * all / ranks, node_sizes_);
    nodes_of_[static_cast<std::size_t>(r)] = static_cast<Index>(node_sizes_.size() - before);
  }
  leaf_first_ = rank * all / ranks;
  leaf_count_ = (rank + 1) * all / ranks - leaf_first_;
  first_ = std::min(d, kUnit * edge(units_, leaf_first_, leaf_level_));
  size_ = std::min(d, kUnit * edge(units_, leaf_first_ + leaf_count_, leaf_level_)) - first_;
}

Index Shard::leaves(Index d) {
  return Index{1} << leaf_level_of(std::max<Index>(1, ceil_div(d, kUnit)));
}

std::vector<Index> Shard::edges(Index d, Index ranks) {
  const Index units = std::max<Index>(1, ceil_div(d, kUnit)), all = leaves(d);
  std::vector<Index> columns;
  for (Index r = 0; r <= ranks; ++r) {
    columns.push_back(std::min(d, kUnit * edge(units, r * all / ranks, leaf_level_of(units))));
  }
  return columns;
}

Index Shard::Pieces::begin(Index i) const {
  return std::min(d, kUnit * edge(units, first + i, level)) - offset;
}

Index Shard::Pieces::widest() const {
  return std::min(d, kUnit * ceil_div(units, Index{1} << level));
}

Shard::Pieces Shard::pieces(Index most) const {
  int level = leaf_level_;
  while (kUnit * ceil_div(units_, Index{1} << level) > std::max(most, kUnit)) ++level;
  const int below = level - leaf_level_;
  return {level, leaf_first_ << below, leaf_count_ << below, units_, d_, first_};
}

std::vector<Shard::Node> Shard::nodes(const Pieces& pieces) const {
  const int below = pieces.level - leaf_level_;
  std::vector<Index> sizes;
  append_nodes(leaf_first_, leaf_first_ + leaf_count_, sizes);
  std::vector<Node> nodes;
  Index begin = 0;
  for (const Index size : sizes) {
    nodes.push_back({begin, begin + (size << below)});
    begin = nodes.back().end;
  }
  return nodes;
}

/// Adds the pieces of each node pairwise; a node has a power of two of them.
void Shard::sum(const Pieces& pieces, Index count, double* parts, double* out) const {
  const auto add_node = [&](Index begin, Index end) {
    for (Index step = 1; step < end - begin; step *= 2) {
      for (Index i = begin; i + step < end; i += 2 * step) {
        double *left = parts + i * count, *right = parts + (i + step) * count;
        for (Index c = 0; c < count; ++c) left[c] += right[c];
      }
    }
  };
  if (!is_shared()) {  // without the allocations of nodes(), since sweeps sum often
    add_node(0, pieces.count);
    std::copy_n(parts, count, out);
    return;
  }
  const std::vector<Node> all = nodes(pieces);
  for (std::size_t n = 0; n < all.size(); ++n) {
    const auto [begin, end] = all[n];
    add_node(begin, end);
    if (begin != static_cast<Index>(n)) {
      std::copy_n(parts + begin * count, count, parts + static_cast<Index>(n) * count);
    }
  }
  sum_nodes(count, parts, out);
}

/// Without other processes there is one node, whose sum is the result. Otherwise few numbers are
/// sent to all processes, each of which adds them. If there are many numbers, every process adds a
/// part of them and sends the sums to the others, so that it sends about 2 count numbers, however
/// many processes there are. Both ways give the same bits.
void Shard::sum_nodes(Index count, const double* sums, double* out) const {
  if (!is_shared()) {
    if (out != sums) std::copy_n(sums, count, out);
    return;
  }
  const auto add_all = [&](std::vector<double>& blocks, Index numbers, double* result) {
    add_in_tree(node_sizes_, [&](std::size_t i, std::size_t j) {
      double* sum = blocks.data() + static_cast<Index>(i) * numbers;
      const double* more = blocks.data() + static_cast<Index>(j) * numbers;
      for (Index c = 0; c < numbers; ++c) sum[c] += more[c];
    });
    std::copy_n(blocks.data(), numbers, result);
  };
  constexpr Index kFewNumbers = 1024;
  if (ranks_ == 1 || count <= kFewNumbers) {
    std::vector<double> blocks = gather_nodes(count, sums);
    return add_all(blocks, count, out);
  }
  // Process r adds numbers [at(r), at(r + 1)) of the nodes.
  const auto at = [&](Index r) { return count * r / ranks_; };
  const Index nodes_here = nodes_of_[static_cast<std::size_t>(rank_)];
  const Index begin = at(rank_), here = at(rank_ + 1) - begin;
  std::vector<Index> sent, received, counts;
  std::vector<double> packed(static_cast<std::size_t>(nodes_here * count));
  double* to = packed.data();
  for (Index r = 0; r < ranks_; ++r) {
    counts.push_back(at(r + 1) - at(r));
    sent.push_back(nodes_here * counts.back());
    received.push_back(nodes_of_[static_cast<std::size_t>(r)] * here);
    for (Index n = 0; n < nodes_here; ++n) {
      to = std::copy_n(sums + n * count + at(r), counts.back(), to);
    }
  }
  std::vector<double> blocks(node_sizes_.size() * static_cast<std::size_t>(here));
  exchange_->swap(packed.data(), sent, received, blocks.data());
  std::vector<double> mine(static_cast<std::size_t>(here));
  add_all(blocks, here, mine.data());
  exchange_->gather(mine.data(), counts, out);
}

std::vector<double> Shard::gather_nodes(Index count, const double* blocks) const {
  std::vector<Index> counts;
  for (const Index nodes : nodes_of_) counts.push_back(nodes * count);
  std::vector<double> all(node_sizes_.size() * static_cast<std::size_t>(count));
  gather(blocks, counts, all.data());
  return all;
}

std::vector<Index> Shard::columns_of_nodes() const {
  std::vector<Index> columns;
  Index begin = 0, leaf = 0;
  for (const Index size : node_sizes_) {
    leaf += size;
    const Index end = std::min(d_, kUnit * edge(units_, leaf, leaf_level_));
    columns.push_back(end - begin);
    begin = end;
  }
  return columns;
}

double Shard::largest(double number) const {
  largest(1, &number);
  return number;
}

void Shard::largest(Index count, double* numbers) const {
  if (!is_shared()) return;
  std::vector<double> all(static_cast<std::size_t>(ranks_ * count));
  gather(numbers, std::vector<Index>(static_cast<std::size_t>(ranks_), count), all.data());
  for (Index r = 0; r < ranks_; ++r) {
    for (Index c = 0; c < count; ++c) {
      const double other = all[static_cast<std::size_t>(r * count + c)];
      numbers[c] = r == 0 ? other : std::max(numbers[c], other);
    }
  }
}

void Shard::gather(const double* numbers, const std::vector<Index>& counts, double* all) const {
  if (is_shared()) return exchange_->gather(numbers, counts, all);
  std::copy_n(numbers, counts.front(), all);
}

}  // namespace metaspan
