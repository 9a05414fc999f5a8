// Eigen's settings, the index type and the matrix aliases. Included first, by all.
#pragma once

// Threads are cut by parallel.hpp alone.
#define EIGEN_DONT_PARALLELIZE
// Eigen takes the memory of its products from the heap: threads may have small stacks.
#define EIGEN_STACK_ALLOCATION_LIMIT 0
#include <Eigen/Dense>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace metaspan {

using Index = std::ptrdiff_t;

template <class Scalar>
using MatrixOf = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

using Mat = MatrixOf<double>;
using Vec = Eigen::VectorXd;
using ConstMat = Eigen::Map<const Mat>;
using MutMat = Eigen::Map<Mat>;
using ConstVec = Eigen::Map<const Vec>;
using MutVec = Eigen::Map<Vec>;

/// Sizes of caches (first, second, third) for which Eigen cuts products, instead of those that it
/// finds: the cuts decide the last bits, which are to be the same on every processor of a level.
inline constexpr Index kCacheBytes[] = {32 * 1024, 512 * 1024, 4 * 1024 * 1024};

constexpr Index ceil_div(Index a, Index b) { return (a + b - 1) / b; }
constexpr Index round_up(Index a, Index multiple) { return ceil_div(a, multiple) * multiple; }

}  // namespace metaspan
