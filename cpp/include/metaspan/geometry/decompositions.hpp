// Eigen's decompositions of a Mat. These decompositions are compiled in one file only, since each
// of them would add up to half a minute to the compilation of every file that uses it. All other
// files call the functions below, and read the factors from Eigen's classes.
#pragma once

#include "metaspan/base/base.hpp"

// Eigen must be included after base.hpp, which has Eigen's settings.
#include <Eigen/Eigenvalues>
#include <Eigen/LU>
#include <Eigen/QR>

namespace metaspan {

/// Returns the factorisation A = Q S by Householder reflections.
Eigen::HouseholderQR<Mat> factor_qr(const Mat& A);  // (m, n)
Eigen::HouseholderQR<Mat> factor_qr(ConstMat A);

/// Computes A <- Q A.
void apply_Q(const Eigen::HouseholderQR<Mat>& qr,  // of an (m, n)
             Mat& A);                              // (m, p)

/// Returns the first `columns` columns of Q.
Mat orthonormal_columns(const Eigen::HouseholderQR<Mat>& qr,  // of an (m, n)
                        Index columns);                       // at most m

/// Returns the numerical rank of A.
Index find_rank(const Mat& A);  // (m, n)

/// Computes the LU factorisation of A with row pivots. Allocates no memory if `lu` was constructed
/// for the size of A.
void factor_lu(const Mat& A, Eigen::PartialPivLU<Mat>& lu);  // (n, n)

/// Returns S^{-1} for the upper triangular S with G = S^T S, or a matrix of NaNs if G is not
/// positive definite.
Mat inverse_cholesky(const Mat& G);  // (n, n)

/// Computes the eigenvalues of a symmetric S, and its eigenvectors if `eigenvectors` is true.
/// Allocates no memory if `solver` was constructed for the size of S.
void solve_symmetric(const Mat& S,  // (n, n)
                     bool eigenvectors, Eigen::SelfAdjointEigenSolver<Mat>& solver);

/// Returns the min(m, n) singular values of a finite A in falling order. If V is not null, also
/// writes the right singular vectors to it, (n, min(m, n)).
Vec find_singular_values(const Mat& A,  // (m, n)
                         Mat* V = nullptr);

}  // namespace metaspan
