// Explicit instantiations of Eigen's decompositions of a Mat. They are compiled in one file, since
// each would add half a minute to the compilation of every file that uses it.
#pragma once

#include "metaspan/base/base.hpp"

namespace metaspan {

/// Computes A <- Q A.
void apply_Q(const Eigen::HouseholderQR<Mat>& qr,  // of an (m, n)
             Mat& A);                              // (m, p)

/// Returns the first `columns` columns of Q.
Mat orthonormal_columns(const Eigen::HouseholderQR<Mat>& qr,  // of an (m, n)
                        Index columns);                       // at most m

}  // namespace metaspan

extern template class Eigen::HouseholderQR<metaspan::Mat>;
extern template class Eigen::ColPivHouseholderQR<metaspan::Mat>;
extern template class Eigen::PartialPivLU<metaspan::Mat>;
extern template class Eigen::JacobiSVD<metaspan::Mat>;
extern template class Eigen::SelfAdjointEigenSolver<metaspan::Mat>;
extern template Eigen::SelfAdjointEigenSolver<metaspan::Mat>&
Eigen::SelfAdjointEigenSolver<metaspan::Mat>::compute(const Eigen::EigenBase<metaspan::Mat>&, int);
