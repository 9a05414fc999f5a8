// Rounds of many trials of the collapsed engine on a device, (16)-(18): samples in law, the task
// algebra on them, and the factors of the tasks' parts off the span. The host adds these parts and
// takes the steps.
#pragma once

#include <cstdint>

#include "metaspan/algebra/method.hpp"
#include "metaspan/cuda/panels.hpp"
#include "metaspan/cuda/runtime.hpp"
#include "metaspan/in_law/sample_view.hpp"

namespace metaspan::cuda {

/// Part of a round: the tasks [first_task, first_task + tasks) of each of the trials [first_trial,
/// first_trial + trials). Column c is task first_task + c % tasks of trial first_trial + c / tasks,
/// and panel p has the columns 32 p, ..., 32 p + 31. All pointers are to device memory.
struct CollapsedPart {
  Method method;  // without clipping and noise
  Index k, k_star;
  SampleView shape;
  RadiusLaw radius;
  double noise, spread;           // sigma, and tau / sqrt(d) of (33)
  bool shared;                    // the outer samples are the inner samples
  bool losses, adapted, squares;  // whether losses, w_J and squared norms, (29), are wanted
  int groups;                     // of terms off the span, see off_span()
  TermGroup group[3];

  Index n;                    // tasks of a trial
  const std::uint32_t* keys;  // (all trials, 2)          of the samples
  const double* Z;            // (all trials, D, k)       [M; R]
  const double* w;            // (all trials, parameters)
  const double* heads;        // (all trials, n, k_star)

  Index first_trial, trials, first_task, tasks;
  int most_blocks;  // of a launch; 0: one for each block of work

  METASPAN_HD Index columns() const { return trials * tasks; }
  METASPAN_HD Index panels() const { return ceil_div(columns(), kPanelColumns); }
};

/// The rows of the results of a column: row r of column c is at (c / 32 rows + r) 32 + c % 32.
struct CollapsedResults {
  Index factor[3];       // first row of the factor A of each group, k rows for each row of A
  Index factor_rows[3];  // rows of A
  Index squares;         // the squared norm of the task's gradient in the basis and in w
  Index losses;          // the three losses
  Index adapted;         // the k rows of w_J
  Index rows;            // of all results
};

/// Returns the rows of the results of a part.
inline CollapsedResults collapsed_results(const CollapsedPart& part) {
  CollapsedResults results{};
  Index rows = 0;
  for (int i = 0; i < part.groups; ++i) {
    const TermGroup group = part.group[i];
    const bool whole = group == TermGroup::frame || group == TermGroup::both;
    const Index terms = whole                       ? part.method.terms()
                        : group == TermGroup::inner ? part.method.inner_terms()
                        : group == TermGroup::outer ? part.method.outer_terms()
                                                    : 1;
    const Index length = length_off_span(part.shape, group, part.shared);
    results.factor[i] = rows;
    results.factor_rows[i] = terms < length ? terms : length;
    rows += results.factor_rows[i] * part.k;
  }
  results.squares = rows;
  results.losses = results.squares + (part.squares ? 1 : 0);
  results.adapted = results.losses + (part.losses ? 3 : 0);
  results.rows = results.adapted + (part.adapted ? part.k : 0);
  return results;
}

class Collapsed {
 public:
  virtual ~Collapsed() = default;
  /// Returns the numbers of workspace that a column needs.
  virtual Index workspace_rows(const CollapsedPart& part) const = 0;
  /// Draws the samples of all columns, runs the algebra on them, and writes the results.
  virtual void run(const CollapsedPart& part,
                   double* workspace,  // (panels, workspace_rows, 32) out
                   double* results,    // (panels, rows of the results, 32) out
                   Stream stream) = 0;
  /// Adds the terms (10) of the columns, in the span and multiplied by `scales`, and their grad_w
  /// to the sums of the pieces, in the order of the tasks. Piece i of a trial starts at task
  /// 8 floor(i panels / pieces), with panels = ceil(n / 8). `workspace` holds what run() wrote.
  virtual void add(const CollapsedPart& part, const double* workspace,
                   const double* scales,  // (columns,), or null
                   Index pieces,
                   double* G,    // (all trials, pieces, D, k) in and out
                   double* g_w,  // (all trials, pieces, parameters) in and out
                   Stream stream) = 0;
};

}  // namespace metaspan::cuda
