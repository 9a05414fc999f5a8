#include "metaspan/geometry/metrics.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "distance.hpp"
#include "metaspan/base/error.hpp"

namespace metaspan {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
// Cosines of at most kZeroCosine are treated as 0, since rounding errors can make the computed
// cosine of a right angle as large as kZeroCosine.
constexpr double kZeroCosine = 8 * std::numeric_limits<double>::epsilon();

/// The public names of the records, (20) and (21).
constexpr std::array<std::pair<const char*, Record>, 18> kRecords{{
    {"dist", Record::dist},
    {"angles", Record::angles},
    {"loss_in", Record::loss_in},
    {"loss_adapted", Record::loss_adapted},
    {"loss_out", Record::loss_out},
    {"w_norm", Record::w_norm},
    {"delta_norm", Record::delta_norm},
    {"sigma_min", Record::sigma_min},
    {"sigma_max", Record::sigma_max},
    {"perp_norm", Record::perp_norm},
    {"signal_min", Record::signal_min},
    {"signal_max", Record::signal_max},
    {"diversity_min", Record::diversity_min},
    {"diversity_max", Record::diversity_max},
    {"mu", Record::mu},
    {"L", Record::L},
    {"eta", Record::eta},
    {"alpha", Record::alpha},
}};

/// Returns the min(rows, columns) singular values of A in falling order. Returns NaNs if A is not
/// finite, and zeros if A is empty. Uses Jacobi's method because small singular values must be
/// accurate too.
Vec singular_values(const Mat& A) {
  if (A.size() == 0) return Vec::Zero(std::min(A.rows(), A.cols()));
  if (!A.allFinite()) return Vec::Constant(std::min(A.rows(), A.cols()), kNaN);
  return find_singular_values(A);
}

/// Returns the eigenvalues of a symmetric matrix in rising order.
Vec eigenvalues(const Mat& symmetric) {
  Eigen::SelfAdjointEigenSolver<Mat> solver(symmetric.rows());
  solve_symmetric(symmetric, false, solver);
  return solver.eigenvalues();
}

/// Returns the square root of the smallest or the largest eigenvalue of the mean of v v^T over the
/// rows v of an (n, p) matrix, (21). The square root is computed as a singular value of the matrix
/// itself: forming the mean would square the singular values and lose half of the digits of the
/// smallest singular value. If n < p, the mean is singular, and its smallest eigenvalue is 0.
double moment_root(const Mat& rows, bool smallest) {
  if (smallest && rows.rows() < rows.cols()) return 0;
  const Vec values = singular_values(rows) / std::sqrt(static_cast<double>(rows.rows()));
  return smallest ? values.minCoeff() : values.maxCoeff();
}

double square(double x) { return x * x; }

/// Computes X <- U^{-1} L^{-1} X in place, for the unit lower triangular L and the upper triangular
/// U that lie side by side in LU (n, n); X is (n, p). Each row of X is updated by a product of a
/// row of LU with the rows of X above or below. The function is as fast as Eigen's solver and
/// allocates no memory.
void solve_factored(const Mat& LU, Mat& X) {
  const Index n = LU.rows();
  for (Index i = 1; i < n; ++i) X.row(i).noalias() -= LU.row(i).head(i) * X.topRows(i);
  for (Index i = n - 1; i >= 0; --i) {
    const Index after = n - 1 - i;
    X.row(i).noalias() -= LU.row(i).tail(after) * X.bottomRows(after);
    X.row(i) /= LU(i, i);
  }
}

/// Divides each column of A by the power of two of the largest entry of the column. The columns of
/// the result have the same span as those of A, the squares of their entries neither overflow nor
/// underflow, and the division is exact. Columns of zeros and columns that are not finite stay
/// unchanged.
Mat with_unit_columns(Mat A) {
  for (Index j = 0; j < A.cols(); ++j) {
    const double most = A.rows() > 0 ? A.col(j).cwiseAbs().maxCoeff() : 0;
    if (most == 0 || !std::isfinite(most)) continue;
    const int exponent = std::ilogb(most);
    for (Index i = 0; i < A.rows(); ++i) A(i, j) = std::scalbn(A(i, j), -exponent);
  }
  return A;
}

/// Returns the sine t / sqrt(1 + t^2) of the angle with the tangent t. The sine has the relative
/// accuracy of t even for very small t, (14), whereas the difference 1 - cos^2 has no correct
/// digits if it is below about 1e-16. For t >= 1e150 the square of t could overflow, and the sine
/// is 1 up to rounding.
double sine_of_tangent(double t) { return t < 1e150 ? t / std::sqrt(1 + t * t) : 1; }

}  // namespace

/// Looks up a record by its public name. Before a call, the Python package checks the name and
/// raises an error with a clearer message if the name is unknown.
Record record_named(const std::string& name) {
  for (const auto& [known, record] : kRecords) {
    if (name == known) return record;
  }
  throw std::invalid_argument("no record is named " + name);
}

/// Marks the outputs of the round's tasks from which a record is computed. A round computes the
/// losses, the adapted heads or the true heads of its tasks only if a record needs these outputs.
void request(Record record, TaskOutputs& outputs) {
  switch (record) {
    case Record::loss_in:
    case Record::loss_adapted:
    case Record::loss_out:
      outputs.want_losses = true;
      break;
    case Record::diversity_min:
    case Record::diversity_max:
      outputs.want_adapted = true;
      break;
    case Record::mu:
    case Record::L:
    case Record::eta:
      outputs.want_heads = true;
      break;
    default:
      break;
  }
}

/// Returns the time of one measurement of a record, in units of the time of a kernel call, as in
/// Work::calls. The matrices are at most k by k, so a factorisation spends its time on loop
/// overhead rather than on arithmetic. The coefficients were fitted to measurements.
double calls_of(Record record, Index k_star, Index k, Index n) {
  const auto of_singular_values = [](double size) {
    return 6 * size * size + size * size * size / 4;
  };
  const auto of_solver = [](double size) { return 7 * size + 2 * size * size; };
  // Before its rotations, Eigen reduces the (n, width) matrix by a QR factorisation to a square
  // matrix with min(n, width) rows.
  const auto of_moments = [&](Index width) {
    const auto least = static_cast<double>(std::min(n, width));
    const auto most = static_cast<double>(std::max(n, width));
    return of_singular_values(least) + most * least * (.6 + least / 80);
  };
  const auto K = static_cast<double>(k);
  switch (record) {
    case Record::dist:
      if (k < k_star) return 0;
      if (k == k_star && k <= kernels::kMostAngles) return 6 + 2 * K + K * K * K / 6;
      return k == k_star ? of_solver(K) : 25 * K + of_solver(K);
    case Record::angles:
      return 4 * of_singular_values(K);
    case Record::delta_norm:
    case Record::perp_norm:
      return of_solver(K);
    case Record::sigma_min:
    case Record::sigma_max:
      return of_singular_values(K);
    case Record::signal_min:
    case Record::signal_max:
      return of_singular_values(static_cast<double>(std::min(k_star, k)));
    case Record::diversity_min:
    case Record::diversity_max:
      return record == Record::diversity_min && n < k ? 0 : of_moments(k);
    case Record::mu:
    case Record::L:
      return record == Record::mu && n < k_star ? 0 : of_moments(k_star);
    case Record::eta:
      return static_cast<double>(n * k_star) / 16;
    default:
      return 1;
  }
}

/// Returns true for records of the representation, which need [M; R], and false for records of the
/// head or of the tasks. An engine on data at full size converts B to coordinates only if a record
/// of the representation is requested.
bool needs_state(Record record) {
  switch (record) {
    case Record::dist:
    case Record::angles:
    case Record::delta_norm:
    case Record::sigma_min:
    case Record::sigma_max:
    case Record::perp_norm:
    case Record::signal_min:
    case Record::signal_max:
      return true;
    default:
      return false;
  }
}

/// Allocates the memory for the smaller of the two Gram matrices of A and for its eigenvalue
/// solver.
SpectralNorm::SpectralNorm(Index rows, Index columns)
    : gram_(std::min(rows, columns), std::min(rows, columns)), solver_(std::min(rows, columns)) {}

/// Returns the largest singular value of A, computed as the square root of the largest eigenvalue
/// of the smaller of A A^T and A^T A. A is first divided by its largest entry, so that the squares
/// of its entries neither overflow nor underflow. For example, the square of a distance of 1e-290
/// would be below the smallest double.
double SpectralNorm::operator()(Mat& A) {
  if (A.size() == 0) return 0;
  const double scale = A.cwiseAbs().maxCoeff();
  if (scale == 0 || !std::isfinite(scale)) return scale;
  A /= scale;
  // Forming the Gram matrix loses no digits of its largest eigenvalue, but it would lose digits of
  // its small eigenvalues.
  if (A.rows() < A.cols()) {
    gram_.noalias() = A * A.transpose();
  } else {
    gram_.noalias() = A.transpose() * A;
  }
  if (gram_.size() == 1) return scale * std::sqrt(gram_(0, 0));
  solve_symmetric(gram_, false, solver_);
  return scale * std::sqrt(std::max(0.0, solver_.eigenvalues().maxCoeff()));
}

/// Allocates the memory of all matrices that dist() uses for k = k_star, so that a run that records
/// the distance in every round allocates no memory during the rounds.
Meter::Meter(Index k_star, Index e, Index k)
    : k_star_(k_star),
      e_(e),
      k_(k),
      tangents_(e, std::min(k, k_star)),
      square_(std::min(k, k_star), std::min(k, k_star)),
      off_(std::min(k, k_star), e),
      lu_(std::min(k, k_star)),
      norm_(e, std::min(k, k_star)),
      scratch_(static_cast<std::size_t>(kernels::distance_scratch(k, e))) {}

/// Writes to tangents_, (e, min(k, k_star)), a matrix whose singular values are the tangents of the
/// principal angles between span(B) and span(B_star), (20) and (14). Returns false if M is
/// singular, so that an angle is 90 degrees, or if the columns of B are numerically dependent.
bool Meter::tangent_matrix(const Mat& Z) {
  // The tangents are the singular values of R M^{-1}. B deviates from span(B_star) by E R alone, so
  // the tangents are as accurate relative to their size as R is, down to the smallest doubles.
  if (k_ == k_star_) return from_inverse(Z.topRows(k_), Z.bottomRows(e_)) && tangents_.allFinite();
  const Mat scaled = with_unit_columns(Z);
  const auto M = scaled.topRows(k_star_);
  const auto R = scaled.bottomRows(e_);
  if (k_ < k_star_) {
    // For a vector v, the tangent of the angle between B v and span(B_star) is |R v| / |M v|. With
    // the QR factorisation M = U T, the tangents of the principal angles are the singular values of
    // R T^{-1}.
    const auto qr = factor_qr(M);
    const Mat T = qr.matrixQR().topRows(k_).triangularView<Eigen::Upper>();
    if ((T.diagonal().array() == 0).any()) return false;
    tangents_ = R;
    // Eigen's solver refers to the first entry, which an R without rows does not have.
    if (e_ > 0) T.triangularView<Eigen::Upper>().solveInPlace<Eigen::OnTheRight>(tangents_);
    return tangents_.allFinite();
  }
  // For k > k_star, (14), let M = [M_1 M_N], R = [R_1 R_N] and A = R_1 M_1^{-1}. The columns of R_N
  // - A M_N span the part of span(B) that is orthogonal to B_star. The tangents are the singular
  // values of the part of A orthogonal to these columns.
  if (find_rank(scaled) < k_) return false;
  if (!from_inverse(M.leftCols(k_star_), R.leftCols(k_star_))) return false;
  // The columns of [-M_1^{-1} M_N; I] span the null space of M. At this point tangents_ holds A.
  // The columns of R_N - A M_N are scaled to equal length: during a run they shrink at different
  // rates, and each of them affects the span.
  const Index surplus = k_ - k_star_;
  const Mat beyond = with_unit_columns(R.rightCols(surplus) - tangents_ * M.rightCols(surplus));
  if (!beyond.allFinite()) return false;
  const auto qr = factor_qr(beyond);
  const Mat Q = orthonormal_columns(qr, std::min(e_, surplus));
  // The projection is made twice, for the reason given at project_off().
  for (int pass = 0; pass < 2; ++pass) tangents_ -= Q * (Q.transpose() * tangents_);
  return tangents_.allFinite();
}

/// Computes tangents_ <- R_1 M_1^{-1}, (e, k_star), without forming the inverse: an LU
/// factorisation with pivots solves M_1^T x = R_1^T, and the result is x^T. Returns false if a
/// pivot is zero.
template <class Square, class Off>
bool Meter::from_inverse(const Square& M_1, const Off& R_1) {
  square_ = M_1.transpose();
  factor_lu(square_, lu_);
  if ((lu_.matrixLU().diagonal().array() == 0).any()) return false;
  off_.noalias() = lu_.permutationP() * R_1.transpose();
  solve_factored(lu_.matrixLU(), off_);
  tangents_ = off_.transpose();
  return true;
}

/// Returns the distance of (20), which is the sine of the largest principal angle. The sine is
/// computed from the tangent of the angle instead of the cosine, because the difference 1 - cos^2
/// has no correct digits if it is below 1e-16. For k < k_star some vector in span(B_star) is
/// orthogonal to span(B), so the distance is 1. For small states the distance is computed by the
/// kernel that also serves panels of trials.
double Meter::dist(const Mat& Z) {
  if (k_ < k_star_) return 1;
  if (k_ == k_star_ && k_ <= kernels::kMostAngles) {
    double dist;
    kernels::distances<1>(k_, e_, Z.data(), scratch_.data(), &dist);
    return dist;
  }
  if (!tangent_matrix(Z)) return 1;
  return sine_of_tangent(norm_(tangents_));
}

/// Returns the tangents of all min(k, k_star) principal angles, the largest first. R has e rows, so
/// at most e of the tangents are not zero. If B = 0, all angles count as right angles, as in
/// dist(), since the span of B has no vector other than 0.
Vec Meter::tangents(const Mat& Z) {
  if (Z.size() > 0 && (Z.array() == 0).all()) {
    return Vec::Constant(std::min(k_, k_star_), kInfinity);
  }
  if (!tangent_matrix(Z)) return tangents_by_cosines(Z);
  Vec all = Vec::Zero(std::min(k_, k_star_));
  const Vec values = singular_values(tangents_);
  all.head(values.size()) = values;
  // The rounding error of every singular value is relative to the largest singular value. If the
  // largest angle exceeds 45 degrees, quotients of sines and cosines have smaller errors.
  return all.size() > 0 && all[0] > 1 ? tangents_by_cosines(Z) : all;
}

/// Returns the tangents as quotients of sines and cosines, which are singular values of blocks of Q
/// in the factorisation B = Q S. The absolute errors of the sines and cosines are of the order of
/// rounding errors. This method is used for angles near 90 degrees, and for a singular M, for which
/// a tangent is infinite. If a returned tangent is below 1e-16, it has no correct digits.
Vec Meter::tangents_by_cosines(const Mat& Z) const {
  const Index count = std::min(k_, k_star_);
  const auto qr = factor_qr(with_unit_columns(Z));
  const Mat Q = orthonormal_columns(qr, k_);
  const Mat top = Q.topRows(k_star_);
  // If k < k_star, the sines are the singular values of the part of Q orthogonal to B_star. If k >=
  // k_star, Q may have more columns than there are angles, and the sines are the singular values of
  // the part of B_star orthogonal to B.
  Mat off = Q.bottomRows(e_);
  if (k_ >= k_star_) off = Mat::Identity(Z.rows(), k_star_) - Q * top.transpose();
  Vec sines = Vec::Zero(count);
  const Vec all_sines = singular_values(off).cwiseMin(1.0);
  const Index known = std::min(count, all_sines.size());
  sines.head(known) = all_sines.head(known);
  // The sines are in falling order. The cosines are reversed into rising order, so that element i
  // of the sines and element i of the cosines belong to the same angle.
  const Vec cosines = singular_values(top).head(count).reverse();
  Vec all(count);
  for (Index i = 0; i < count; ++i) {
    all[i] = cosines[i] > kZeroCosine ? sines[i] / cosines[i] : kInfinity;
  }
  return all;
}

/// Returns how many columns a record takes in a row of results: the record `angles` takes one
/// column for each angle, and every other record takes one column.
Index Meter::columns(Record record) const {
  return record == Record::angles ? std::min(k_, k_star_) : 1;
}

/// Computes one record, (20) or (21), from the state Z = [M; R] (k_star + e, k), the head w, and
/// the outputs of the round's tasks. If a record does not need the state, Z may be empty.
void Meter::measure(Record record, const Mat& Z, const Vec& w, double alpha,
                    const TaskOutputs& tasks, double* out) {
  // The basis [B_star, E] is orthonormal, so B^T B = Z^T Z, and |I - alpha B^T B| is the largest |1
  // - alpha lambda| over the eigenvalues lambda of Z^T Z.
  const auto gram_eigenvalues = [&] { return eigenvalues(Z.transpose() * Z); };
  switch (record) {
    case Record::dist:
      *out = dist(Z);
      return;
    case Record::angles:
      MutVec(out, columns(record)) = tangents(Z).array().atan();
      return;
    // The rows of tasks.losses are the losses in the order of the loss records below.
    case Record::loss_in:
    case Record::loss_adapted:
    case Record::loss_out:
      *out = tasks.mean_loss(static_cast<Index>(record) - static_cast<Index>(Record::loss_in));
      return;
    case Record::w_norm:
      *out = w.stableNorm();
      return;
    case Record::delta_norm:
      *out = (1 - alpha * gram_eigenvalues().array()).abs().maxCoeff();
      return;
    case Record::sigma_min:
      *out = k_ > Z.rows() ? 0 : singular_values(Z).minCoeff();
      return;
    case Record::sigma_max:
      *out = singular_values(Z).maxCoeff();
      return;
    case Record::perp_norm: {
      Mat R = Z.bottomRows(e_);
      *out = SpectralNorm(R.rows(), R.cols())(R);
      return;
    }
    case Record::signal_min:  // B_star^T B = M has min(k, k_star) singular values
    case Record::signal_max: {
      const Vec values = singular_values(Z.topRows(k_star_));
      *out = record == Record::signal_min ? values.minCoeff() : values.maxCoeff();
      return;
    }
    case Record::diversity_min:
      *out = square(moment_root(tasks.adapted.leftCols(k_), true));
      return;
    case Record::diversity_max:
      *out = square(moment_root(tasks.adapted.leftCols(k_), false));
      return;
    case Record::mu:
      *out = moment_root(tasks.heads, true);
      return;
    case Record::L:
      *out = moment_root(tasks.heads, false);
      return;
    case Record::eta:
      *out = tasks.heads.colwise().mean().norm();
      return;
    case Record::alpha:
      *out = alpha;
      return;
  }
}

}  // namespace metaspan
