// The tasks' heads w_star: their distributions, and the source of the heads of each round.
#pragma once

#include "metaspan/random/round_choice.hpp"

namespace metaspan {

/// A distribution of the heads w_star, or a table of heads.
struct HeadLaw {
  enum class Kind {
    gaussian,  // mean + factor g with g standard normal
    sphere,    // uniform on the sphere of radius `radius`
    table,     // rows of `table`: all in order, or n per round without replacement
    given,     // the caller passes the heads of each round
  };
  Kind kind = Kind::gaussian;
  Index k_star = 0;
  Vec mean;    // (k_star,); empty: 0
  Vec scale;   // (k_star,) diagonal factor; empty: none
  Mat factor;  // (k_star, k_star) lower triangular factor; empty: none
  double radius = 1;
  Mat table;  // (N, k_star)
};

/// The heads of one trial. The head of a task depends on the seed, trial, round and task alone, not
/// on the panel in which it is requested.
class HeadSource {
 public:
  HeadSource(HeadLaw law, Index n, std::uint64_t seed, std::uint64_t trial);

  /// Selects the heads of a round, or derives the key from which the heads are drawn. Call
  /// begin_round() before panel() and rows(). For Kind::given, `heads` (n, k_star) are the heads of
  /// the round and must stay valid during the round. For all other kinds, `heads` is null.
  void begin_round(Index round, const double* heads);

  /// Writes the heads of tasks [first, first + tasks) as the columns of a panel, and zeros in the
  /// remaining columns. Allocates no memory, and may be called from several threads.
  void panel(Index first, Index tasks, Index width,
             double* out) const;  // (k_star, width)

  /// One column of a panel of trials: the source of the trial's heads, or null if the column is
  /// empty, and the round of the trial.
  struct TrialRound {
    HeadSource* source = nullptr;
    Index round = 0;
    const double* heads = nullptr;  // as in begin_round()
  };
  /// Writes the heads of tasks [0, n) in kernels::kTrials trials, one trial per column, with the
  /// same bits as panel(). All sources must have the same law, except that each source may have its
  /// own table. Allocates no memory.
  static void panels_of_trials(const TrialRound* rounds,  // (kTrials,)
                               Index n,
                               double* out);  // (n, rows_of_a_trial(k_star), kTrials)
  /// The number of rows that a task takes in the output of panels_of_trials(): k_star and, if
  /// k_star is odd, one more row of scratch memory.
  static Index rows_of_a_trial(Index k_star) { return round_up(k_star, 2); }

  /// Returns the heads of tasks [0, n), (n, k_star).
  Mat rows(Index n) const;

  Index k_star() const { return law_.k_star; }
  /// Whether heads are drawn, and neither passed by the caller nor taken from a table.
  bool draws() const {
    return law_.kind == HeadLaw::Kind::gaussian || law_.kind == HeadLaw::Kind::sphere;
  }
  const HeadLaw& law() const { return law_; }
  std::uint64_t seed() const { return seed_; }
  std::uint64_t trial() const { return trial_; }

 private:
  void draw(Index first, Index tasks, Index width, double* out) const;  // standard normals
  void place(double* out, Index width) const;  // transforms standard normals to the law, in place

  HeadLaw law_;
  std::uint64_t seed_, trial_;
  RoundChoice choice_;  // of rows of the table
  Key key_{};
  const double* rows_ = nullptr;  // the caller's heads, or the table
  TaskSelection taken_;           // rows of rows_ that the round uses
};

}  // namespace metaspan
