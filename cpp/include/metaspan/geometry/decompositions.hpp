// Eigen's decompositions of a Mat, compiled in one place: elsewhere each would take half a minute
// of every file that names it.
#pragma once

#include "metaspan/base/base.hpp"

namespace metaspan {

/// A <- Q A.
void apply_Q(const Eigen::HouseholderQR<Mat>& qr,  // of an (m, n)
             Mat& A);                              // (m, p)

/// The first `columns` columns of Q.
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
