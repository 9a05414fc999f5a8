// The layout of the random numbers of a task, (16), as plain pointers and sizes: code for the CPU
// and code for a device read it in this form.
#pragma once

#include "metaspan/base/index.hpp"

namespace metaspan {

/// A row of X: its entries in columns [begin, end) of the basis, followed, if `noise` is true, by
/// the noise of its response.
struct RowShape {
  Index begin, end;
  Index at;  // position of the first entry among a task's numbers
  bool noise;
};

/// A random number that is the square root of a chi-square instead of a normal.
struct RootShape {
  Index at;
  double dof;
};

/// How the sum of the tasks' contributions off the span of the state is drawn.
enum class OffSpan {
  none,      // nothing is added
  gaussian,  // (18): given the draws inside the span, the sum is one Gaussian matrix
  frames,    // (17): every task adds a factor in an independent Haar frame
  along_xi,  // (33): every task adds a row along xi and a Gaussian matrix orthogonal to xi
};

/// A view of a SetShape, see sample_shape.hpp.
struct SetView {
  bool infinite;
  double normalisation;
  const RowShape* rows;  // (row_count,)
  Index row_count;
  const RootShape* roots;  // (root_count,)
  Index root_count;
  Index numbers, radii, beyond;
};

/// A view of a SampleShape, see sample_shape.hpp.
struct SampleView {
  Index D, q;
  bool beyond, aside;
  SetView inner, outer, spread;

  METASPAN_HD Index inside() const { return D + (aside ? 1 : 0); }
  METASPAN_HD Index columns() const { return inside() + q + (beyond ? 1 : 0); }
  METASPAN_HD Index rows_of(const SetView& set) const {
    return set.infinite ? inside() + q : set.row_count;
  }
};

/// Groups of a task's terms of grad_B whose parts off the span are summed. For (17), the group
/// `frame` has all terms. For (18), `inner` has the terms of the inner set and `outer` the terms of
/// the outer set; if the two sets are the same samples, `both` has all terms. `along_xi` has the
/// parts of all terms along the direction of xi, (33).
enum class TermGroup { frame, inner, outer, both, along_xi };

/// Most entries of a vector of a term off the span: columns of the basis, or rows of a set.
METASPAN_HD inline Index longest_off_span(const SampleView& shape, bool shared) {
  const Index outer = shared ? 0 : shape.outer.row_count;
  const Index rows = shape.inner.row_count > outer ? shape.inner.row_count : outer;
  return shape.columns() > rows ? shape.columns() : rows;
}

/// Number of entries of the vectors of a group of terms off the span.
METASPAN_HD inline Index length_off_span(const SampleView& shape, TermGroup group, bool shared) {
  if (group == TermGroup::along_xi) return 1;
  if (group == TermGroup::frame) return shape.columns() - shape.D;
  const bool outer = group == TermGroup::outer && !shared;
  return shape.rows_of(outer ? shape.outer : shape.inner);
}

/// How a Gaussian row becomes a row of the features: the radius by which it is multiplied, (19).
struct RadiusLaw {
  enum class Kind { none, student_t, sphere } kind;
  double d;    // of the sphere
  double dof;  // of student_t
};

}  // namespace metaspan
