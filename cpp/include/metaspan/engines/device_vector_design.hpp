// The Design of the vector route, (11), on a device: a slot holds one vector of length d in device
// memory, and the panels of the algebra are on the host.
#pragma once

#include <algorithm>
#include <vector>

#include "metaspan/algebra/columns.hpp"
#include "metaspan/algebra/design.hpp"
#include "metaspan/algebra/method.hpp"
#include "metaspan/base/sizes.hpp"
#include "metaspan/cuda/owned.hpp"
#include "metaspan/cuda/sweeps.hpp"

namespace metaspan {

/// A Design, see design.hpp, whose products are sweeps with one column for each task: X u is a
/// first sweep with a vector u of every task, X^T r a second sweep of every task alone, B^T slot a
/// first sweep over the slots as samples, and B V + terms second sweeps over the rows of B^T and
/// over the slots. Every product waits for its numbers.
class DeviceVectorDesign {
 public:
  using Columns = PanelColumns<kPanelTasks>;
  static constexpr int width = Columns::width;

  /// What all panels of a round share.
  struct Round {
    cuda::Runtime* runtime;
    cuda::Sweeps* sweeps;
    cuda::Stream stream;
    cuda::TallMatrix B;  // (d, k) device
    const double* B_t;   // (k, d) device
    Index d, k;
    int slots, outer_slot;
    int blocks;  // Method::blocks()
    Cancel* cancel;
  };

  /// The tasks of a panel. `X` has the sets of the tasks, which refer to device memory or to laws.
  struct Panel {
    Index tasks;
    cuda::SampleBlock in, out;         // without `sets`, which Scratch describes
    const cuda::SampleSet *X, *X_out;  // (tasks,) host
    const double* y_in[width];         // (m,) normalised
    const double* y_out[width];
  };

  /// Memory that panels use one after another.
  class Scratch {
   public:
    Scratch(cuda::Runtime& runtime, const Method& method, Index d, Index k, Index most_in,
            Index most_out);
    /// Returns the bytes of device memory of a scratch.
    static double bytes(const Method& method, Index d, Index k, Index most_in, Index most_out);

    /// The vectors of the slots, (width, slots, d), and the coefficients of the terms slot c^T of
    /// (10), (width slots, k) on the device after send_terms().
    const cuda::DeviceArray<double>& vectors() const { return vectors_; }

   private:
    friend class DeviceVectorDesign;
    cuda::DeviceArray<double> vectors_;  // (width, slots, d)
    cuda::DeviceArray<double> U_;        // (width, d)  B V + terms
    cuda::DeviceArray<double> numbers_;  // arguments and results of a sweep
    cuda::PinnedArray<double> host_;     // of the same size
    cuda::DeviceArray<cuda::SampleSet> sets_;
    cuda::PinnedArray<cuda::SampleSet> host_sets_;
    cuda::DeviceArray<char> workspace_;
    std::vector<double> features_;      // (slots, k, width)
    std::vector<double> coefficients_;  // (width, slots, k)
  };

  DeviceVectorDesign(const Round& round, const Panel& panel, Scratch& scratch);

  Index tasks() const { return panel_.tasks; }
  Index m_in() const { return panel_.in.most; }
  Index m_out() const { return panel_.out.most; }
  Index tracked() const { return 0; }

  void residual_in(const double* V, Terms<Columns> terms, int slot, double* r) {
    chain(true, true, V, terms, slot, r);
  }
  void residual_out(const double* V, Terms<Columns> terms, int slot, double* r) {
    chain(false, true, V, terms, slot, r);
  }
  void product_in(const double* V, Terms<Columns> terms, int slot, double* r) {
    chain(true, false, V, terms, slot, r);
  }
  void normal_equations(double* G, double* b);
  void features(int slot, double* out) const {
    const Index size = round_.k * width;
    std::copy_n(scratch_.features_.data() + slot * size, size, out);
  }
  void dot(int a, int b, double* dots);
  void add(int slot, const double* C);

  /// Adds the terms of the panel, multiplied by the shares of the tasks, to grad_B; overwrites
  /// grad_B unless `adds` is true.
  void combine(const double* shares,  // (tasks,) host
               void* grad_B,          // (d, k) device, of the type of B
               bool adds);

 private:
  // The order of the descriptions of sets in Scratch, in groups of `width`.
  Index inner_sets() const { return 0; }
  Index outer_sets() const { return width; }
  Index sets_of_B() const { return 2 * width; }
  Index sets_of_terms() const { return 3 * width; }
  Index sets_of_slot(int slot) const { return (4 + slot) * width; }  // X, written to the slot
  Index slot_as_set(int slot) const { return (4 + round_.slots + slot) * width; }

  void describe();
  /// Makes a block of the sets that begin at `first`.
  cuda::SampleBlock block_of(Index first, Index most, Index rows) const;
  cuda::SampleBlock samples(bool inner, Index first) const;
  /// Sends `count` numbers of the host to numbers_, and copies numbers from the device to the host.
  const double* send(Index count);
  void fetch(Index at, Index count);
  void run(const cuda::FirstSweep& sweep);
  void run(const cuda::TaskSweep& sweep);
  void* workspace(std::size_t bytes);
  void directions(const double* V, Terms<Columns> terms);
  void chain(bool inner, bool with_y, const double* V, Terms<Columns> terms, int slot, double* r);
  void store_slot(bool inner, int slot, const double* r);
  void pull_features(int slot);
  double* vector(int slot, Index task) const {
    return scratch_.vectors_.data() + (task * round_.slots + slot) * round_.d;
  }
  Index m_of(bool inner, Index task) const { return (inner ? panel_.X : panel_.X_out)[task].m; }

  const Round& round_;
  const Panel& panel_;
  Scratch& scratch_;
};

}  // namespace metaspan
