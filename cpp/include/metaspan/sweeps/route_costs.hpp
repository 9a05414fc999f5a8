// The cost of rounds on arrays by each route, in counts that the rates of a machine turn into
// seconds.
#pragma once

#include "metaspan/algebra/method.hpp"
#include "metaspan/base/stage.hpp"
#include "metaspan/data/data_sizes.hpp"

namespace metaspan {

/// The cost of a run by one route.
struct RouteCost {
  Stages setup, round;                // the work before the first round, and of a gradient
  Stages records;                     // the work of measuring B, on average over the rounds
  double setup_reads = 0, reads = 0;  // bytes of X read from a store: in setup, in a round
  double calls = 0;                   // kernel calls of a round
  double tasks = 0;                   // overheads of a task on the vector route, in a round
  double flops = 0;                   // flops of a round
  bool serial = false;                // a round is too small for more than one thread
  double busiest = 1;                 // work of the busiest thread, as a multiple of an even share
  double bytes = 0;                   // held by a trial beside the data and B
  double released_bytes = 0;          // those of `bytes` freed when the gradient is complete
  double shared_bytes = 0;            // shared by the trials of a run
  double opening_bytes = 0;           // held while the run is opened, before its first trial
  int copies_of_B = 2;                // held by a trial, the gradient included
  double copy_bytes = 0;              // copies of sparse sets, which a run can do without
};

/// Returns a lower estimate of the flops of a round on n tasks, by any route: those of the passes
/// with a vector at a time over rows of `length` numbers and, if the rows are sparse, of the sums
/// of a gradient of `numbers` numbers. Threads share a round of at least kSerialFlops of them.
double flops_of_round(const Method& method, double length, double n, double m_in, double m_out,
                      double numbers);

/// Returns the cost of the Gram route, (11): a sweep for (5) and a sweep for (10).
RouteCost gram_cost(const Method& method, const DataSizes& sizes, int threads);

/// Returns the cost of the vector route, (11): passes over the data with a vector at a time.
RouteCost vector_cost(const Method& method, const DataSizes& sizes, int threads);

/// Returns the cost of the dual route, (24): the Gram matrix of all samples once, and rounds on it.
RouteCost dual_cost(const Method& method, const DataSizes& sizes, int threads);

}  // namespace metaspan
