#include "metaspan/geometry/decompositions.hpp"

namespace metaspan {

/// A <- Q A by the reflections themselves, without forming Q (m, m): A (m, p).
void apply_Q(const Eigen::HouseholderQR<Mat>& qr, Mat& A) { A.applyOnTheLeft(qr.householderQ()); }

/// Applies the reflections to the first columns of an identity, (m, columns): the thin Q, and
/// beyond the rank of the factored matrix an orthonormal completion, which start_rotation() relies
/// on.
Mat orthonormal_columns(const Eigen::HouseholderQR<Mat>& qr, Index columns) {
  return qr.householderQ() * Mat::Identity(qr.rows(), columns);
}

}  // namespace metaspan

template class Eigen::HouseholderQR<metaspan::Mat>;
template class Eigen::ColPivHouseholderQR<metaspan::Mat>;
template class Eigen::PartialPivLU<metaspan::Mat>;
template class Eigen::JacobiSVD<metaspan::Mat>;
template class Eigen::SelfAdjointEigenSolver<metaspan::Mat>;
template Eigen::SelfAdjointEigenSolver<metaspan::Mat>&
Eigen::SelfAdjointEigenSolver<metaspan::Mat>::compute(const Eigen::EigenBase<metaspan::Mat>&, int);
