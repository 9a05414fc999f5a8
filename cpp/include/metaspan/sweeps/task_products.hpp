// Inputs and outputs of the two sweeps over the data of a round.
#pragma once

#include "metaspan/algebra/factors.hpp"
#include "metaspan/data/samples.hpp"

namespace metaspan {

/// A term X^T C of the gradient, (10): the data set that has X, and the factor C.
template <class XScalar>
struct Part {
  const Samples<XScalar>* set;
  const Factors* C;
};

/// The inputs of DenseDesign for one task, (5), and the factors C of the task's gradient, (10).
struct TaskProducts {
  Mat Z_in, Z_out;  // (m, padded)
  Vec y_in, y_out;  // normalised
  Mat K, K_cross;   // (m_in, m_in), (m_out, m_in); empty unless needed
  Mat K_outer;      // (m_out, m_out)  X' X'^T of (29); empty unless needed
  Factors C_in, C_out;
};

/// Flags that select what the first sweep computes: K, K', X B of the outer sets, and the Gram
/// matrices of the outer sets.
struct GramsNeeded {
  bool K, K_cross;
  bool outer = true;
  bool K_outer = false;
};

}  // namespace metaspan
