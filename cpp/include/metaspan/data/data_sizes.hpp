// The sizes of rounds on samples, from which the costs of the rounds are computed.
#pragma once

#include <cmath>

#include "metaspan/base/base.hpp"

namespace metaspan {

/// Sizes of a round. A size that differs between tasks is given as its mean over the tasks.
struct DataSizes {
  Index d, k, k_star;
  Index n, all_tasks;       // tasks of a round, and tasks among which a round chooses
  double m_in, m_out;       // samples of a task
  bool shared;              // inner and outer sets are the same
  Index number_bytes;       // bytes of one number of X
  Index B_number_bytes;     // bytes of one number of B
  bool stored;              // X is in a store
  bool sparse;              // X is sparse: only its entries are stored
  bool made;                // rows of X are generated when they are needed
  double entries, meeting;  // entries of a sparse row; probability that two share a column
  bool copied;              // the Gram route copies sparse sets by bands where that pays
  double losses, geometry;  // fractions of the rounds that record losses, and that measure B
  double record_calls;      // time of the records of a round, as a number of kernel calls

  double samples_in() const { return std::nearbyint(m_in * static_cast<double>(n)); }
  double samples_out() const { return std::nearbyint(m_out * static_cast<double>(n)); }
  /// Returns the number of samples in a round; samples that serve both loops are counted once.
  double samples() const { return samples_in() + (shared ? 0 : samples_out()); }
  double all_in() const { return std::nearbyint(m_in * static_cast<double>(all_tasks)); }
  /// Returns the number of samples of all tasks; samples that serve both loops are counted once.
  double all_samples() const {
    return all_in() + (shared ? 0 : std::nearbyint(m_out * static_cast<double>(all_tasks)));
  }
  /// Returns the bytes of a row of X.
  double row_bytes() const {
    constexpr auto kColumn = static_cast<double>(sizeof(std::int32_t));
    const auto number = static_cast<double>(number_bytes);
    return sparse ? entries * (number + kColumn) : static_cast<double>(d) * number;
  }
  /// Returns the bytes of X that a pass over the inner and the outer set of a task reads.
  double task_bytes() const { return row_bytes() * (m_in + (shared ? m_in : m_out)); }
  /// Returns the bytes of X of a round.
  double bytes() const { return samples() * row_bytes(); }
};

}  // namespace metaspan
