// Distributions of the features, (12).
#pragma once

namespace metaspan {

/// A distribution of the rows of X, with mean 0 and covariance I. A row of kind gaussian, student_t
/// or sphere is a Gaussian row times a radius, so its distribution is invariant under rotations. A
/// row of kind rademacher or uniform has independent entries.
struct FeatureLaw {
  enum class Kind {
    gaussian,    // radius 1
    student_t,   // radius sqrt((dof - 2) / chi^2_dof)
    sphere,      // radius sqrt(d) / |row|
    rademacher,  // entries -1 or 1
    uniform,     // entries in (-sqrt(3), sqrt(3))
  };
  Kind kind = Kind::gaussian;
  double dof = 0;  // degrees of freedom of student_t, > 2

  bool operator==(Kind other) const { return kind == other; }
  bool operator!=(Kind other) const { return kind != other; }
};

}  // namespace metaspan
