// A trial of the collapsed engine without the algebra of its tasks: the sums of the tasks'
// contributions in the span and off the span, the noise (30) and the step (19). The tasks run on
// the CPU, in collapsed.cpp, or on a device, in device_collapsed.cpp.
#pragma once

#include "metaspan/engines/collapsed.hpp"
#include "metaspan/geometry/off_span.hpp"
#include "metaspan/in_law/collapsed_design.hpp"

namespace metaspan {

/// The factors A of the tasks of a panel, (17) and (18), wherever they were computed.
class PanelFactors {
 public:
  virtual ~PanelFactors() = default;
  /// Selects a group of terms, and returns how many rows its factors have.
  virtual Index select(TermGroup group) = 0;
  /// Copies the factor of task t of the panel, of the selected group.
  virtual void copy(Index t, double* A) const = 0;  // (rows, k) out
};

/// The parts of a panel's tasks off the span that are drawn task by task, and their clipping
/// factors.
struct PanelParts {
  Mat drawn[CollapsedDesign::width];       // see draw_parts()
  double factors[CollapsedDesign::width];  // of (29); 1 where contributions are not clipped
};

class CollapsedTrial : public CollapsedEngine {
 public:
  static constexpr Index kWidth = CollapsedDesign::width;  // tasks of a panel

  /// Computes the shape of the samples once, since it depends on sizes only.
  CollapsedTrial(const Method& method, const SampleLaw& law, State state, HeadSource heads, Index n,
                 std::uint64_t seed, std::uint64_t trial);

  bool step(double factor) override;
  Shape shape() const override { return {heads_.k_star(), state_.Z.rows() - heads_.k_star(), k()}; }
  bool resolves_distance() const override;
  Shape measured_shape() const override {
    return {heads_.k_star(), state_.Z.rows() - heads_.k_star(), method_.columns_of_B(k())};
  }
  const Mat& coordinates(int threads) override;
  const Vec& head() const override { return method_.step.is_plain() ? state_.w : reported_w_; }
  const State& state() const override { return state_; }
  double flops() const override { return flops_; }

  // The parts into which gradient() is split.

  /// The sums of the tasks of a piece, in the order of the tasks.
  struct Piece {
    explicit Piece(const CollapsedTrial& trial)
        : g_w(Vec::Zero(trial.w().size())), rows(trial.k()) {}
    void clear(Index k) {
      g_w.setZero();
      frames.resize(0, k);
      rows.clear();
    }
    Mat G;          // (D, k)
    Vec g_w;        // (parameters,)
    Mat frames;     // (t, k)  the R-factor of (17)
    RowStack rows;  // the stacked [C_i; C'_i] of (18)
  };

  /// Derives the keys of a round, prepares its heads and sizes the requested outputs.
  void begin_round(Index round, const double* heads, TaskOutputs& tasks);
  Index pieces() const { return static_cast<Index>(pieces_.size()); }
  Piece& piece(Index i) { return pieces_[static_cast<std::size_t>(i)]; }
  /// Returns the first panel of a piece; the last panel is the one before the first of the next.
  Index first_panel(Index piece) const { return piece * panels() / pieces(); }
  /// Computes the parts and the clipping factors of a panel's tasks. `squares` are the squared
  /// norms of the tasks' contributions without the parts off the span, and null without clipping.
  void find_parts(PanelFactors& factors, Index first, Index tasks, const double* squares,
                  PanelParts& parts) const;
  /// Adds the contributions of a panel's tasks off the span.
  void add_off_span(PanelFactors& factors, const PanelParts& parts, Index first, Index tasks,
                    Piece& piece) const;
  /// Computes the gradient from the sums of the pieces.
  void end_round();

  Index k() const { return k_; }
  Index n() const { return n_; }
  Index panels() const { return ceil_div(n_, kWidth); }
  /// The first block of the state and its parameters: (B, w) itself. A plain step has no other.
  const Mat& Z() const { return method_.step.is_plain() ? state_.Z : Z_; }
  const Vec& w() const { return method_.step.is_plain() ? state_.w : w_; }
  const Method& method() const { return method_; }
  const SampleLaw& law() const { return law_; }
  const SampleShape& samples() const { return shape_; }
  const HeadSource& heads() const { return heads_; }
  Key samples_key() const { return samples_key_; }
  /// Returns sigma^2 / 2 for each of the three losses whose set has infinitely many samples, since
  /// their residuals do not contain the noise, (1).
  void noise_of_losses(double (&added)[3]) const;
  Index most_out() const { return shape_.rows_of(law_.shared ? shape_.inner : shape_.outer); }
  bool clips() const { return method_.clips(); }
  /// Whether the parts of the tasks off the span are drawn task by task: with xi, (33), and for
  /// clipped tasks of (18), whose norms depend on the drawn parts.
  bool draws_parts() const {
    return shape_.off_span == OffSpan::along_xi ||
           (shape_.off_span == OffSpan::gaussian && clips());
  }

 private:
  /// Whether every task adds a factor off the span in a frame of its own, (17).
  bool adds_frames() const { return shape_.off_span == OffSpan::frames || draws_parts(); }
  void draw_parts(PanelFactors& factors, Index first, Index tasks, Mat* drawn) const;
  template <class Take>
  void each_factor(PanelFactors& factors, TermGroup group, Index tasks, Take&& take) const;
  template <class Take>
  void each_gaussian_factor(PanelFactors& factors, Index tasks, Take&& take) const;
  void sum_pieces();
  void add_noise();
  bool step_with_memory(double factor);
  bool take(Mat next, const Vec& next_w);
  void copy_blocks();

  Method method_;
  SampleLaw law_;
  Index n_;
  std::uint64_t seed_, trial_;
  Index k_;
  State state_;
  // The first block of the state and its parameters, and the parameters of the reported block; not
  // used by plain steps.
  Mat Z_;               // (D, k)
  Vec w_, reported_w_;  // (parameters,)
  Index round_ = 0;     // of the last gradient
  HeadSource heads_;
  Vec steps_;  // outer step sizes of w
  SampleShape shape_;
  double flops_;
  Key samples_key_{}, off_span_key_{}, privacy_key_{};
  std::vector<Piece> pieces_;
  Mat grad_;  // (D, k)
  Vec grad_w_;
  Mat fresh_;  // (t, k)  of the gradient, off the span
  Mat measured_;
  bool is_measured_ = false;
};

/// Returns the groups of terms whose factors a round adds off the span, at most 3, and their
/// number.
int groups_off_span(const Method& method, const SampleLaw& law, const SampleShape& shape,
                    TermGroup (&groups)[3]);

/// Returns the number of pieces of a round, which depends on the number of panels only.
Index pieces_of_collapsed(Index panels);

}  // namespace metaspan
