// The coordinates of (13), B = B_star M + E R with E orthonormal and orthogonal to B_star:
// conversions between coordinates and full size, random starts, and the linear algebra that both
// need.
#pragma once

#include "metaspan/base/base.hpp"
#include "metaspan/base/stage.hpp"
#include "metaspan/random/random.hpp"

namespace metaspan {

/// B in the coordinates of (13), and a basis E of the part of B off B_star.
struct Coordinates {
  Mat M;  // (k_star, k)
  Mat R;  // (e, k)
  Mat E;  // (d, e)
};

/// Returns A^T B, (p, q), in O(d p q). Products of row panels of fixed size are added in a fixed
/// tree, so that the bits do not depend on the number of threads.
Mat inner_product(ConstMat A,  // (d, p)
                  ConstMat B,  // (d, q)
                  int threads);

/// Returns the R-factor of A with a nonnegative diagonal, (min(rows, q), q). Runs serially, so it
/// is meant for small A. Columns of very large or very small norm are scaled first, so that squares
/// neither overflow nor underflow.
Mat small_r_factor(const Mat& A);  // (rows, q)

/// Returns the R-factor of A, (min(d, q), q), in O(d q^2), by a fixed tree of QR factorisations of
/// row panels.
Mat r_factor(ConstMat A,  // (d, q)
             int threads);

/// Replaces A by the factor Q of A = Q S, where Q has orthonormal columns and S is upper triangular
/// with a positive diagonal. A must have full column rank.
void orthonormalise(MutMat A,  // (d, q), d >= q, in and out
                    int threads);

/// Computes A <- A - B (B^T A) twice. The first pass leaves a component of A along B as large as
/// the rounding error of the part that it removes; the second pass removes this component.
void project_off(ConstMat B,  // (d, p) orthonormal columns
                 MutMat A,    // (d, q), in and out
                 int threads);

/// Converts B to the coordinates of (13). E spans the numerical range of the part of B off B_star,
/// so that e <= min(k, d - k_star).
Coordinates to_coordinates(ConstMat B,       // (d, k)
                           ConstMat B_star,  // (d, k_star) orthonormal columns
                           int threads);

/// A faster to_coordinates(), whose E may be another basis of the same span. Only for coordinates
/// that are used once: files and runs depend on the basis that to_coordinates() finds.
Coordinates to_quick_coordinates(ConstMat B, ConstMat B_star, int threads);

/// Computes out = B_star M + E R, (13), in O(d k (k_star + e)).
void from_coordinates(ConstMat B_star,  // (d, k_star)
                      ConstMat M,       // (k_star, k)
                      ConstMat E,       // (d, e)
                      ConstMat R,       // (e, k)
                      MutMat out,       // (d, k)
                      int threads);

/// Draws Haar-distributed orthonormal columns in the orthogonal complement of the columns of `off`.
void haar(Key key, ConstMat off,  // (d, p) orthonormal columns, p = 0 for none
          MutMat out,             // (d, k), k <= d - p
          int threads);

/// Draws [M; R], (k_star + min(k, d - k_star), k), of a Haar-distributed start with B^T B = scale^2
/// I, without any array of size d, (19).
Mat random_start(Key key, double d, Index k_star, Index k, double scale);

/// Returns, for k > k_star, an orthogonal Q (k, k) with M Q = [M_1 0] and M_1 (k_star, k_star).
/// Small angles that are computed from B Q keep their relative accuracy, (14).
Mat start_rotation(const Mat& M);

/// Returns the R-factor of A as a square matrix (k, k), filled up with rows of zeros if A has fewer
/// than k rows.
Mat square_r_factor(const Mat& A,  // (rows, k)
                    int threads);

/// Returns [M; R] Q with Q = start_rotation(M) if k > k_star, otherwise [M; R] itself.
Mat in_regular_frame(Mat Z, Index k_star);

/// Returns the coordinates [M; R], (k_star + k, k), from which the records of B are computed, in
/// the frame of in_regular_frame(). R is known up to an orthogonal factor from the left, on which
/// no record depends.
Mat measured(const Mat& B,       // (d, k)
             const Mat& B_star,  // (d, k_star), k_star may be 0
             int threads);

/// Returns the work of measured() for B (rows, k), where B_star and B have `columns` columns
/// together.
Stages coordinates_cost(double rows, Index k, Index columns);

/// Returns the work of haar(), without that of drawing random numbers, for `columns` columns of a
/// start that has k columns.
Stages haar_cost(double d, Index columns, Index k);

/// Returns the bytes that measured() needs, B in double included.
double measured_bytes(Index d, Index k);

}  // namespace metaspan
