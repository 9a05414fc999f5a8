// What a task's random samples are made of, (16): which numbers there are, and where. It depends on
// sizes alone, so that it is worked out once a run.
#pragma once

#include "metaspan/algebra/method.hpp"
#include "metaspan/random/features.hpp"

namespace metaspan {

/// Tasks with random samples in d dimensions; m = 0 stands for infinitely many.
struct SampleLaw {
  double d;  // up to 2^53
  Index m_in, m_out;
  bool shared;  // inner and outer samples are the same
  double noise;
  FeatureLaw features;
};

/// A row of X: entries in the columns [begin, end) of the basis, then the noise of its response
/// where there is any.
struct RowShape {
  Index begin, end;
  Index at;  // of the first entry among a task's numbers
  bool noise;
};

/// A number that is the root of a chi-square instead of a normal.
struct RootShape {
  Index at;
  double dof;
};

/// One data set of a task, with orthogonally transformed rows where that leaves fewer numbers.
struct SetShape {
  bool infinite = false;     // X / sqrt(m) is the identity of the basis
  double normalisation = 1;  // 1 / sqrt(m)
  std::vector<RowShape> rows;
  std::vector<RootShape> roots;  // first those in rows, then, by what they are for, the others
  Index numbers = 0;             // of a task
  Index radii = -1;              // where the roots begin that divide the rows of student_t, or -1
  Index beyond = -1;  // the length of what a unit combination of the rows has off the basis, or -1
};

/// How what the tasks add off the span of the state is summed up.
enum class OffSpan {
  none,      // nothing is added
  gaussian,  // (18): given what is in the span, it is one Gaussian matrix
  frames,    // (17): a task's samples meet each other there, in a frame of the task's own
};

/// The orthonormal basis in which a task's samples are given: the D columns of the state, then q of
/// the frame off its span and, if `beyond`, one for the rest of the outer set.
struct SampleShape {
  Index D, q;
  bool beyond;
  double rest;  // dimensions off the span
  OffSpan off_span;
  SetShape inner, outer;  // the outer one is unused where the samples are shared

  Index columns() const { return D + q + (beyond ? 1 : 0); }
  Index rows_of(const SetShape& set) const {
    return set.infinite ? D + q : static_cast<Index>(set.rows.size());
  }
};

/// For a method on a state of D rows. Of Gaussian features, X^T is replaced by a triangular factor
/// of the same law: the m samples of a set become min(m, D + q + 1) rows.
SampleShape sample_shape(const Method& method, const SampleLaw& law, Index D);

}  // namespace metaspan
