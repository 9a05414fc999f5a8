// What sweeps over the data of tasks find and combine.
#pragma once

#include "metaspan/algebra/factors.hpp"
#include "metaspan/data/samples.hpp"

namespace metaspan {

/// Rows of a data set and the factors that they are combined with.
template <class XScalar>
struct Part {
  const Samples<XScalar>* set;
  const Factors* C;
};

/// What the algebra needs of one task on the Gram route.
struct TaskProducts {
  Mat Z_in, Z_out;  // (m, padded)
  Vec y_in, y_out;  // normalised
  Mat K, K_cross;   // (m_in, m_in), (m_out, m_in): MAML
  Factors C_in, C_out;
};

/// Which Grams the first sweep is to supply.
struct GramsNeeded {
  bool K, K_cross;
};

}  // namespace metaspan
