#include "metaspan/random/heads.hpp"

#include <cmath>
#include <utility>

#include "heads.hpp"
#include "metaspan/base/error.hpp"
#include "normal.hpp"

namespace metaspan {

/// Prepares the heads w_star of one trial. If the heads come from a table, each round takes n rows
/// of the table, chosen without replacement, or all rows in order.
HeadSource::HeadSource(HeadLaw law, Index n, std::uint64_t seed, std::uint64_t trial)
    : law_(std::move(law)), seed_(seed), trial_(trial) {
  if (law_.kind != HeadLaw::Kind::table) return;
  require(law_.table.rows() >= n && law_.table.cols() == law_.k_star,
          "the table of heads must have k_star columns and at least n rows");
  choice_ = RoundChoice(law_.table.rows(), n, seed, trial);
}

/// Prepares a round: selects rows of a table, takes the heads that the caller passes, or derives
/// the key from which the heads are drawn. Everything that the tasks of a round share is prepared
/// here. Therefore panel() is const, and several threads may call panel() at the same time.
void HeadSource::begin_round(Index round, const double* heads) {
  switch (law_.kind) {
    case HeadLaw::Kind::given:
      require(heads != nullptr, "heads must be given for every round");
      rows_ = heads;
      return;
    case HeadLaw::Kind::table:
      rows_ = law_.table.data();
      taken_ = choice_.take(round);
      return;
    default:
      key_ = derive_key(seed_, trial_, static_cast<std::uint64_t>(round), Stream::heads);
  }
}

/// Writes the heads of the tasks [first, first + tasks) as a panel, (k_star, width), with one task
/// in each column; columns without a task are set to zero. A head is a function of (seed, trial,
/// round, task), so the bits of a head do not depend on the width of the panel.
void HeadSource::panel(Index first, Index tasks, Index width, double* out) const {
  const Index k_star = law_.k_star;
  if (draws()) {
    draw(first, tasks, width, out);
    place(out, width);
  } else {
    for (Index t = 0; t < tasks; ++t) {
      const Index row = taken_[first + t];
      for (Index i = 0; i < k_star; ++i) out[i * width + t] = rows_[row * k_star + i];
    }
  }
  for (Index i = 0; tasks < width && i < k_star; ++i) {
    std::fill(out + i * width + tasks, out + (i + 1) * width, 0.0);
  }
}

/// Writes the heads of several trials side by side. The heads are drawn from the keys of all trials
/// in one call of a kernel, or copied from the table or the given heads of each trial. A drawn head
/// is a function of (seed, trial, round, task), and place() computes each column independently of
/// all other columns, so the bits equal those of panel().
void HeadSource::panels_of_trials(const TrialRound* rounds, Index n, double* out) {
  constexpr Index kWidth = kernels::kTrials;
  const HeadSource* some = nullptr;
  std::uint64_t trials[kWidth] = {}, numbers[kWidth] = {}, keys[2][kWidth];
  for (Index t = 0; t < kWidth; ++t) {
    if (rounds[t].source == nullptr) continue;
    some = rounds[t].source;
    trials[t] = some->trial_;
    numbers[t] = static_cast<std::uint64_t>(rounds[t].round);
  }
  const Index rows = rows_of_a_trial(some->k_star());
  if (some->draws()) {
    derive_keys(some->seed_, Stream::heads, kWidth, trials, numbers, keys[0], keys[1]);
    kernels::normals_of_trials(keys[0], keys[1], n, rows / 2, out);
    for (Index i = 0; i < n; ++i) some->place(out + i * rows * kWidth, kWidth);
    return;
  }
  for (Index t = 0; t < kWidth; ++t) {
    HeadSource* source = rounds[t].source;
    if (source == nullptr) continue;
    source->begin_round(rounds[t].round, rounds[t].heads);
    for (Index i = 0; i < n; ++i) {
      const double* head = source->rows_ + source->taken_[i] * source->k_star();
      for (Index j = 0; j < source->k_star(); ++j) out[(i * rows + j) * kWidth + t] = head[j];
    }
  }
}

/// Returns the heads of the tasks 0 .. n - 1 as rows, (n, k_star), by calling panel(), so that the
/// same code draws the heads of every engine.
Mat HeadSource::rows(Index n) const {
  constexpr Index kWidth = 16;
  Mat out(n, law_.k_star), some(law_.k_star, kWidth);
  for (Index first = 0; first < n; first += kWidth) {
    const Index tasks = std::min(kWidth, n - first);
    panel(first, tasks, kWidth, some.data());
    out.middleRows(first, tasks) = some.leftCols(tasks).transpose();
  }
  return out;
}

/// Draws the standard normals of a panel. Entries 2p and 2p + 1 of task i are the pair of normals
/// of the counter (i, p, 0, 0). A panel has kNarrow or kWide columns.
void HeadSource::draw(Index first, Index tasks, Index width, double* out) const {
  const auto task = static_cast<std::uint32_t>(first);
  switch (width) {
    case 2:
      return kernels::normal_panel<2>(key_.words, task, 0, tasks, law_.k_star, out);
    case 4:
      return kernels::normal_panel<4>(key_.words, task, 0, tasks, law_.k_star, out);
    case 8:
      return kernels::normal_panel<8>(key_.words, task, 0, tasks, law_.k_star, out);
    default:
      return kernels::normal_panel<16>(key_.words, task, 0, tasks, law_.k_star, out);
  }
}

/// Transforms the standard normals of a panel in place into heads of the required distribution.
void HeadSource::place(double* out, Index width) const {
  const auto data = [](const auto& values) { return values.size() > 0 ? values.data() : nullptr; };
  const kernels::HeadShape shape{law_.kind == HeadLaw::Kind::sphere,
                                 law_.k_star,
                                 law_.radius,
                                 data(law_.mean),
                                 data(law_.scale),
                                 data(law_.factor)};
  kernels::place_heads<double>(shape, width, width, out);
}

}  // namespace metaspan
