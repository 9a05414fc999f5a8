// The tasks' heads w_star: laws, tables and where a round's heads come from.
#pragma once

#include "metaspan/random/round_choice.hpp"

namespace metaspan {

struct HeadLaw {
  enum class Kind {
    gaussian,  // mean + factor g, g standard normal
    sphere,    // uniform on the sphere of the radius
    table,     // rows of `table`: all of them in order, or n without replacement
    given,     // handed in, round by round
  };
  Kind kind = Kind::gaussian;
  Index k_star = 0;
  Vec mean;    // (k_star,), empty: 0
  Vec scale;   // (k_star,), a diagonal factor; empty: none
  Mat factor;  // (k_star, k_star) lower triangular; empty: none
  double radius = 1;
  Mat table;  // (N, k_star)
};

/// One trial's heads: the same numbers for a task whatever the panels it is served in.
class HeadSource {
 public:
  HeadSource(HeadLaw law, Index n, std::uint64_t seed, std::uint64_t trial);

  /// To be called once a round, before panel(). `given` is (n, k_star) for heads that are handed
  /// in, else null.
  void begin_round(Index round, const double* given);

  /// Heads of the tasks first .. first + tasks - 1 as a panel; the columns past them are zero.
  /// Allocates nothing, and may be called by several threads.
  void panel(Index first, Index tasks, Index width,
             double* out) const;  // (k_star + 1, width): the last row is scratch

  /// Heads of the tasks 0 .. n - 1, (n, k_star).
  Mat rows(Index n) const;

  Index k_star() const { return law_.k_star; }

 private:
  void draw(Index first, Index width, double* out) const;
  void place(double* out, Index width) const;

  HeadLaw law_;
  std::uint64_t seed_, trial_;
  RoundChoice choice_;  // from the table
  Key key_{};
  const double* rows_ = nullptr;  // of `given` or the table
  TaskSelection taken_;           // of them
};

}  // namespace metaspan
