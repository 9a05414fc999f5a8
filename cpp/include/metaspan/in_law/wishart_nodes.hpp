// Quadrature over small Wishart matrices, which are the Gram matrices of a learner's features on a
// finite inner set, (58).
#pragma once

#include <vector>

#include "metaspan/base/base.hpp"

namespace metaspan {

/// Nodes L with weights, so that the weighted sum of a polynomial of L L^T is its expectation for W
/// = L L^T ~ Wishart_k(m, I).
struct WishartNodes {
  std::vector<Mat> factors;  // (k, min(k, m)) each, lower trapezoidal
  std::vector<double> weights;
};

/// Returns a product rule of Gauss rules for the entries of Bartlett's factor, exact for
/// polynomials in W of degree at most `degree`. It has (degree / 2 + 1)^r (degree + 1)^s nodes for
/// r diagonal entries and s entries below the diagonal.
WishartNodes wishart_nodes(Index k, Index m, int degree);

/// Returns the number of nodes of that rule.
double count_wishart_nodes(Index k, Index m, int degree);

}  // namespace metaspan
