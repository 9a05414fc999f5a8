// Common parts of runs whose engines hold B at full size.
#pragma once

#include "metaspan/engines/arrays.hpp"
#include "run.hpp"

namespace metaspan::bind {

/// The blocks beside B and w that the outer steps of all trials remember, (28).
struct Memory {
  std::optional<py::array> B;  // (trials, c - 1, d, k)
  std::optional<Array> w;      // (trials, c - 1, k)

  /// Checks that there are the blocks of a method, for B (trials, d, k).
  void require_fit(const Method& method, const py::array& of, bool dual = false) const {
    const Index blocks = method.step.blocks() - 1;
    if (blocks == 0) return;
    require(w && w->ndim() == 3 && w->shape(0) == of.shape(0) && w->shape(1) == blocks,
            "w_memory must be (trials, blocks, k)");
    require(dual || (B && B->ndim() == 4 && B->shape(0) == of.shape(0) && B->shape(1) == blocks &&
                     B->shape(2) == of.shape(1) && B->shape(3) == of.shape(2) &&
                     (B->flags() & py::array::c_style) != 0 && B->dtype().equal(of.dtype())),
            "memory must be (trials, blocks, d, k) of the type of B");
  }
};

/// Returns the start of trial i: a view of its block of B (trials, d, k), and a copy of its row of
/// w.
template <class BScalar>
ArraysStart<BScalar> start_of(const Method& method, const py::array& B, const Array& w, Index i,
                              Index n, std::uint64_t seed, std::uint64_t trial,
                              const Memory& memory) {
  const Index d = B.shape(1), k = B.shape(2);
  const auto* block = static_cast<const BScalar*>(B.data()) + i * d * k;
  ArraysStart<BScalar> start{block, row_block(w, i, method.parameters(k)), nullptr, n, seed, trial};
  if (memory.B) {
    start.memory = static_cast<const BScalar*>(memory.B->data()) + i * memory.B->shape(1) * d * k;
  }
  if (memory.w) {
    const Index numbers = memory.w->shape(1) * memory.w->shape(2);
    start.w_memory = ConstVec(memory.w->data() + i * numbers, numbers);
  }
  return start;
}

/// Checks that B is C-contiguous and has a block for every trial.
inline void require_representations(const py::array& B, std::size_t trials) {
  require(B.ndim() == 3 && B.shape(0) == static_cast<Index>(trials) &&
              (B.flags() & py::array::c_style) != 0,
          "B must be (trials, d, k), a block for every trial");
}

/// A run whose engines hold B at full size.
template <class BScalar>
class FullSizeRun : public RunOf<ArraysEngine<BScalar>> {
 public:
  FullSizeRun(const std::vector<std::string>& records, Index d)
      : RunOf<ArraysEngine<BScalar>>(records), d_(d) {}

  /// Returns "B" (trials, d, k), "w" (trials, k) and, if the outer steps remember blocks, "memory"
  /// (trials, c - 1, d, k) and "w_memory" (trials, c - 1, parameters).
  py::dict state() const override {
    py::dict out;
    out["B"] = representation(1);
    put_heads(out);
    const Index blocks = beside();
    if (blocks == 0) return out;
    const Index count = this->count(), k = this->engine(0).shape().k;
    py::array_t<BScalar> all({count, blocks, d_, k});
    for (Index i = 0; i < count; ++i) {
      this->engine(i).export_memory(all.mutable_data() + i * blocks * d_ * k);
    }
    out["memory"] = all;
    return out;
  }

  py::object representation(int threads) const override {
    const Index count = this->count(), k = this->engine(0).shape().k;
    py::array_t<BScalar> all({count, d_, k});
    BScalar* out = all.mutable_data();
    {
      const Unlocked unlocked;
      for (Index i = 0; i < count; ++i) this->engine(i).export_B(out + i * d_ * k, threads);
    }
    return all;
  }

 protected:
  /// Number of blocks beside w that the outer steps remember.
  Index beside() const {
    const auto& first = this->engine(0);
    return first.export_heads().size() / first.head().size() - 1;
  }
  /// Puts w of every trial, "w" (trials, k), and the blocks beside it, "w_memory".
  void put_heads(py::dict& out) const {
    const Index count = this->count(), k = this->engine(0).head().size(), blocks = beside();
    Array w({count, k}), memory({count, blocks, k});
    for (Index i = 0; i < count; ++i) {
      const Vec heads = this->engine(i).export_heads();
      MutVec(w.mutable_data() + i * k, k) = heads.head(k);
      MutVec(memory.mutable_data() + i * blocks * k, blocks * k) = heads.tail(blocks * k);
    }
    out["w"] = w;
    if (blocks > 0) out["w_memory"] = memory;
  }

 private:
  Index d_;
};

}  // namespace metaspan::bind
