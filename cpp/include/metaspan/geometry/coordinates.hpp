// The coordinates of (13): B = B_star M + E R, with E orthonormal and orthogonal to B_star. From
// and to full size.
#pragma once

#include "metaspan/base/base.hpp"
#include "metaspan/base/stage.hpp"
#include "metaspan/random/random.hpp"

namespace metaspan {

struct Coordinates {
  Mat M;  // (k_star, k)
  Mat R;  // (e, k)
  Mat E;  // (d, e)
};

/// A^T B by row panels of fixed size, the same bits for any thread count. O(d p q).
Mat inner_product(ConstMat A,  // (d, p)
                  ConstMat B,  // (d, q)
                  int threads);

/// The upper triangular factor of A with a positive diagonal, (min(rows, q), q): for small ones.
Mat small_r_factor(const Mat& A);  // (rows, q)

/// S (q, q) upper triangular with A = Q S and Q^T Q = I, by a fixed tree of QR factorisations. O(d
/// q^2).
Mat r_factor(ConstMat A,  // (d, q)
             int threads);

/// A <- its orthonormal factor, the triangular one having a positive diagonal. A must have full
/// column rank.
void orthonormalise(MutMat A,  // (d, q), d >= q, in and out
                    int threads);

/// A <- A - B (B^T A), twice, since one pass leaves as much as the rounding of what it removes.
void project_off(ConstMat B,  // (d, p) orthonormal columns
                 MutMat A,    // (d, q), in and out
                 int threads);

/// From a given start: E spans what B has off B_star, numerically, so e <= min(k, d - k_star).
Coordinates to_coordinates(ConstMat B,       // (d, k)
                           ConstMat B_star,  // (d, k_star) orthonormal columns
                           int threads);

/// out = B_star M + E R. O(d k (k_star + e)).
void from_coordinates(ConstMat B_star,  // (d, k_star)
                      ConstMat M,       // (k_star, k)
                      ConstMat E,       // (d, e)
                      ConstMat R,       // (e, k)
                      MutMat out,       // (d, k)
                      int threads);

/// Haar-distributed orthonormal columns, in the complement of `off` where one is given.
void haar(Key key, ConstMat off,  // (d, p) orthonormal columns, p = 0 for none
          MutMat out,             // (d, k), k <= d - p
          int threads);

/// [M; R] of a Haar-random start with B^T B = scale^2 I, without any array of size d, (19).
/// Stacked: (k_star + min(k, d - k_star), k).
Mat random_start(Key key, double d, Index k_star, Index k, double scale);

/// Q (k, k) orthogonal with M Q = [M_1 0] and M_1 (k_star, k_star), for k > k_star: the basis in
/// which small angles keep their relative accuracy, (14).
Mat start_rotation(const Mat& M);

/// R-factor with as many rows as columns: zeros below where A has fewer rows.
Mat square_r_factor(const Mat& A,  // (rows, k)
                    int threads);

/// [M; R] Q with Q = start_rotation(M) where k > k_star, and as it is where not.
Mat in_regular_frame(Mat Z, Index k_star);

/// [M; R] of a B at full size, R up to an orthogonal factor from the left and both in the regular
/// frame: what every measurement needs. (k_star + k, k).
Mat measured(const Mat& B,       // (d, k)
             const Mat& B_star,  // (d, k_star), k_star may be 0
             int threads);

/// What to_coordinates() and measured() do for so many rows of B, with so many columns of B_star
/// and B.
Stages coordinates_cost(double rows, Index k, Index columns);

/// What haar() does beside drawing its numbers, for so many columns of a start with k columns.
Stages haar_cost(double d, Index columns, Index k);

/// Bytes that measured() takes, B in double included.
double measured_bytes(Index d, Index k);

}  // namespace metaspan
