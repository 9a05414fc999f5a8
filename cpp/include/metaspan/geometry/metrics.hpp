// Measurements (20), (21) from the state [M; R], w and, where they need them, the tasks of a round.
#pragma once

#include <string>

#include "metaspan/geometry/decompositions.hpp"

namespace metaspan {

/// What a round tells about each of its tasks, on request.
struct TaskOutputs {
  bool want_losses = false, want_adapted = false, want_heads = false;
  Mat losses;   // (3, n)       inner set before and after the inner loop, outer set
  Mat adapted;  // (n, k)       w_J
  Mat heads;    // (n, k_star)  w_star

  bool wanted() const { return want_losses || want_adapted || want_heads; }
};

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
  diversity_min,
  diversity_max,
  mu,
  L,
  eta,
};

/// By its public name; std::invalid_argument for another.
Record record_named(const std::string& name);

/// Whether the record is one of the representation, not of the round's tasks or the head alone.
bool needs_state(Record record);

/// Calls of kernels that measuring the record takes as long as, for n tasks; without a state that
/// is brought to coordinates first.
double calls_of(Record record, Index k_star, Index k, Index n);

/// Marks in `outputs` what the record needs of the tasks.
void request(Record record, TaskOutputs& outputs);

/// Largest singular values of matrices of one shape, without overflow or underflow on the way.
/// Allocates nothing after it is made, but where Eigen's product of large matrices does.
class SpectralNorm {
 public:
  SpectralNorm(Index rows, Index columns);

  /// `A` is scratch and is lost.
  double operator()(Mat& A);

 private:
  Mat gram_;
  Eigen::SelfAdjointEigenSolver<Mat> solver_;
};

/// Measures states of one shape. dist() allocates nothing for k = k_star.
class Meter {
 public:
  Meter(Index k_star, Index e, Index k);

  /// sin of the largest principal angle between span(B) and span(B_star), (20) with (14): 1 where k
  /// < k_star or M is singular. For k > k_star the leading (k_star, k_star) block of M must be
  /// regular (start_rotation).
  double dist(const Mat& Z);

  /// Tangents of the min(k, k_star) principal angles, largest first.
  Vec tangents(const Mat& Z);

  /// How many columns a record takes.
  Index columns(Record record) const;

  /// Fills columns(record) numbers.
  void measure(Record record, const Mat& Z, const Vec& w, double alpha, const TaskOutputs& tasks,
               double* out);

 private:
  bool tangent_matrix(const Mat& Z);
  template <class Square, class Off>
  bool from_inverse(const Square& M_1, const Off& R_1);
  Vec tangents_by_cosines(const Mat& Z) const;

  Index k_star_, e_, k_;
  Mat tangents_;                 // (e, min(k, k_star)): its singular values are the tangents
  Mat square_, off_;             // scratch of R M^{-1}: M^T and R^T
  Eigen::PartialPivLU<Mat> lu_;  // of M^T
  SpectralNorm norm_;
};

}  // namespace metaspan
