// The outer step (28): how B and w move along the mean gradients of the rounds. A step may remember
// further blocks of the size of B. Except for the rules "adam" and "sign", the new blocks are
// linear combinations of the old blocks and the gradient.
#pragma once

#include <array>
#include <vector>

#include "metaspan/algebra/outer_settings.hpp"
#include "metaspan/base/base.hpp"

namespace metaspan {

/// Returns the names of the blocks beside B, in their order.
std::vector<const char*> memory_names(const OuterStep& step);

/// The largest number of blocks.
constexpr int kMostBlocks = 5;

/// A diagonal entry of an R-factor that is at most this share of the largest one has no correct
/// digits: the factored matrix is rank-deficient.
constexpr double kLeastPivot = 1e-14;

/// A linear step on the joint matrix S = [B, ...], (rows, c k): S <- S (L x I_k) - beta G (b^T x
/// I_k), where x is the Kronecker product.
struct OuterUpdate {
  Index c;                                                                  // number of blocks
  std::array<std::array<double, kMostBlocks>, kMostBlocks> coefficients{};  // (c, c)  L
  std::array<double, kMostBlocks> b{};                                      // (c,)

  double& L(Index i, Index j) {
    return coefficients[static_cast<std::size_t>(i)][static_cast<std::size_t>(j)];
  }
  double L(Index i, Index j) const {
    return coefficients[static_cast<std::size_t>(i)][static_cast<std::size_t>(j)];
  }
  double of_gradient(Index j) const { return b[static_cast<std::size_t>(j)]; }
};

/// Returns the part of a round's step that uses the gradient: momentum, and the step on B with its
/// size times `factor`, the factor of the schedule. For the rules "adam" and "sign", G is the
/// result of CoordinateRule::direction().
OuterUpdate gradient_step(const OuterStep& step, double factor);

/// Returns the part of a round's step that follows the factorisation of B: lookahead and the
/// average. Here b is 0.
OuterUpdate averaging_step(const OuterStep& step, Index round);

/// Returns both parts as one step, for runs without the factorisation.
OuterUpdate whole_step(const OuterStep& step, Index round, double factor);

/// Returns S (L x I_k) - beta G (b^T x I_k), (rows, c k), and leaves S unchanged, so that a caller
/// can refuse the result.
Mat combine(const OuterUpdate& update,
            const Mat& S,  // (rows, c k)
            double beta,
            const Mat& G);  // (rows, k)

/// Replaces the first k columns B of S by B S_B^{-1}, where S_B is the R-factor of B with a
/// positive diagonal. Returns false if B is rank-deficient.
bool orthonormalise_first(Mat& S,  // (rows, c k)
                          Index k);

/// Takes the whole step in coordinates: the part with the gradient, then the factorisation if
/// `orthonormal` is set, then lookahead and the average. Returns false if B is rank-deficient.
bool step_in_coordinates(const OuterStep& step, Index round, double factor, double beta,
                         const Mat& G,  // (rows, k)
                         Mat& S);       // (rows, c k), in and out

/// Takes the step of the head and of the parameters that follow it, without a factorisation.
void step_head(const OuterStep& step, Index round, double factor,
               const Vec& sizes,   // (parameters,)  the outer step sizes
               const Vec& grad_w,  // (parameters,)
               Vec& s);            // (c parameters,), in and out

/// A rule that treats every coordinate separately, "adam" or "sign" of (28), in one round.
struct CoordinateRule {
  OuterStep::Rule rule;
  double momentum;                            // of "sign"
  bool has_velocity, has_squares;             // of the step
  double velocity_scale = 1, root_scale = 1;  // corrections of Adam for the round

  /// Returns the rule with the corrections of a round.
  static CoordinateRule of(const OuterStep& step, Index round);

  /// Returns D_t of (28) for the gradient g of a coordinate, and updates its velocity and square.
  double direction(double g, double& velocity, double& square) const;
};

}  // namespace metaspan
