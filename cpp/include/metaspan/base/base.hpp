// Eigen's settings and the matrix aliases. Every file of the core includes this header before any
// other use of Eigen.
#pragma once

// Eigen must start no threads of its own: only parallel.hpp starts threads, in a way that makes
// results independent of the number of threads.
#define EIGEN_DONT_PARALLELIZE
// Eigen must allocate the workspace of matrix products on the heap, since the stack of a thread may
// be small.
#define EIGEN_STACK_ALLOCATION_LIMIT 0
#include <Eigen/Core>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "metaspan/base/index.hpp"

namespace metaspan {

/// A row-major matrix.
template <class Scalar>
using MatrixOf = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

using Mat = MatrixOf<double>;
using Vec = Eigen::VectorXd;
using ConstMat = Eigen::Map<const Mat>;  // views of memory that another object owns
using MutMat = Eigen::Map<Mat>;
using ConstVec = Eigen::Map<const Vec>;
using MutVec = Eigen::Map<Vec>;

/// The sizes of the caches L1, L2 and L3 by which Eigen cuts matrix products into blocks. By
/// default Eigen uses the cache sizes of the processor, so the blocks, and with them the last bits
/// of a matrix product, depend on the processor. With these fixed sizes, a matrix product has the
/// same bits on every processor that runs the same instruction-set level.
inline constexpr Index kCacheBytes[] = {32 * 1024, 512 * 1024, 4 * 1024 * 1024};

}  // namespace metaspan
