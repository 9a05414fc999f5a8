// The outer step (28) on B at full size: the blocks that it remembers beside B, and their steps.
#pragma once

#include <algorithm>
#include <vector>

#include "metaspan/algebra/method.hpp"
#include "metaspan/algebra/outer_step.hpp"
#include "metaspan/base/parallel.hpp"
#include "metaspan/engines/agree.hpp"
#include "metaspan/engines/arrays.hpp"
#include "metaspan/geometry/coordinates.hpp"

namespace metaspan {

/// Computes numbers [first, first + count) of all blocks after a step with the size beta, in
/// double. Number i of a new block is a linear combination of number i of the gradient and of the
/// old blocks, (28); if `rule` is not null, its direction first replaces the gradient. A block
/// whose `out` is null is not written, and `in` may equal `out`. Returns whether all new numbers
/// are finite.
template <class Scalar>
bool step_numbers(const OuterUpdate& update, const CoordinateRule* rule, double beta,
                  const std::vector<const Scalar*>& in, const Scalar* gradient,
                  const std::vector<Scalar*>& out, Index first, Index count) {
  using Numbers = Eigen::Array<Scalar, Eigen::Dynamic, 1>;
  constexpr Index kTile = 256;  // numbers of each block that are in the L1 cache at a time
  const auto c = static_cast<Index>(in.size());
  Eigen::Array<double, kTile, kMostBlocks> old;
  Eigen::Array<double, kTile, 1> g, sum;
  bool finite = true;
  for (Index begin = first; begin < first + count; begin += kTile) {
    const Index length = std::min(kTile, first + count - begin);
    g.head(length) = Eigen::Map<const Numbers>(gradient + begin, length).template cast<double>();
    for (Index i = 0; i < c; ++i) {
      old.col(i).head(length) =
          Eigen::Map<const Numbers>(in[static_cast<std::size_t>(i)] + begin, length)
              .template cast<double>();
    }
    for (Index i = 0; rule != nullptr && i < length; ++i) {
      double unused = 0;
      g[i] = rule->direction(g[i], c > 1 && rule->has_velocity ? old(i, 1) : unused,
                             rule->has_squares ? old(i, 2) : unused);
    }
    for (Index j = 0; j < c; ++j) {
      sum.head(length) = (-beta * update.of_gradient(j)) * g.head(length);
      for (Index i = 0; i < c; ++i) {
        if (update.L(i, j) != 0) sum.head(length) += update.L(i, j) * old.col(i).head(length);
      }
      const Numbers next = sum.head(length).template cast<Scalar>();
      finite &= (next * Scalar{0} == Scalar{0}).all();
      Scalar* block = out[static_cast<std::size_t>(j)];
      if (block != nullptr) Eigen::Map<Numbers>(block + begin, length) = next;
    }
  }
  return finite;
}

/// What the outer step of a run at full size remembers: further blocks of the size of B and of w.
/// In a sharded run all blocks have the rows of B of this process.
template <class Scalar>
class FullSizeBlocks {
 public:
  FullSizeBlocks(const Method& method, const Shard& shard, Index k,
                 const ArraysStart<Scalar>& start)
      : method_(method),
        shard_(shard),
        d_(shard.size()),
        k_(k),
        w_size_(start.w.size()),
        w_blocks_(start.w.size() + start.w_memory.size()) {
    w_blocks_ << start.w, start.w_memory;
    const Index size = d_ * k;
    for (Index i = 0; i + 1 < method.step.blocks(); ++i) {
      memory_.emplace_back(start.memory + i * size, start.memory + (i + 1) * size);
    }
    reported_w_ = w_blocks_.segment(method.step.reported() * w_size_, w_size_);
  }

  const Vec& reported_head() const { return reported_w_; }
  Vec head() const { return w_blocks_.head(w_size_); }
  const Vec& heads() const { return w_blocks_; }
  /// Returns the block that is the result: B itself or the average.
  const Scalar* reported(const Scalar* B) const {
    const Index at = method_.step.reported();
    return at == 0 ? B : memory_[static_cast<std::size_t>(at - 1)].data();
  }
  /// Writes the blocks beside B, (c - 1, d, k).
  void export_memory(Scalar* out) const {
    for (const auto& block : memory_) out = std::copy(block.begin(), block.end(), out);
  }

  /// Takes the step (28) on B and on the blocks beside it, with the gradient G. Before any block
  /// changes, a first pass checks that the new numbers are finite and that the factorisation
  /// succeeds, so a step that fails changes nothing; all processes of a sharded run agree() on
  /// this check. A second pass stores the new numbers. The pieces depend only on the size of B.
  /// Except in the factorisation, numbers at different places of a block do not depend on each
  /// other, so results do not depend on the number of threads.
  bool step(Index round, double factor, Scalar* B, const Scalar* G, const Vec& grad_w,
            int threads) {
    const OuterStep& rule = method_.step;
    const OuterUpdate update =
        rule.orthonormal ? gradient_step(rule, factor) : whole_step(rule, round, factor);
    std::vector<Scalar*> own = pointers(B), none(own.size(), nullptr);
    std::vector<Scalar> factored(rule.orthonormal ? static_cast<std::size_t>(d_ * k_) : 0);
    if (rule.orthonormal) none[0] = factored.data();
    Vec next_w = w_blocks_;
    const bool finite = step_heads(round, factor, grad_w, next_w) &&
                        each_piece(update, round, method_.beta, own, G, none, threads);
    if (!agree(shard_, finite)) return false;
    if (rule.orthonormal) {
      if (!orthonormalise_numbers(factored, threads)) return false;
      own[0] = nullptr;
    }
    each_piece(update, round, method_.beta, pointers(B), G, own, threads);
    if (rule.orthonormal) {
      std::copy(factored.begin(), factored.end(), B);
      if (rule.blocks() > 1) {
        own[0] = B;
        each_piece(averaging_step(rule, round), round, 0, own, G, own, threads, false);
      }
    }
    w_blocks_ = next_w;
    reported_w_ = w_blocks_.segment(rule.reported() * w_size_, w_size_);
    return true;
  }

 private:
  std::vector<Scalar*> pointers(Scalar* B) {
    std::vector<Scalar*> all{B};
    for (auto& block : memory_) all.push_back(block.data());
    return all;
  }

  /// Runs step_numbers() on all numbers, piece by piece; returns whether all are finite.
  bool each_piece(const OuterUpdate& update, Index round, double beta,
                  const std::vector<Scalar*>& in, const Scalar* G, const std::vector<Scalar*>& out,
                  int threads, bool takes_rule = true) const {
    constexpr Index kPiece = 1 << 14;
    const CoordinateRule rule = CoordinateRule::of(method_.step, round);
    const CoordinateRule* used = takes_rule && method_.step.by_coordinate() ? &rule : nullptr;
    const std::vector<const Scalar*> read(in.begin(), in.end());
    const Index size = d_ * k_;
    std::vector<char> finite(static_cast<std::size_t>(ceil_div(size, kPiece)));
    parallel_for(threads, ceil_div(size, kPiece), [&](Index piece, int) {
      const Index first = piece * kPiece;
      finite[static_cast<std::size_t>(piece)] =
          step_numbers(update, used, beta, read, G, out, first, std::min(kPiece, size - first));
    });
    return std::all_of(finite.begin(), finite.end(), [](char yes) { return yes != 0; });
  }

  /// Takes the step of all blocks of w, (c k,).
  bool step_heads(Index round, double factor, const Vec& grad_w, Vec& w) const {
    const CoordinateRule rule = CoordinateRule::of(method_.step, round);
    std::vector<double*> blocks;
    for (Index i = 0; i < method_.step.blocks(); ++i) blocks.push_back(w.data() + i * w_size_);
    const std::vector<const double*> read(blocks.begin(), blocks.end());
    const OuterUpdate update = whole_step(method_.step, round, factor);
    const Vec sizes = outer_steps(method_, k_);
    bool finite = true;
    for (Index i = 0; i < w_size_; ++i) {
      finite &= step_numbers(update, method_.step.by_coordinate() ? &rule : nullptr, sizes[i], read,
                             grad_w.data(), blocks, i, 1);
    }
    return finite;
  }

  /// Replaces B (d, k) by its orthonormal factor; returns false if B is rank-deficient.
  bool orthonormalise_numbers(std::vector<Scalar>& B, int threads) const {
    Mat values = Eigen::Map<const MatrixOf<Scalar>>(B.data(), d_, k_).template cast<double>();
    const Vec diagonal = r_factor(ConstMat(values.data(), d_, k_), threads, &shard_).diagonal();
    if (diagonal.size() < k_ || !(diagonal.minCoeff() > kLeastPivot * diagonal.maxCoeff())) {
      return false;
    }
    orthonormalise(MutMat(values.data(), d_, k_), threads, &shard_);
    Eigen::Map<MatrixOf<Scalar>>(B.data(), d_, k_) = values.template cast<Scalar>();
    return true;
  }

  Method method_;
  Shard shard_;
  Index d_, k_, w_size_;
  std::vector<std::vector<Scalar>> memory_;  // (c - 1) blocks of (d, k)
  Vec w_blocks_;                             // w and the blocks beside it, one after another
  Vec reported_w_;                           // the block of w that is the result
};

}  // namespace metaspan
