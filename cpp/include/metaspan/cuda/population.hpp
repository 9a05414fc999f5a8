// Rounds of many trials on population losses, (13), on a device. Trials are in panels of
// kPanelColumns columns: number i of trial t of a panel is at i * kPanelColumns + t.
#pragma once

#include <cstddef>
#include <cstdint>

#include "heads.hpp"
#include "metaspan/algebra/method.hpp"
#include "metaspan/cuda/panels.hpp"
#include "metaspan/cuda/runtime.hpp"

namespace metaspan::cuda {

/// The sizes that all trials of a run share.
struct PopulationSizes {
  Index k_star, e, k, n;
  bool tracks;  // the gradient has the rows of H, (14), as for k > k_star in a turning frame

  METASPAN_HD Index rows() const { return k_star + e; }  // of the state [M; R]
  METASPAN_HD Index gradient_rows() const { return rows() + (tracks ? k : 0); }
};

/// The heads of all trials: drawn on the device, or passed for every round of a call.
struct PopulationHeads {
  kernels::HeadShape law;  // its pointers are to device memory
  std::uint64_t seed = 0;
  const std::uint64_t* trials = nullptr;  // (panels, 32)  numbers of the trials
  const double* given = nullptr;          // (panels, rounds, n, k_star, 32); null: drawn
  Index rounds = 0;                       // of `given`, counted from the round of each trial
};

/// The trials of a call in device memory. A column with a status other than live does not change.
struct PopulationTrials {
  Index count;              // of trials, in ceil(count / 32) panels
  double* Z;                // (panels, rows, k, 32)     [M; R]
  double* w;                // (panels, parameters, 32)
  std::int64_t* round;      // (panels, 32)
  std::int32_t* status;     // (panels, 32)  TrialStatus
  std::int32_t* was_apart;  // (panels, 32)  whether the distance of the last row was above 0
};

/// The rounds of a call of Population::advance().
struct PopulationRounds {
  Index most;  // rounds that a trial takes in this call
  Index end;   // round at which all trials stop
  Index record_every;
  bool records;           // write rows; otherwise trials stop before a recorded round
  bool measures;          // rows have the distance and are judged by it
  double stop_dist;       // as in Plan
  bool resolves;          // Engine::resolves_distance()
  double beta, longest;   // outer step sizes of B, and the longest of all
  const double* steps;    // (parameters,)  outer step sizes of w
  const double* factors;  // (end - first_factor,), or null: all 1
  Index first_factor;
  double* dist;        // (panels, most_rows, 32) out; null unless `measures`
  Index most_rows;     // at least most / record_every + 1
  std::int32_t* rows;  // (panels, 32) out, numbers of rows
};

/// The results of a call of Population::gradients(); a null pointer is not wanted.
struct PopulationGradients {
  double* grad_B;   // (panels, gradient_rows, k, 32) out
  double* grad_w;   // (panels, parameters, 32) out
  double* losses;   // (panels, 3, n, 32) out, without the variance of the noise
  double* adapted;  // (panels, n, k, 32) out
  double* heads;    // (panels, n, k_star, 32) out
};

/// The shape of a launch, on which no result depends; tests choose small ones.
struct LaunchShape {
  Index warps = 1;        // of a block whose warps serve different trials, at most 3
  Index most_blocks = 0;  // of a grid; 0: by the multiprocessors of the device
  Index full_panels = 0;  // least panels for which a block has all pieces of a trial; 0: likewise
};

/// A launch of the kernels.
struct PopulationLaunch {
  void* workspace;  // advance_bytes() or gradient_bytes()
  Stream stream = nullptr;
  LaunchShape shape = {};
};

/// Rounds of trials. The tasks of a round are cut into pieces by their number alone, and the sums
/// of the pieces are added in order, so results depend neither on the grid nor on which trials are
/// together in a call.
class Population {
 public:
  virtual ~Population() = default;

  /// Return the bytes of workspace of advance() and of gradients() for `trials` trials.
  virtual std::size_t advance_bytes(const Method& method, const PopulationSizes& sizes,
                                    Index trials, const LaunchShape& shape) const = 0;
  virtual std::size_t gradient_bytes(const Method& method, const PopulationSizes& sizes,
                                     Index trials, const LaunchShape& shape) const = 0;

  /// Runs rounds with plain steps, (3), in the frame Q = I: in every round of a trial it records
  /// the distance, (20), if the round is recorded, applies the rules on the distance, computes the
  /// gradient, (10), and takes the step unless the next state would not be finite.
  virtual void advance(const Method& method, const PopulationSizes& sizes,
                       const PopulationTrials& trials, const PopulationHeads& heads,
                       const PopulationRounds& rounds, const PopulationLaunch& launch) = 0;

  /// Computes the gradients of a round of every live trial, (10), and the outputs of its tasks.
  virtual void gradients(const Method& method, const PopulationSizes& sizes,
                         const PopulationTrials& trials, const PopulationHeads& heads,
                         const PopulationGradients& gradients, const PopulationLaunch& launch) = 0;
};

}  // namespace metaspan::cuda
