// The layout of the random numbers that represent a task's samples, (16): which numbers are drawn,
// and where they are stored. The layout depends on sizes alone, so the layout is computed once in a
// run.
#pragma once

#include "metaspan/algebra/method.hpp"
#include "metaspan/in_law/sample_view.hpp"
#include "metaspan/random/features.hpp"

namespace metaspan {

/// The distribution of the samples of a task, and the sizes of its sets. Features have length d. A
/// set with m_in = 0 or m_out = 0 has infinitely many samples.
struct SampleLaw {
  double d;  // up to 2^53
  Index m_in, m_out;
  bool shared;  // the inner samples are the outer samples too
  double noise;
  FeatureLaw features;
  double spread = 0;  // tau of (33): theta = B_star w_star + xi, xi ~ N(0, tau^2 / d I)
};

/// One data set of a task. X is replaced by Q X, with an orthogonal Q, if Q X takes fewer random
/// numbers to draw.
struct SetShape {
  bool infinite = false;     // X / sqrt(m) is the identity of the basis
  double normalisation = 1;  // 1 / sqrt(m)
  std::vector<RowShape> rows;
  std::vector<RootShape> roots;  // the roots in rows, then the radii, then `beyond`
  Index numbers = 0;             // numbers of a task
  Index radii = -1;  // position of the first root that divides a row of student_t, or -1
  // Position of the number that is the length of the part of X^T a off the basis, for a unit vector
  // a, (17), or -1 if this length is not drawn.
  Index beyond = -1;

  SetView view() const {
    return {infinite,     normalisation,
            rows.data(),  static_cast<Index>(rows.size()),
            roots.data(), static_cast<Index>(roots.size()),
            numbers,      radii,
            beyond};
  }
};

/// The orthonormal basis in which a task's samples are represented, and the layout of the samples
/// in this basis. The basis has D vectors of the state; if `aside` is true, one vector for the
/// direction of xi off their span, (33); q vectors of the frame off the span of these vectors; and,
/// if `beyond` is true, one vector for the part of the outer set outside the span of all other
/// vectors of the basis.
struct SampleShape {
  Index D, q;
  bool beyond;
  double rest;  // d - D, the dimension of the space off the span
  OffSpan off_span;
  SetShape inner, outer;  // outer is unused if the samples are shared
  bool aside = false;
  // xi in units of tau / sqrt(d): D coordinates in the span and, if `aside`, the length off it.
  SetShape spread = {};

  /// Number of columns before the frame, and the dimension of the space off these columns.
  Index inside() const { return D + (aside ? 1 : 0); }
  double outside() const { return rest - (aside ? 1 : 0); }
  Index columns() const { return inside() + q + (beyond ? 1 : 0); }
  Index rows_of(const SetShape& set) const {
    return set.infinite ? inside() + q : static_cast<Index>(set.rows.size());
  }

  SampleView view() const {
    return {D, q, beyond, aside, inner.view(), outer.view(), spread.view()};
  }
};

/// Returns the law of the radii of the rows.
RadiusLaw radius_law(const SampleLaw& law);

/// Returns the layout for a method on a state of D rows. For Gaussian features, a set of m samples
/// is replaced by a triangular matrix of min(m, inside() + q + 1) rows, such that X^T X, X^T y and
/// y^T y keep their joint distribution. If every task adds a factor in a frame, (17), the inner set
/// keeps all m rows.
SampleShape sample_shape(const Method& method, const SampleLaw& law, Index D);

}  // namespace metaspan
