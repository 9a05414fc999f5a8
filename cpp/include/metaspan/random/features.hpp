// Distributions of the features, and generators that compute rows of X when a sweep needs them,
// (12).
#pragma once

#include "metaspan/base/sizes.hpp"
#include "metaspan/random/feature_law.hpp"
#include "metaspan/random/random.hpp"

namespace metaspan {

/// Returns the radius by which a Gaussian row must be multiplied to become a row of the
/// distribution `law`. Random numbers are drawn for student_t only.
double radius_of(const FeatureLaw& law, double d,
                 double squares,  // |row|^2 over all d columns
                 Sequence& draws);

/// Computes j^(-a / 2), the roots of the eigenvalues j^-a of a covariance, for j = first + 1, first
/// + 2, .... The C library computes the powers, since NumPy's depend on the model of the processor.
void power_roots(double a, Index first, Index count, double* out);  // (count,) out

/// A generator of rows outside the core, such as a Python function of the user. The core requests
/// rows in blocks, each of which starts at a row number that is a multiple of kBlock.
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

/// A generator of the rows of X in one round, either for all inner sets or for all outer sets.
/// Within the round, a row depends only on its task and its row number. The columns of a row can be
/// computed in pieces, and different threads may compute different pieces.
struct RowMaker {
  FeatureLaw law;
  Key features, radii;  // streams of the entries and of the radii
  Index d;
  const double* roots = nullptr;  // square roots of a diagonal covariance, those of the columns of
                                  // this process; null: I
  Index offset = 0;               // columns of the processes before this one, an even number

  /// Writes columns [first, first + columns) of a row, with `first` even, before multiplication by
  /// the radius. Returns the sum of the squares of the Gaussian entries in these columns if the law
  /// is `sphere`, otherwise 0.
  template <class Scalar>
  double piece(Index task, Index row, Index first, Index columns, Scalar* out) const;

  /// Returns the radius of a row. `squares` is the sum of the values that piece() returned for all
  /// columns of the row.
  double radius(Index task, Index row, double squares) const;
};

/// Writes rows [first, first + count) of a task. The rows come from a source, and each column is
/// multiplied by its element of `roots`.
template <class Scalar>
void take_block(const RowSource& source,
                const double* roots,  // (d,)  square roots of a diagonal covariance; null: I
                Index d, Index task, Index first, Index count,
                Scalar* out);  // (count, d)

/// Writes row `row` of a task's X in all d columns, multiplied by its radius.
void feature_row(const RowMaker& maker, Index task, Index row,
                 double* out);  // (d,)

/// Writes row `row` of a pool of samples in an orthonormal basis, (24). The first D columns are the
/// coordinates in the span of the state. The next columns are row `row` of the Bartlett factor L,
/// which represents the parts of all samples off this span; these parts have d - D coordinates. L
/// is lower trapezoidal, so the row is 0 in every column after column D + row. Only the first
/// `columns` columns are written.
void pooled_row(const FeatureLaw& law, Key features, Key radii, Index row, double d, Index D,
                Index columns,
                double* out);  // (columns,)

}  // namespace metaspan
