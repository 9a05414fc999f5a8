// Laws of the features: rows of X.
#pragma once

#include "metaspan/base/sizes.hpp"
#include "metaspan/random/random.hpp"

namespace metaspan {

/// With covariance I. Symmetric under every rotation: a Gaussian row times a radius; or independent
/// entries.
struct FeatureLaw {
  enum class Kind {
    gaussian,    // radius 1
    student_t,   // radius sqrt((dof - 2) / chi^2_dof)
    sphere,      // radius sqrt(d) / |row|
    rademacher,  // entries -1 or 1
    uniform,     // entries in (-sqrt(3), sqrt(3))
  };
  Kind kind = Kind::gaussian;
  double dof = 0;  // of student_t, > 2

  bool operator==(Kind other) const { return kind == other; }
  bool operator!=(Kind other) const { return kind != other; }
};

/// What a Gaussian row is multiplied with.
double radius_of(const FeatureLaw& law, double d,
                 double squares,  // |row|^2 in all d dimensions
                 Sequence& draws);

/// Rows that somebody else makes, in blocks from a multiple of kBlock on.
class RowSource {
 public:
  static constexpr Index kBlock = kRowsAtOnce;
  virtual ~RowSource() = default;
  virtual void begin_round(Index round) = 0;
  /// At most kBlock rows of a task, from a multiple of kBlock on. Called by several threads.
  virtual void rows(Index task, Index first, Index count,
                    double* out) const = 0;  // (count, d)
};

/// Rows of X that are made when they are needed, piece by piece.
struct RowMaker {
  FeatureLaw law;
  Key features, radii;
  Index d;
  const double* roots = nullptr;      // (d,)  of a diagonal covariance, or null for I
  const RowSource* source = nullptr;  // instead of a law

  /// The row in columns [first, first + columns), first even, but for its radius; and, on the
  /// sphere, the sum of the squares of its Gaussian entries.
  template <class Scalar>
  double piece(Index task, Index row, Index first, Index columns, Scalar* out) const;

  /// A block of rows of the source.
  template <class Scalar>
  void block(Index task, Index first, Index count, Scalar* out) const;  // (count, d)

  /// What the row is yet to be multiplied with, given that sum of all its pieces.
  double radius(Index task, Index row, double squares) const;
};

/// Row `row` of a task's X, at full dimension.
void feature_row(const RowMaker& maker, Index task, Index row,
                 double* out);  // (d,)

/// Row `row` of samples that are all drawn once, in an orthonormal basis: D columns that are given,
/// then the Bartlett factor of the rows in the d - D dimensions off them, of which `columns` - D
/// are wanted: row i ends with its column D + i. Everything after that is 0.
void pooled_row(const FeatureLaw& law, Key features, Key radii, Index row, double d, Index D,
                Index columns,
                double* out);  // (columns,)

}  // namespace metaspan
