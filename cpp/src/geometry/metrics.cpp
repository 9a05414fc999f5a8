#include "metaspan/geometry/metrics.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "metaspan/base/error.hpp"

namespace metaspan {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kZeroCosine = 8 * std::numeric_limits<double>::epsilon();  // of a right angle

constexpr std::array<std::pair<const char*, Record>, 15> kRecords{{
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
    {"diversity_min", Record::diversity_min},
    {"diversity_max", Record::diversity_max},
    {"mu", Record::mu},
    {"L", Record::L},
    {"eta", Record::eta},
}};

/// Those of a matrix that is not finite are no numbers.
Vec singular_values(const Mat& A) {
  if (A.size() == 0) return Vec::Zero(std::min(A.rows(), A.cols()));
  if (!A.allFinite()) return Vec::Constant(std::min(A.rows(), A.cols()), kNaN);
  return Eigen::JacobiSVD<Mat>(A).singularValues();
}

/// Ascending.
Vec eigenvalues(const Mat& symmetric) {
  return Eigen::SelfAdjointEigenSolver<Mat>(symmetric, Eigen::EigenvaluesOnly).eigenvalues();
}

/// The smallest or largest eigenvalue's root of mean v v^T over the rows v: by singular values,
/// since squaring would cost half of the digits of the smallest.
double moment_root(const Mat& rows, bool smallest) {
  if (smallest && rows.rows() < rows.cols()) return 0;
  const Vec values = singular_values(rows) / std::sqrt(static_cast<double>(rows.rows()));
  return smallest ? values.minCoeff() : values.maxCoeff();
}

double square(double x) { return x * x; }

/// X <- U^{-1} L^{-1} X, for L and U side by side in one matrix. Eigen would take memory for it.
void solve_factored(const Mat& LU, Mat& X) {
  const Index n = LU.rows();
  for (Index i = 1; i < n; ++i) X.row(i).noalias() -= LU.row(i).head(i) * X.topRows(i);
  for (Index i = n - 1; i >= 0; --i) {
    const Index after = n - 1 - i;
    X.row(i).noalias() -= LU.row(i).tail(after) * X.bottomRows(after);
    X.row(i) /= LU(i, i);
  }
}

/// Columns divided by their largest entries, to a power of two: the same span, without overflow
/// or underflow of squares, and without a rounding.
Mat with_unit_columns(Mat A) {
  for (Index j = 0; j < A.cols(); ++j) {
    const double most = A.rows() > 0 ? A.col(j).cwiseAbs().maxCoeff() : 0;
    if (most == 0 || !std::isfinite(most)) continue;
    const int exponent = std::ilogb(most);
    for (Index i = 0; i < A.rows(); ++i) A(i, j) = std::scalbn(A(i, j), -exponent);
  }
  return A;
}

double sine_of_tangent(double t) { return t < 1e150 ? t / std::sqrt(1 + t * t) : 1; }

}  // namespace

Record record_named(const std::string& name) {
  for (const auto& [known, record] : kRecords) {
    if (name == known) return record;
  }
  throw std::invalid_argument("no record is named " + name);
}

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

double calls_of(Record record, Index k_star, Index k, Index n) {
  const auto of_singular_values = [](double size) {
    return 6 * size * size + size * size * size / 4;
  };
  const auto of_solver = [](double size) { return 7 * size + 2 * size * size; };
  const auto of_moments = [&](Index width) {
    const auto least = static_cast<double>(std::min(n, width));
    const auto most = static_cast<double>(std::max(n, width));
    return of_singular_values(least) + most * least * (.6 + least / 80);
  };
  const auto K = static_cast<double>(k);
  switch (record) {
    case Record::dist:
      return k < k_star ? 0 : k == k_star ? of_solver(K) : 25 * K + of_solver(K);
    case Record::angles:
      return 4 * of_singular_values(K);
    case Record::delta_norm:
    case Record::perp_norm:
      return of_solver(K);
    case Record::sigma_min:
    case Record::sigma_max:
      return of_singular_values(K);
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

bool needs_state(Record record) {
  switch (record) {
    case Record::dist:
    case Record::angles:
    case Record::delta_norm:
    case Record::sigma_min:
    case Record::sigma_max:
    case Record::perp_norm:
      return true;
    default:
      return false;
  }
}

SpectralNorm::SpectralNorm(Index rows, Index columns)
    : gram_(std::min(rows, columns), std::min(rows, columns)), solver_(std::min(rows, columns)) {}

double SpectralNorm::operator()(Mat& A) {
  if (A.size() == 0) return 0;
  const double scale = A.cwiseAbs().maxCoeff();
  if (scale == 0 || !std::isfinite(scale)) return scale;
  A /= scale;
  // The largest eigenvalue of the Gram matrix loses nothing by the squaring; small ones would.
  if (A.rows() < A.cols()) {
    gram_.noalias() = A * A.transpose();
  } else {
    gram_.noalias() = A.transpose() * A;
  }
  if (gram_.size() == 1) return scale * std::sqrt(gram_(0, 0));
  solver_.compute(gram_, Eigen::EigenvaluesOnly);
  return scale * std::sqrt(std::max(0.0, solver_.eigenvalues().maxCoeff()));
}

Meter::Meter(Index k_star, Index e, Index k)
    : k_star_(k_star),
      e_(e),
      k_(k),
      tangents_(e, std::min(k, k_star)),
      square_(std::min(k, k_star), std::min(k, k_star)),
      off_(std::min(k, k_star), e),
      lu_(std::min(k, k_star)),
      norm_(e, std::min(k, k_star)) {}

/// False where M is singular, so that an angle is a right one, or B has numerically lost a column.
bool Meter::tangent_matrix(const Mat& Z) {
  if (k_ == k_star_) return from_inverse(Z.topRows(k_), Z.bottomRows(e_)) && tangents_.allFinite();
  const Mat scaled = with_unit_columns(Z);
  const auto M = scaled.topRows(k_star_);
  const auto R = scaled.bottomRows(e_);
  if (k_ < k_star_) {
    // B v has the tangent |R v| / |M v|; with M = U T that is the norm of R T^{-1} u.
    const Eigen::HouseholderQR<Mat> qr(M);
    const Mat T = qr.matrixQR().topRows(k_).triangularView<Eigen::Upper>();
    if ((T.diagonal().array() == 0).any()) return false;
    tangents_ = R;
    T.triangularView<Eigen::Upper>().solveInPlace<Eigen::OnTheRight>(tangents_);
    return tangents_.allFinite();
  }
  if (Eigen::ColPivHouseholderQR<Mat>(scaled).rank() < k_) return false;
  if (!from_inverse(M.leftCols(k_star_), R.leftCols(k_star_))) return false;
  // What B reaches off B_star alone: the null space of M is the graph [-M_1^{-1} M_N; I].
  const Index surplus = k_ - k_star_;
  const Mat beyond = with_unit_columns(R.rightCols(surplus) - tangents_ * M.rightCols(surplus));
  if (!beyond.allFinite()) return false;
  const Eigen::HouseholderQR<Mat> qr(beyond);
  const Mat Q = orthonormal_columns(qr, std::min(e_, surplus));
  for (int pass = 0; pass < 2; ++pass) tangents_ -= Q * (Q.transpose() * tangents_);
  return tangents_.allFinite();
}

/// tangents_ <- R_1 M_1^{-1}, from M_1^T x = R_1^T. False where a pivot is zero.
template <class Square, class Off>
bool Meter::from_inverse(const Square& M_1, const Off& R_1) {
  square_ = M_1.transpose();
  lu_.compute(square_);
  if ((lu_.matrixLU().diagonal().array() == 0).any()) return false;
  off_.noalias() = lu_.permutationP() * R_1.transpose();
  solve_factored(lu_.matrixLU(), off_);
  tangents_ = off_.transpose();
  return true;
}

double Meter::dist(const Mat& Z) {
  if (k_ < k_star_) return 1;
  if (!tangent_matrix(Z)) return 1;
  return sine_of_tangent(norm_(tangents_));
}

Vec Meter::tangents(const Mat& Z) {
  if (!tangent_matrix(Z)) return tangents_by_cosines(Z);
  Vec all = Vec::Zero(std::min(k_, k_star_));
  const Vec values = singular_values(tangents_);
  all.head(values.size()) = values;
  // Every tangent is right to the rounding of the largest: beyond 45 degrees cosines do better.
  return all.size() > 0 && all[0] > 1 ? tangents_by_cosines(Z) : all;
}

/// Sines and cosines on their own, each to rounding, from B = Q S.
Vec Meter::tangents_by_cosines(const Mat& Z) const {
  const Index count = std::min(k_, k_star_);
  const Eigen::HouseholderQR<Mat> qr(with_unit_columns(Z));
  const Mat Q = orthonormal_columns(qr, k_);
  const Mat top = Q.topRows(k_star_);
  Mat off = Q.bottomRows(e_);  // the columns of B off B_star; for k >= k_star, of B_star off B
  if (k_ >= k_star_) off = Mat::Identity(Z.rows(), k_star_) - Q * top.transpose();
  Vec sines = Vec::Zero(count);
  const Vec found = singular_values(off).cwiseMin(1.0);
  sines.head(std::min(count, found.size())) = found.head(std::min(count, found.size()));
  const Vec cosines = singular_values(top).head(count).reverse();
  Vec all(count);
  for (Index i = 0; i < count; ++i) {
    all[i] = cosines[i] > kZeroCosine ? sines[i] / cosines[i] : kInfinity;
  }
  return all;
}

Index Meter::columns(Record record) const {
  return record == Record::angles ? std::min(k_, k_star_) : 1;
}

void Meter::measure(Record record, const Mat& Z, const Vec& w, double alpha,
                    const TaskOutputs& tasks, double* out) {
  const auto gram_eigenvalues = [&] { return eigenvalues(Z.transpose() * Z); };
  switch (record) {
    case Record::dist:
      *out = dist(Z);
      return;
    case Record::angles:
      MutVec(out, columns(record)) = tangents(Z).array().atan();
      return;
    case Record::loss_in:
    case Record::loss_adapted:
    case Record::loss_out:
      *out =
          tasks.losses.row(static_cast<Index>(record) - static_cast<Index>(Record::loss_in)).mean();
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
    case Record::diversity_min:
      *out = square(moment_root(tasks.adapted, true));
      return;
    case Record::diversity_max:
      *out = square(moment_root(tasks.adapted, false));
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
  }
}

}  // namespace metaspan
