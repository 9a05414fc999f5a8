// Distributions of the features, and generators that compute rows of X when a sweep needs them,
// (12).
#pragma once

#include "metaspan/base/sizes.hpp"
#include "metaspan/random/random.hpp"

namespace metaspan {

/// A distribution of the rows of X, with mean 0 and covariance I. A row of the first three kinds is
/// a Gaussian row times a random radius, so its distribution is invariant under rotations. A row of
/// the last two kinds has independent entries.
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

/// Returns the radius by which a Gaussian row is multiplied to be distributed as `law`. Only for
/// student_t does this draw random numbers.
double radius_of(const FeatureLaw& law, double d,
                 double squares,  // |row|^2 over all d columns
                 Sequence& draws);

/// A generator of rows outside the core, such as a Python function of the user. Blocks of rows are
/// requested from it; each block starts at a multiple of kBlock.
class RowSource {
 public:
  static constexpr Index kBlock = kRowsAtOnce;
  virtual ~RowSource() = default;
  /// Called once in a round, before the first call of rows().
  virtual void begin_round(Index round) = 0;
  /// Writes `count` <= kBlock rows of a task, starting at row `first`. Called from several threads.
  virtual void rows(Index task, Index first, Index count,
                    double* out) const = 0;  // (count, d)
};

/// A generator of the rows of X in one round, for the inner or for the outer sets. A row depends
/// only on its task and its number. A row can be computed in pieces of columns, which several
/// threads may share.
struct RowMaker {
  FeatureLaw law;
  Key features, radii;  // streams of the entries and of the radii
  Index d;
  const double* roots = nullptr;  // (d,)  square roots of a diagonal covariance; null: I

  /// Writes columns [first, first + columns) of a row, with `first` even, before multiplication by
  /// the radius. Returns the sum of the squares of their Gaussian entries if the law is `sphere`,
  /// otherwise 0.
  template <class Scalar>
  double piece(Index task, Index row, Index first, Index columns, Scalar* out) const;

  /// Returns the radius of a row. `squares` is the sum of the results of piece() over all columns.
  double radius(Index task, Index row, double squares) const;
};

/// Writes rows [first, first + count) of a task from a source, scaled by `roots`.
template <class Scalar>
void take_block(const RowSource& source,
                const double* roots,  // (d,)  square roots of a diagonal covariance; null: I
                Index d, Index task, Index first, Index count,
                Scalar* out);  // (count, d)

/// Writes row `row` of a task's X in all d columns, multiplied by its radius.
void feature_row(const RowMaker& maker, Index task, Index row,
                 double* out);  // (d,)

/// Writes row `row` of a pool of samples in an orthonormal basis, (24). The first D columns are the
/// coordinates in the span of the state. They are followed by row `row` of the Bartlett factor L of
/// the parts of all samples off the span, which have d - D coordinates. L is lower trapezoidal, so
/// the row is 0 after column D + row; only the first `columns` columns are written.
void pooled_row(const FeatureLaw& law, Key features, Key radii, Index row, double d, Index D,
                Index columns,
                double* out);  // (columns,)

}  // namespace metaspan
