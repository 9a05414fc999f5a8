// The radii of elliptical features, (19), for the panels of any policy of columns.
#pragma once

#include <cmath>

#include "metaspan/in_law/sample_view.hpp"

namespace metaspan {

/// Multiplies the rows of elliptical features by their radii, (19), and keeps the radii for the
/// terms off the span. On the sphere the radius of a row is sqrt(d) / |row|. The magnitude of the
/// last entry of a row is the length of the part of the row that the other entries do not
/// represent, so the sum of the squared entries is the squared length of the row in R^d.
template <class Columns>
METASPAN_HD void scale_rows(const RadiusLaw& law, const SetView& set,
                            double* numbers,  // (numbers, width) in and out
                            double* radii) {  // (rows, width) out
  for (Index i = 0; i < set.row_count; ++i) {
    const RowShape row = set.rows[i];
    const Index entries = row.end - row.begin;
    double* x = numbers + row.at * Columns::stride;
    double radius[Columns::width];
    if (law.kind == RadiusLaw::Kind::sphere) {
      Columns::dot(entries, x, x, radius);
      for (int t = 0; t < Columns::width; ++t) radius[t] = std::sqrt(law.d / radius[t]);
    } else {
      const double* root = numbers + (set.radii + i) * Columns::stride;
      for (int t = 0; t < Columns::width; ++t) radius[t] = std::sqrt(law.dof - 2) / root[t];
    }
    for (Index j = 0; j < entries; ++j) {
      for (int t = 0; t < Columns::width; ++t) x[j * Columns::stride + t] *= radius[t];
    }
    for (int t = 0; t < Columns::width; ++t) radii[i * Columns::stride + t] = radius[t];
  }
}

}  // namespace metaspan
