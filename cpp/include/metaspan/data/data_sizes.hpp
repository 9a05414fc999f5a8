// The sizes of rounds on samples, for what they take.
#pragma once

#include <cmath>

#include "metaspan/base/base.hpp"

namespace metaspan {

/// Sizes on average over the tasks.
struct DataSizes {
  Index d, k, k_star;
  Index n, all_tasks;       // tasks of a round, and those it chooses from
  double m_in, m_out;       // samples of a task
  bool shared;              // inner and outer sets are one
  Index number_bytes;       // of a number of X
  Index B_number_bytes;     // of a number of B
  bool stored;              // X is in a store
  bool sparse;              // entries alone are stored
  double entries, meeting;  // of a sparse row; probability that two are in the same column
  double losses, geometry;  // share of the rounds that record losses, or something of B
  double record_calls;      // of kernels, that the records of a round take as long as

  double samples_in() const { return std::nearbyint(m_in * static_cast<double>(n)); }
  double samples_out() const { return std::nearbyint(m_out * static_cast<double>(n)); }
  /// Of a round, each once.
  double samples() const { return samples_in() + (shared ? 0 : samples_out()); }
  double all_in() const { return std::nearbyint(m_in * static_cast<double>(all_tasks)); }
  /// Of all tasks, each once.
  double all_samples() const {
    return all_in() + (shared ? 0 : std::nearbyint(m_out * static_cast<double>(all_tasks)));
  }
  double row_bytes() const {
    constexpr auto kColumn = static_cast<double>(sizeof(std::int32_t));
    const auto number = static_cast<double>(number_bytes);
    return sparse ? entries * (number + kColumn) : static_cast<double>(d) * number;
  }
  /// Of X, that a pass over a task's inner and outer set reads.
  double task_bytes() const { return row_bytes() * (m_in + (shared ? m_in : m_out)); }
  /// Of X of a round.
  double bytes() const { return samples() * row_bytes(); }
};

}  // namespace metaspan
