// Where the sweeps take rows of X from: the memory of the device, or a generator.
#pragma once

#include "made_rows.cuh"

namespace metaspan::cuda {

/// Rows of X in memory, of type Scalar. A sweep requests their elements a tile ahead.
template <class Scalar>
struct DenseSource {
  static constexpr bool kInMemory = true;
  using Number = Scalar;
  using Place = const Scalar*;  // the first element of a row; null: a row of zeros

  __device__ static Place no_place() { return nullptr; }
  __device__ static Place place(const SampleBlock&, const SampleSet& set, int row) {
    return static_cast<const Scalar*>(set.X) + row * set.stride;
  }
};

/// Where a generated row is: the number of its task, its row within the set, and its law in the
/// highest bit.
struct MadePlace {
  std::uint32_t task, row_and_law;
  double radius;
};

/// Rows that the law of their set generates, two columns at a time.
struct MadeSource {
  static constexpr bool kInMemory = false;
  using Number = double;
  using Place = MadePlace;

  __device__ static Place no_place() { return {0, kNoRow, 0}; }
  __device__ static Place place(const SampleBlock& block, const SampleSet& set, int row) {
    const RowLaw law = law_of(block, set.law != 0);
    const double radius = law.radii != nullptr ? load_global(law.radii + set.first_row + row) : 1.0;
    return {set.number, static_cast<std::uint32_t>(row) | static_cast<std::uint32_t>(set.law) << 31,
            radius};
  }
  /// Returns the elements in columns `column` (even) and `column` + 1 of a row, rounded to the type
  /// of X. Columns at `end` and beyond are 0.
  __device__ static Pair elements(const SampleBlock& block, const Place& place,
                                  std::ptrdiff_t column, std::ptrdiff_t end) {
    if (place.row_and_law == kNoRow || column >= end) return {0, 0};
    const RowLaw law = law_of(block, place.row_and_law >> 31 != 0);
    const Pair x = entries_of_row(law, place.task, place.row_and_law & ~(1u << 31), column);
    return {finish(law, block.type, column, place.radius, x.even),
            column + 1 < end ? finish(law, block.type, column + 1, place.radius, x.odd) : 0.0};
  }

 private:
  static constexpr std::uint32_t kNoRow = 0xffffffffu;

  /// Returns the first or the second law. The array of laws is an argument of the kernel; to index
  /// it, the compiler would copy it to local memory.
  __device__ static RowLaw law_of(const SampleBlock& block, bool is_second) {
    const RowLaw &a = block.laws[0], &b = block.laws[1];
    return {{is_second ? b.key[0] : a.key[0], is_second ? b.key[1] : a.key[1]},
            is_second ? b.kind : a.kind,
            is_second ? b.roots : a.roots,
            is_second ? b.radii : a.radii};
  }

  __device__ static double finish(const RowLaw& law, Real type, std::ptrdiff_t column,
                                  double radius, double x) {
    return type == Real::float64 ? finish_entry<double>(law, column, radius, x)
                                 : finish_entry<float>(law, column, radius, x);
  }
};

}  // namespace metaspan::cuda
