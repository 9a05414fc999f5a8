// The coordinates M and R of (13), B = B_star M + E R, where E has orthonormal columns that are
// orthogonal to B_star. The functions of this file convert between these coordinates and B at full
// size, draw random starts, and provide the linear algebra for both.
//
// Matrices with d rows may be spread over the processes of a sharded run. Each process then passes
// its rows and the shard that it holds, and all processes call the same functions in the same
// order. A small result is the same on every process, and a result with d rows has the rows of the
// process. Without a shard, the matrices have all d rows. The bits depend neither on the number of
// processes nor on that of threads.
#pragma once

#include "metaspan/base/base.hpp"
#include "metaspan/base/shard.hpp"
#include "metaspan/base/stage.hpp"
#include "metaspan/random/random.hpp"

namespace metaspan {

/// The coordinates M and R of B in (13), and the orthonormal basis E of the part of B orthogonal to
/// B_star.
struct Coordinates {
  Mat M;  // (k_star, k)
  Mat R;  // (e, k)
  Mat E;  // (d, e)
};

/// A matrix whose rows are contiguous, such as some columns of a larger matrix.
using ConstRows = Eigen::Ref<const Mat, 0, Eigen::OuterStride<>>;

/// Returns A^T B, (p, q), in O(d p q). A and B are cut into panels by d alone, and the products of
/// the panels are added in the order of Shard.
Mat inner_product(const ConstRows& A,  // (d, p)
                  const ConstRows& B,  // (d, q)
                  int threads, const Shard* shard = nullptr);

/// Returns A^T A, (q, q). For few columns, inner_product() takes longer, and its last bits differ.
Mat gram(ConstMat A,  // (d, q)
         int threads, const Shard* shard = nullptr);

/// Returns the sums over all rows of the products of elements of A and B, (q,).
Vec column_products(const ConstRows& A,  // (d, q)
                    const ConstRows& B,  // (d, q)
                    int threads, const Shard* shard = nullptr);

/// Computes out = A S for a small S, panel by panel.
void multiply_small(const ConstRows& A,  // (d, p)
                    const Mat& S,        // (p, q)
                    MutMat out,          // (d, q) out
                    int threads, const Shard* shard = nullptr);

/// Returns the R-factor of A with a nonnegative diagonal, (min(rows, q), q). The function runs on
/// one thread and is meant for small A. Columns of very large or very small norm are scaled first,
/// so that the squares of their entries neither overflow nor underflow.
Mat small_r_factor(const Mat& A);  // (rows, q)
Mat small_r_factor(ConstMat A);

/// Returns the R-factor of A, (min(d, q), q), in O(d q^2), by a tree of QR factorisations of panels
/// of rows, which d alone determines. The processes exchange R-factors.
Mat r_factor(ConstMat A,  // (d, q)
             int threads, const Shard* shard = nullptr);

/// Replaces A by the factor Q of A = Q S, where Q has orthonormal columns and S is upper triangular
/// with a positive diagonal. A must have full column rank.
void orthonormalise(MutMat A,  // (d, q), d >= q, in and out
                    int threads, const Shard* shard = nullptr);

/// Replaces A by Q of A = Q R, where Q has orthonormal columns and R is upper triangular with a
/// nonnegative diagonal; returns R, (q, q). If a column of A depends on the columns before it, up
/// to rounding errors, the diagonal element of R is 0, and a fixed pseudorandom vector takes the
/// place of the column in Q.
Mat factor_columns(MutMat A,  // (d, q), d >= q, in and out
                   int threads, const Shard* shard = nullptr);

/// Removes from A its component along B in two passes, each of which computes A <- A - B (B^T A).
/// After the first pass, a component along B remains that is as large as the rounding error of the
/// removed part; the second pass removes this remainder.
void project_off(ConstMat B,  // (d, p) orthonormal columns
                 MutMat A,    // (d, q), in and out
                 int threads, const Shard* shard = nullptr);

/// Converts B to the coordinates of (13). E spans the numerical range of the part of B orthogonal
/// to B_star, so the number e of its columns is at most min(k, d - k_star).
Coordinates to_coordinates(ConstMat B,       // (d, k)
                           ConstMat B_star,  // (d, k_star) orthonormal columns
                           int threads, const Shard* shard = nullptr);

/// A faster version of to_coordinates(), which may return a different basis E of the space that
/// to_coordinates() finds. Call to_quick_coordinates() only for coordinates that are used once,
/// because runs and their files depend on the basis that to_coordinates() returns.
Coordinates to_quick_coordinates(ConstMat B, ConstMat B_star, int threads,
                                 const Shard* shard = nullptr);

/// Computes out = B_star M + E R, (13), in O(d k (k_star + e)).
void from_coordinates(ConstMat B_star,  // (d, k_star)
                      ConstMat M,       // (k_star, k)
                      ConstMat E,       // (d, e)
                      ConstMat R,       // (e, k)
                      MutMat out,       // (d, k)
                      int threads, const Shard* shard = nullptr);

/// Draws Haar-distributed orthonormal columns that are orthogonal to all columns of `off`.
void haar(Key key, ConstMat off,  // (d, p) orthonormal columns, p = 0 for none
          MutMat out,             // (d, k), k <= d - p
          int threads, const Shard* shard = nullptr);

/// Draws [M; R], (k_star + min(k, d - k_star), k), of a Haar-distributed start with B^T B = scale^2
/// I, without any array of size d, (19).
Mat random_start(Key key, double d, Index k_star, Index k, double scale);

/// Returns, for k > k_star, an orthogonal Q (k, k) such that M Q = [M_1 0] with a square block M_1
/// (k_star, k_star). Principal angles computed from B Q keep their relative accuracy even if the
/// angles are small, (14).
Mat start_rotation(const Mat& M);

/// Returns the R-factor of A as a square matrix (k, k), filled up with rows of zeros if A has fewer
/// than k rows.
Mat square_r_factor(const Mat& A,  // (d, k)
                    int threads, const Shard* shard = nullptr);

/// Returns [M; R] Q with Q = start_rotation(M) if k > k_star, otherwise [M; R] itself.
Mat in_regular_frame(Mat Z, Index k_star);

/// Returns the coordinates [M; R], (k_star + k, k), from which the records of B are computed, in
/// the frame of in_regular_frame(). R is determined only up to multiplication by an orthogonal
/// matrix from the left, and no record depends on this matrix.
Mat measured(const Mat& B,       // (d, k)
             const Mat& B_star,  // (d, k_star), k_star may be 0
             int threads, const Shard* shard = nullptr);

/// Returns the work of measured() for B (rows, k), where B_star and B have `columns` columns
/// together.
Stages coordinates_cost(double rows, Index k, Index columns);

/// Returns the work of haar() for `columns` columns of a start that has k columns. The work of
/// drawing the random numbers is not included.
Stages haar_cost(double d, Index columns, Index k);

/// Returns the bytes of memory that measured() needs, including B in double precision.
double measured_bytes(Index d, Index k);

}  // namespace metaspan
