#include "metaspan/in_law/wishart_nodes.hpp"

#include <algorithm>
#include <cmath>

#include "metaspan/geometry/decompositions.hpp"

namespace metaspan {
namespace {

/// A quadrature rule in one variable.
struct Rule {
  Vec points, weights;
};

/// Returns the Gauss rule of the orthogonal polynomials with the recurrence p_{j+1} = (x - a_j) p_j
/// - b_j^2 p_{j-1}: its points are the eigenvalues of the tridiagonal matrix with the diagonal a
/// and b beside it, and its weights the squares of the first entries of the eigenvectors (Golub and
/// Welsch, 1969).
Rule gauss_rule(const Vec& a, const Vec& b) {
  Mat jacobi = a.asDiagonal();
  for (Index j = 0; j + 1 < a.size(); ++j) jacobi(j, j + 1) = jacobi(j + 1, j) = b[j];
  Eigen::SelfAdjointEigenSolver<Mat> solver(a.size());
  solve_symmetric(jacobi, true, solver);
  return {solver.eigenvalues(), solver.eigenvectors().row(0).cwiseAbs2().transpose()};
}

/// Returns the rule of a chi variable: the square roots of the points of the Gauss-Laguerre rule of
/// its square. Odd powers need not be exact: in a polynomial of W, odd powers of a diagonal entry
/// of Bartlett's factor are multiplied by odd powers of entries below it, whose mean is 0.
Rule chi_rule(double dof, Index points) {
  const Vec j = Vec::LinSpaced(points, 0, static_cast<double>(points - 1));
  const Vec a = (2 * j.array() + dof / 2).matrix();
  const Vec b = (j.array() + 1).cwiseProduct(j.array() + dof / 2).sqrt().matrix();
  Rule rule = gauss_rule(a, b);
  rule.points = (2 * rule.points).cwiseMax(0.0).cwiseSqrt();
  return rule;
}

/// Returns the Gauss-Hermite rule of N(0, 1).
Rule normal_rule(Index points) {
  const Vec j = Vec::LinSpaced(points, 0, static_cast<double>(points - 1));
  return gauss_rule(Vec::Zero(points), (j.array() + 1).sqrt().matrix());
}

}  // namespace

WishartNodes wishart_nodes(Index k, Index m, int degree) {
  const Index r = std::min(k, m);
  const Rule normal = normal_rule(degree + 1);
  WishartNodes nodes{{Mat::Zero(k, r)}, {1.0}};
  for (Index p = 0; p < k; ++p) {
    for (Index q = 0; q < std::min(p + 1, r); ++q) {
      const Rule rule = p == q ? chi_rule(static_cast<double>(m - p), degree / 2 + 1) : normal;
      WishartNodes longer;
      for (std::size_t node = 0; node < nodes.weights.size(); ++node) {
        for (Index point = 0; point < rule.points.size(); ++point) {
          longer.factors.push_back(nodes.factors[node]);
          longer.factors.back()(p, q) = rule.points[point];
          longer.weights.push_back(nodes.weights[node] * rule.weights[point]);
        }
      }
      nodes = std::move(longer);
    }
  }
  return nodes;
}

double count_wishart_nodes(Index k, Index m, int degree) {
  const Index r = std::min(k, m);
  const double below = static_cast<double>(r * k - r * (r + 1) / 2);
  return std::pow(degree / 2 + 1, r) * std::pow(degree + 1, below);
}

}  // namespace metaspan
