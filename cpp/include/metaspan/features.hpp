// Laws of the features: rows of X.
#pragma once

#include "metaspan/random.hpp"

namespace metaspan {

/// Symmetric under every rotation, with covariance I: a Gaussian row times a radius.
struct FeatureLaw {
  enum class Kind {
    gaussian,   // radius 1
    student_t,  // sqrt((dof - 2) / chi^2_dof)
    sphere,     // sqrt(d) / |row|
  };
  Kind kind = Kind::gaussian;
  double dof = 0;  // of student_t, > 2

  bool operator==(Kind other) const { return kind == other; }
  bool operator!=(Kind other) const { return kind != other; }
};

/// Multiplies a Gaussian row with its radius.
void scale_row(const FeatureLaw& law, double d,
               double squares,                              // |row|^2 in all d dimensions
               Sequence& draws, Index count, double* row);  // (count,) in and out

/// Row `row` of a task's X, at full dimension. `features` and `radii` key the normals and what they
/// are multiplied with.
void feature_row(const FeatureLaw& law, Key features, Key radii, Index task, Index row, Index d,
                 double* out);  // (d,)

/// Row `row` of samples that are all drawn once, in an orthonormal basis: D columns that are given,
/// then the Bartlett factor of the rows in the d - D dimensions off them, of which `columns` - D
/// are wanted: row i ends with its column D + i. Everything after that is 0.
void pooled_row(const FeatureLaw& law, Key features, Key radii, Index row, double d, Index D,
                Index columns,
                double* out);  // (columns,)

}  // namespace metaspan
