// Common parts of runs whose engines hold B at full size.
#pragma once

#include "metaspan/engines/arrays.hpp"
#include "run.hpp"

namespace metaspan::bind {

/// Returns the start of trial i: a view of its block of B (trials, d, k), and a copy of its row of
/// w.
template <class BScalar>
ArraysStart<BScalar> start_of(const Method& method, const py::array& B, const Array& w, Index i,
                              Index n, std::uint64_t seed, std::uint64_t trial) {
  const Index d = B.shape(1), k = B.shape(2);
  const auto* block = static_cast<const BScalar*>(B.data()) + i * d * k;
  return {block, row_block(w, i, method.parameters(k)), nullptr, n, seed, trial};
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

  /// Returns "B" (trials, d, k) and "w" (trials, parameters).
  py::dict state() const override {
    py::dict out;
    out["B"] = representation(1);
    out["w"] = heads();
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
  /// Returns w of every trial, and the parameters that follow it, (trials, parameters).
  Array heads() const {
    const Index count = this->count(), size = this->engine(0).head().size();
    Array all({count, size});
    for (Index i = 0; i < count; ++i)
      MutVec(all.mutable_data() + i * size, size) = this->engine(i).head();
    return all;
  }

 private:
  Index d_;
};

}  // namespace metaspan::bind
