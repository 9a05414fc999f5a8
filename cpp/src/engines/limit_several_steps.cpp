#include <cmath>
#include <vector>

#include "limit_models.hpp"
#include "metaspan/geometry/decompositions.hpp"
#include "metaspan/in_law/wishart_nodes.hpp"

namespace metaspan {
namespace {

/// A square root of G = C^T C and its inverse. Eigenvalues at the level of rounding errors, which
/// belong to columns of C that have faded, count as 0.
struct GramRoots {
  Mat root;     // (k, k)  root root^T = G
  Mat inverse;  // (k, k)  the pseudoinverse of G
};

GramRoots split_gram(const Mat& G) {
  Eigen::SelfAdjointEigenSolver<Mat> solver(G.rows());
  solve_symmetric(G, true, solver);
  const Vec& values = solver.eigenvalues();
  const double least = 1e-15 * values[values.size() - 1];
  const Vec roots = (values.array() > least).select(values.cwiseSqrt(), 0);
  const Vec inverses = (values.array() > least).select(values.cwiseInverse(), 0);
  const Mat& vectors = solver.eigenvectors();
  return {vectors * roots.asDiagonal(), vectors * Mat(inverses.asDiagonal() * vectors.transpose())};
}

/// The means of a random weight times 1, psi, psi psi^T and s^2.
struct WeightedMeans {
  double one;
  Vec first;   // (k + r,)
  Mat second;  // (k + r, k + r)
  double square;
};

/// The law of psi = [b; s xi], from which a task's inner loop follows once the features Z of the
/// inner samples are known up to rotations: the residual is r_0 = Z b + s zeta with b = G^{-1} C^T
/// e, s^2 = e^T N e + sigma^2, N = I - C G^{-1} C^T, and zeta standard normal; xi (r,) are the
/// coordinates of zeta in the span of Z, r = min(k, m_in).
class InnerLaw {
 public:
  InnerLaw(const LimitInputs& at, const Mat& G_inverse, Index r) : k_(at.w.size()), r_(r) {
    const ResidualMoments e(at.heads, at.C, at.w);
    const Mat CG = at.C * G_inverse;
    const Index D = at.C.rows();
    const double variance = at.variance_off_span();
    const Mat N = Mat::Identity(D, D) - CG * at.C.transpose();
    const Mat second = e.q2(N) + variance * e.second();
    b_bar = CG.transpose() * e.mean();
    bb = CG.transpose() * Mat(e.second() * CG);
    off_bar = N * e.mean();
    off_b = N * Mat(e.second() * CG);
    const double length = e.q(N);
    s2_ = length + variance;
    s4_ = e.qq(N, N) + (2 * length + variance) * variance;
    s2_b_ = CG.transpose() * (e.q1(N) + variance * e.mean());
    s2_bb_ = CG.transpose() * Mat(second * CG);
    for (Index p = 0; p < k_; ++p) {
      for (Index q = 0; q < k_; ++q) {
        const Mat form = 0.5 * twice_symmetric(CG.col(p) * CG.col(q).transpose());
        b3_.push_back(CG.transpose() * e.q1(form));
        b4_.push_back(CG.transpose() * Mat(e.q2(form) * CG));
      }
    }
  }

  /// E psi and E psi psi^T.
  Vec mean() const {
    Vec psi = Vec::Zero(k_ + r_);
    psi.head(k_) = b_bar;
    return psi;
  }
  Mat second() const {
    Mat psi = s2_ * Mat::Identity(k_ + r_, k_ + r_);
    psi.topLeftCorner(k_, k_) = bb;
    return psi;
  }

  /// Returns the means with the weight psi^T N psi + kappa s^2. Given the head, xi is standard
  /// normal, so odd powers of xi vanish and E xi (xi^T N_22 xi) xi^T = tr(N_22) I + 2 N_22.
  WeightedMeans weigh(const Mat& form, double kappa) const {
    const Mat N = 0.5 * twice_symmetric(form);
    const auto N_11 = N.topLeftCorner(k_, k_);
    const auto N_22 = N.bottomRightCorner(r_, r_);
    const Mat N_12 = N.topRightCorner(k_, r_);
    const double scale = N_22.trace() + kappa, known = N_11.cwiseProduct(s2_bb_).sum();
    WeightedMeans means{N_11.cwiseProduct(bb).sum() + scale * s2_, Vec::Zero(k_ + r_),
                        Mat::Zero(k_ + r_, k_ + r_), known + scale * s4_};
    auto top = means.second.topLeftCorner(k_, k_);
    means.first.head(k_) = scale * s2_b_;
    means.first.tail(r_) = 2 * (N_12.transpose() * s2_b_);
    top = scale * s2_bb_;
    for (Index p = 0; p < k_; ++p) {
      for (Index q = 0; q < k_; ++q) {
        const auto pair = static_cast<std::size_t>(p * k_ + q);
        means.first.head(k_) += N(p, q) * b3_[pair];
        top += N(p, q) * b4_[pair];
      }
    }
    const Mat cross = 2 * (s2_bb_ * N_12);
    means.second.topRightCorner(k_, r_) = cross;
    means.second.bottomLeftCorner(r_, k_) = cross.transpose();
    means.second.bottomRightCorner(r_, r_) = 2 * s4_ * N_22 + means.square * Mat::Identity(r_, r_);
    return means;
  }

  Vec b_bar;    // (k,)    E b
  Mat bb;       // (k, k)  E b b^T
  Vec off_bar;  // (D,)    E N e
  Mat off_b;    // (D, k)  E N e b^T

 private:
  Index k_, r_;
  double s2_, s4_;       // E s^2, E s^4
  Vec s2_b_;             // (k,)    E s^2 b
  Mat s2_bb_;            // (k, k)  E s^2 b b^T
  std::vector<Vec> b3_;  // E b_p b_q b, (k,) for each pair (p, q)
  std::vector<Mat> b4_;  // E b_p b_q b b^T, (k, k)
};

/// The expected contribution of a task given A = Z^T Z / m_in. All vectors of the task are linear
/// in psi: `c` are the matrices of b - u_j, where w_j = w - u_j, `g` those of Z^T r_j / m_in, and
/// `back` those of the adjoints omega_{j+1} = V^{J-1-j} omega_J, V = I - alpha A, given their mean
/// over the outer set. The equation is (58).
class GivenFeatures {
 public:
  GivenFeatures(const LimitInputs& at, const InnerLaw& law, const Mat& G, const Mat& CG,
                const Mat& half)  // (k, r), half half^T = A
      : at_(at),
        law_(law),
        G_(G),
        CG_(CG),
        k_(at.w.size()),
        r_(half.cols()),
        A_(half * half.transpose()),
        h_(std::sqrt(at.i) * half),
        mean_(law.mean()),
        second_(law.second()) {
    const auto J = static_cast<std::size_t>(at.method.inner_steps);
    const Mat V = Mat::Identity(k_, k_) - at.method.alpha * A_;
    powers_.push_back(Mat::Identity(k_, k_));
    c_.push_back(Mat::Identity(k_, k_ + r_));
    for (std::size_t j = 0; j < J; ++j) {
      g_.emplace_back(A_ * c_[j]);
      g_.back().rightCols(r_) += h_;
      c_.emplace_back(c_[j] - at.method.alpha * g_[j]);
    }
    for (std::size_t j = 0; j < 2 * J; ++j) powers_.emplace_back(powers_[j] * V);
    for (std::size_t j = 0; j < J; ++j) back_.emplace_back(powers_[J - 1 - j] * Mat(G_ * c_[J]));
  }

  /// Adds weight times the gradient: the outer samples contribute f w_J^T, f = N e + C (b - u_J),
  /// and the inner samples of an exact method those terms of (9) that the means of their features
  /// in the span leave.
  void add_gradient(double weight, LimitRound& round) const {
    const Mat& c_J = c_.back();
    const Mat K = unadapted(c_.size() - 1).leftCols(k_);
    Mat by_C = at_.C * head_product(c_J, c_.size() - 1);
    by_C += law_.off_bar * at_.w.transpose() - law_.off_b * K.transpose();
    Vec by_w = G_ * (c_J * mean_);
    if (at_.method.exact) {
      for (std::size_t j = 0; j < g_.size(); ++j) by_C -= at_.method.alpha * inner_gradient(j);
      by_w = powers_[g_.size()] * by_w;
    }
    round.grad_C += weight * by_C;
    round.grad_w += weight * by_w;
  }

  /// Adds weight times the losses after the inner loop, and weight times the first and the second
  /// moment of the adapted heads minus w. The second moment is stored in adapted_covariance.
  void add_records(double weight, LimitRecords& records) const {
    const Mat& c_J = c_.back();
    const Mat u = unadapted(g_.size());
    const WeightedMeans outer = law_.weigh(c_J.transpose() * Mat(G_ * c_J), 1);
    records.loss_adapted += weight * residual_product(g_.size(), g_.size()).one / 2;
    records.loss_out += weight * outer.one / 2;
    records.adapted -= weight * (u * mean_);
    records.adapted_covariance += weight * (u * Mat(second_ * u.transpose()));
  }

  /// Adds weight times S: E (|f|^2 + sigma^2) w_J w_J^T / m_out and, for an exact method, the part
  /// that the inner samples contribute.
  void add_moment(double weight, LimitRound& round) const {
    const Mat& c_J = c_.back();
    const std::size_t J = g_.size();
    const WeightedMeans outer = law_.weigh(c_J.transpose() * Mat(G_ * c_J), 1);
    if (at_.o != 0) round.S += (weight * at_.o) * heads_product(outer, J, J);
    if (!at_.method.exact) return;
    const double square = at_.method.alpha * at_.method.alpha * at_.i;
    for (std::size_t j = 0; j < J; ++j) {
      for (std::size_t l = 0; l < J; ++l) {
        round.S += (weight * square) * inner_moment(outer, j, l);
      }
    }
  }

 private:
  /// The matrix of u_j = b - c_j psi.
  Mat unadapted(std::size_t j) const { return Mat::Identity(k_, k_ + r_) - c_[j]; }

  /// Returns E (X psi) w_j^T for the matrix X of a vector.
  Mat head_product(const Mat& X, std::size_t j) const {
    return (X * mean_) * at_.w.transpose() - X * Mat(second_ * unadapted(j).transpose());
  }

  /// The means with the weight r_j^T r_l / m_in, where r_j are the residuals of the inner set at
  /// w_j.
  WeightedMeans residual_product(std::size_t j, std::size_t l) const {
    Mat form = c_[j].transpose() * Mat(A_ * c_[l]);
    form.bottomRows(r_) += h_.transpose() * (c_[j] + c_[l]);
    form.bottomRightCorner(r_, r_) += at_.i * Mat::Identity(r_, r_);
    return law_.weigh(form, 1 - static_cast<double>(r_) * at_.i);
  }

  /// Returns the mean of a weight times w_j w_l^T.
  Mat heads_product(const WeightedMeans& weighted, std::size_t j, std::size_t l) const {
    const Mat u_j = unadapted(j), u_l = unadapted(l);
    const Vec& w = at_.w;
    return weighted.one * w * w.transpose() - w * (u_l * weighted.first).transpose() -
           (u_j * weighted.first) * w.transpose() + u_j * Mat(weighted.second * u_l.transpose());
  }

  /// Returns E [P^T Z omega w_j^T + P^T r_j omega^T] / m_in with omega = omega_{j+1}. The features
  /// P in the span are Z G^{-1} C^T plus a part whose regression on zeta has the slope N e / s.
  Mat inner_gradient(std::size_t j) const {
    const Mat& back = back_[j];
    const auto back_b = back.leftCols(k_), back_xi = back.rightCols(r_);
    const Mat u = unadapted(j);
    const Mat u_b = u.leftCols(k_), u_xi = u.rightCols(r_);
    const Mat c_b = c_[j].leftCols(k_);
    const double trace_back = h_.cwiseProduct(back_xi).sum();
    const double trace_c = h_.cwiseProduct(c_[j].rightCols(r_)).sum();
    Mat from_b = -trace_back * u_b.transpose() - back_b.transpose() * Mat(h_ * u_xi.transpose());
    from_b += c_b.transpose() * Mat(h_ * back_xi.transpose()) + (trace_c + 1) * back_b.transpose();
    const Mat in_span = A_ * head_product(back, j) + g_[j] * Mat(second_ * back.transpose());
    return CG_ * in_span + trace_back * law_.off_bar * at_.w.transpose() + law_.off_b * from_b;
  }

  /// Returns the mean of the terms j, l of C^T C m_in / alpha^2 for the factor C of (10) of the
  /// inner set. E omega omega^T over the outer samples is V^a (co phi phi^T + o v G) V^c, with phi
  /// = G (b - u_J), the weight v of `outer` and a, c = J - 1 - j, J - 1 - l.
  Mat inner_moment(const WeightedMeans& outer, std::size_t j, std::size_t l) const {
    const std::size_t J = g_.size(), a = J - 1 - j, c = J - 1 - l;
    const double o = at_.o, co = 1 + o;
    const Mat& c_J = c_.back();
    const Mat AV = A_ * powers_[a + c], VGV = powers_[a] * Mat(G_ * powers_[c]);
    const double trace = AV.cwiseProduct(G_).sum();
    const Mat phi = G_ * c_J;
    Mat form = co * (phi.transpose() * Mat(AV * phi));
    form += (o * trace) * (c_J.transpose() * phi);
    Mat sum = heads_product(law_.weigh(form, o * trace), j, l);
    // E w_j (omega_{j+1}^T g_l) omega_{l+1}^T and its counterpart, the transpose with j and l
    // swapped.
    const WeightedMeans seen = law_.weigh(back_[j].transpose() * g_[l], 0);
    const Mat u_j = unadapted(j), G_g = g_[l].transpose() * VGV;
    Mat cross =
        at_.w * (co * (back_[l] * seen.first).transpose() + o * outer.first.transpose() * G_g);
    cross -= u_j * (co * Mat(seen.second * back_[l].transpose()) + o * Mat(outer.second * G_g));
    sum += twice_symmetric(cross);
    // E (r_j^T r_l / m_in) omega_{j+1} omega_{l+1}^T.
    const WeightedMeans length = residual_product(j, l);
    const double mean =
        Mat(c_J.transpose() * phi).cwiseProduct(length.second).sum() + length.square;
    return sum + co * (back_[j] * Mat(length.second * back_[l].transpose())) + (o * mean) * VGV;
  }

  const LimitInputs& at_;
  const InnerLaw& law_;
  const Mat &G_, &CG_;
  Index k_, r_;
  Mat A_, h_;                               // (k, k), (k, r)
  Vec mean_;                                // (k + r,)
  Mat second_;                              // (k + r, k + r)
  std::vector<Mat> powers_, c_, g_, back_;  // (k, k), then (k, k + r) each
};

/// Averages over the Gram matrix A of the features: calls add(weight, task) for every node. The
/// rule is exact, since the moments are polynomials of degree at most 4 J in A.
template <class Add>
void average_over_features(const LimitInputs& at, const Add& add) {
  const Mat G = at.C.transpose() * at.C;
  const GramRoots roots = split_gram(G);
  const Mat CG = at.C * roots.inverse;
  const auto m = static_cast<Index>(std::lround(1 / at.i));
  const WishartNodes nodes = wishart_nodes(at.w.size(), m, 4 * at.method.inner_steps);
  const InnerLaw law(at, roots.inverse, nodes.factors[0].cols());
  for (std::size_t node = 0; node < nodes.weights.size(); ++node) {
    const Mat half = std::sqrt(at.i) * (roots.root * nodes.factors[node]);
    add(nodes.weights[node], GivenFeatures(at, law, G, CG, half));
  }
}

}  // namespace

LimitRound several_steps_round(const LimitInputs& at) {
  const Index k = at.w.size();
  LimitRound round{Mat::Zero(at.C.rows(), k), Vec::Zero(k), Mat()};
  if (at.with_S) round.S = Mat::Zero(k, k);
  average_over_features(at, [&](double weight, const GivenFeatures& task) {
    task.add_gradient(weight, round);
    if (at.with_S) task.add_moment(weight, round);
  });
  return round;
}

LimitRecords several_steps_records(const LimitInputs& at) {
  const Index k = at.w.size();
  const ResidualMoments e(at.heads, at.C, at.w);
  LimitRecords records{(e.second().trace() + at.variance_off_span()) / 2, 0, 0, Vec::Zero(k),
                       Mat::Zero(k, k)};
  average_over_features(
      at, [&](double weight, const GivenFeatures& task) { task.add_records(weight, records); });
  records.adapted_covariance -= records.adapted * records.adapted.transpose();
  records.adapted += at.w;
  return records;
}

}  // namespace metaspan
