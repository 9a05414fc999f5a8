// What rounds on arrays take by each route, counted so that rates of a machine turn it into
// seconds.
#pragma once

#include "metaspan/algebra/method.hpp"
#include "metaspan/base/stage.hpp"
#include "metaspan/data/data_sizes.hpp"

namespace metaspan {

struct RouteCost {
  Stages setup, round;                // before the first round, and of a gradient
  Stages records;                     // of what is measured of B
  double setup_reads = 0, reads = 0;  // bytes of X from where it is stored
  double calls = 0;                   // of kernels, in a round
  double tasks = 0;                   // what a task takes beside its kernels, so many times
  double flops = 0;                   // of a round
  bool serial = false;                // too small a round for more than one thread
  double bytes = 0;                   // that a trial holds beside the data and B
  double released_bytes = 0;          // of those, given back when the gradient is made
  double shared_bytes = 0;            // that the trials of a run share
  double opening_bytes = 0;           // that are held before there is a trial
  int copies_of_B = 2;                // that a trial holds, the gradient being one
};

/// Returns the flops of the passes of a round with a vector at a time. By these the engines on data
/// decide whether threads share a round, on the Gram route too: at least kSerialFlops.
double flops_of_passes(const Method& method, double d, double n, double m_in, double m_out);

/// Two sweeps over the data, Z = X B between them, (5) and (10).
RouteCost gram_cost(const Method& method, const DataSizes& sizes, int threads);

/// Passes over the data with a vector at a time.
RouteCost vector_cost(const Method& method, const DataSizes& sizes, int threads);

/// The Gram matrix of all samples once, and rounds on it, (24).
RouteCost dual_cost(const Method& method, const DataSizes& sizes, int threads);

}  // namespace metaspan
