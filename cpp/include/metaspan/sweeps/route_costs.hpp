// The cost of rounds on arrays by each route, as amounts of work. The estimates compute seconds
// from these amounts and from the rates of a machine.
#pragma once

#include "metaspan/algebra/method.hpp"
#include "metaspan/base/stage.hpp"
#include "metaspan/data/data_sizes.hpp"

namespace metaspan {

/// The cost of a run by one route.
struct RouteCost {
  Stages setup, round;                // work before the first round; work of one gradient
  Stages records;                     // the work of measuring B, on average over the rounds
  double setup_reads = 0, reads = 0;  // bytes of X read from a store: in setup, per round
  double calls = 0;                   // kernel calls of a round
  double tasks = 0;                   // overhead per round, as a number of vector-route tasks
  double flops = 0;                   // flops of a round
  double numbers = 0;                 // random numbers of a round
  bool serial = false;                // a round is too small for more than one thread
  double busiest = 1;                 // work of the busiest thread, divided by the mean of all
  double bytes = 0;                   // memory of a trial except the data and B
  double released_bytes = 0;          // part of `bytes` that is freed when the gradient is complete
  double shared_bytes = 0;            // memory that the trials of a run share
  double opening_bytes = 0;           // memory used while the run is opened, before its first trial
  int copies_of_B = 2;                // arrays as large as B in a trial, including the gradient
  double copy_bytes = 0;              // copies of sparse sets; made only if there is memory
};

/// Returns an estimate of the flops of a round on n tasks, by which the Gram and the vector route
/// decide whether threads share a round: they do if the estimate is at least kSerialFlops. The
/// estimate counts passes over rows of `length` numbers, each with one vector at a time. If the
/// rows are sparse, the estimate also counts the additions that form a gradient of `numbers`
/// numbers.
double flops_of_round(const Method& method, double length, double n, double m_in, double m_out,
                      double numbers);

/// Returns the cost of the Gram route, (11): one sweep for (5) and one sweep for (10).
RouteCost gram_cost(const Method& method, const DataSizes& sizes, int threads);

/// Returns the cost of the vector route, (11): passes over the data with one vector at a time.
RouteCost vector_cost(const Method& method, const DataSizes& sizes, int threads);

/// Returns the cost of the dual route, (24): the Gram matrix of all samples, which is computed
/// once, and the rounds, which read this matrix.
RouteCost dual_cost(const Method& method, const DataSizes& sizes, int threads);

}  // namespace metaspan
