// The records of a run, (20) and (21): which task outputs each record needs, and how the record is
// computed from the state [M; R], w and these outputs.
#pragma once

#include <string>

#include "metaspan/geometry/decompositions.hpp"

namespace metaspan {

/// Outputs of every task of a round. An engine fills the outputs that are requested.
struct TaskOutputs {
  bool want_losses = false, want_adapted = false, want_heads = false;
  Mat losses;   // (3, n)       inner loss before and after the inner loop, outer loss after it
  Mat adapted;  // (n, k)       w_J
  Mat heads;    // (n, k_star)  w_star
  Vec weights;  // (n,) weights of the tasks, (47), or empty if all of them are 1

  /// Returns the mean (47) of one of the three losses.
  double mean_loss(Index which) const {
    if (weights.size() == 0) return losses.row(which).mean();
    return losses.row(which).dot(weights) / static_cast<double>(weights.size());
  }
  /// Whether any output is requested.
  bool wanted() const { return want_losses || want_adapted || want_heads; }
};

/// A measurement of (20) or (21) that a run can record.
enum class Record {
  dist,
  angles,
  loss_in,
  loss_adapted,
  loss_out,
  w_norm,
  delta_norm,
  sigma_min,
  sigma_max,
  perp_norm,
  signal_min,
  signal_max,
  diversity_min,
  diversity_max,
  mu,
  L,
  eta,
  alpha,
};

/// Returns the record that has the public name `name`. Throws std::invalid_argument if no record
/// has this name.
Record record_named(const std::string& name);

/// Whether the record is measured from [M; R]. All other records are measured from the outputs of
/// the tasks or from the head w.
bool needs_state(Record record);

/// Returns the time of one measurement of the record for n tasks, in units of the time of a kernel
/// call. The time for converting the state to coordinates is not included.
double calls_of(Record record, Index k_star, Index k, Index n);

/// Sets the flags of the task outputs that the record needs.
void request(Record record, TaskOutputs& outputs);

/// Computes spectral norms of matrices of one shape. Each matrix is scaled first, so that the
/// squares of its entries neither overflow nor underflow. A call allocates no memory, except that
/// Eigen may allocate memory for a product of large matrices.
class SpectralNorm {
 public:
  SpectralNorm(Index rows, Index columns);

  /// Returns the largest singular value of A, and overwrites A.
  double operator()(Mat& A);

 private:
  Mat gram_;
  Eigen::SelfAdjointEigenSolver<Mat> solver_;
};

/// Measures states of one shape. For k = k_star, dist() allocates no memory.
class Meter {
 public:
  Meter(Index k_star, Index e, Index k);

  /// Returns the sine of the largest principal angle between span(B) and span(B_star), (20), with
  /// the relative accuracy of (14). The sine is 1 if k < k_star or M is singular. For k > k_star
  /// the leading (k_star, k_star) block of M must be regular; multiplying Z by start_rotation(M)
  /// makes this block regular if M has full rank.
  double dist(const Mat& Z);

  /// Returns the tangents of the min(k, k_star) principal angles, largest first.
  Vec tangents(const Mat& Z);

  /// Returns how many numbers the record consists of.
  Index columns(Record record) const;

  /// Writes the columns(record) numbers of the record.
  void measure(Record record, const Mat& Z, const Vec& w, double alpha, const TaskOutputs& tasks,
               double* out);

 private:
  /// Computes tangents_. Returns false if M is singular or the columns of B are numerically
  /// dependent.
  bool tangent_matrix(const Mat& Z);
  /// Computes tangents_ <- R_1 M_1^{-1}. Returns false if M_1 is singular.
  template <class Square, class Off>
  bool from_inverse(const Square& M_1, const Off& R_1);
  /// Returns the tangents as quotients of sines and cosines. tangents() uses this function for
  /// angles beyond 45 degrees, for which these quotients are more accurate than R M^{-1}.
  Vec tangents_by_cosines(const Mat& Z) const;

  Index k_star_, e_, k_;
  Mat tangents_;                 // (e, min(k, k_star)): its singular values are the tangents
  Mat square_, off_;             // M^T and R^T, scratch of R M^{-1}
  Eigen::PartialPivLU<Mat> lu_;  // of M^T
  SpectralNorm norm_;
  std::vector<double> scratch_;  // for the distance of a small state
};

}  // namespace metaspan
