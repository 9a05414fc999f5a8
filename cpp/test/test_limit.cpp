// Tests of the moments of the limit: the moments that are seen through C agree with the general
// ones, and the general ones with sums over an array of heads that has the same law.
#include <cmath>

#include "check.hpp"
#include "metaspan/engines/limit_round.hpp"

namespace metaspan {
namespace {

using test::check;

bool close(const Mat& a, const Mat& b) { return (a - b).norm() <= 1e-12 * (1 + b.norm()); }
bool close(double a, double b) { return std::abs(a - b) <= 1e-12 * (1 + std::abs(b)); }

/// Returns one law of each kind, with an isotropic part.
std::vector<HeadMoments> laws(Index k_star) {
  const Mat L = Mat::Random(k_star, k_star);
  std::vector<HeadMoments> all = {gaussian_heads(Vec::Random(k_star), L * L.transpose()),
                                  sphere_heads(k_star, 1.3), array_heads(Mat::Random(7, k_star))};
  for (const HeadMoments& heads : std::vector<HeadMoments>(all)) {
    all.push_back(heads);
    all.back().isotropic = 0.3;
  }
  return all;
}

void test_moments_through_C_are_general_moments() {
  const double variance = 4;
  for (const Index k_star : {1, 3}) {
    for (const HeadMoments& heads : laws(k_star)) {
      for (const Index k : {1, 2, 4}) {
        const Index D = k_star + k;
        const Mat C = Mat::Random(D, k), I = Mat::Identity(D, D), P = C * C.transpose();
        const Vec w = Vec::Random(k);
        const Mat P2 = P * P;
        const double s2 = variance - heads.isotropic * static_cast<double>(D);
        const ResidualMoments e(heads, C, w);
        const SpanMoments at = span_moments(heads, variance, C, w);
        check(close(at.Fb, C.transpose() * e.mean()), "E F");
        check(close(at.AC, e.second() * C), "E e F^T");
        check(close(at.FF, C.transpose() * e.second() * C), "E F F^T");
        check(close(at.vb, e.second().trace() + s2), "E v");
        check(close(at.b, e.q(P)) && close(at.a, e.q(P2)), "E of P and P^2");
        check(close(at.a2, e.q(P2 * P)) && close(at.a3, e.q(P2 * P2)), "E of P^3 and P^4");
        check(close(at.bF, C.transpose() * e.q1(P)), "E (e^T P e) F");
        check(close(at.aF, C.transpose() * e.q1(P2)), "E (e^T P^2 e) F");
        check(close(at.EvF, C.transpose() * (e.q1(I) + s2 * e.mean())), "E v F");
        check(close(at.bFF, C.transpose() * e.q2(P) * C), "E (e^T P e) F F^T");
        check(close(at.aFF, C.transpose() * e.q2(P2) * C), "E (e^T P^2 e) F F^T");
        check(close(at.EvFF, C.transpose() * (e.q2(I) + s2 * e.second()) * C), "E v F F^T");
        check(close(at.Ev2, e.qq(I, I) + 2 * s2 * e.second().trace() + s2 * s2), "E v^2");
        check(close(at.bv, e.qq(P, I) + s2 * at.b), "E (e^T P e) v");
        check(close(at.av, e.qq(P2, I) + s2 * at.a), "E (e^T P^2 e) v");
      }
    }
  }
}

/// In one dimension a sphere is two heads, and Gauss-Hermite quadrature with three nodes has the
/// moments of a standard normal head up to the fifth.
void test_laws_agree_with_arrays_of_heads() {
  const Mat C = Mat::Random(3, 2), N = C * C.transpose() + Mat::Identity(3, 3);
  const Vec w = Vec::Random(2);
  Mat signs(2, 1), nodes(6, 1);
  signs << 1.3, -1.3;
  nodes << std::sqrt(3.0), -std::sqrt(3.0), 0, 0, 0, 0;
  const HeadMoments pairs[][2] = {
      {sphere_heads(1, 1.3), array_heads(signs)},
      {gaussian_heads(Vec::Zero(1), Mat::Identity(1, 1)), array_heads(nodes)}};
  for (const auto& pair : pairs) {
    const ResidualMoments law(pair[0], C, w), array(pair[1], C, w);
    check(close(law.mean(), array.mean()) && close(law.second(), array.second()), "two moments");
    check(close(law.q1(N), array.q1(N)), "third moments");
    check(close(law.q2(N), array.q2(N)), "fourth moments");
  }
}

void test_a_round_without_samples_off_the_span() {
  const Mat C = Mat::Random(5, 2);
  const Vec w = Vec::Random(2);
  for (const bool exact : {false, true}) {
    const Method method{0.3, 0.1, 1, false, exact, 0.1};
    for (const HeadMoments& heads : laws(3)) {
      const auto S = [&](double i, double o) {
        return limit_round(method, heads, i, o, 4, C, w).S.norm();
      };
      check(S(0, 0) == 0, "infinite sets add nothing off the span");
      check((S(0.2, 0) == 0) == !exact, "an infinite outer set adds nothing to first order");
      check(stays_in_span(method, 0.2, 0) == !exact, "and stays_in_span() says so");
      check(S(0, 0.2) > 0 && S(0.2, 0.2) > 0, "finite outer sets add rows");
      const LimitRound with = limit_round(method, heads, 0.2, 0.5, 4, C, w);
      const LimitRound without = limit_round(method, heads, 0.2, 0.5, 4, C, w, false);
      check(with.grad_C == without.grad_C && with.grad_w == without.grad_w,
            "the gradient does not depend on whether S is computed");
    }
  }
}

}  // namespace
}  // namespace metaspan

int main() {
  metaspan::test_moments_through_C_are_general_moments();
  metaspan::test_laws_agree_with_arrays_of_heads();
  metaspan::test_a_round_without_samples_off_the_span();
  return metaspan::test::failures;
}
