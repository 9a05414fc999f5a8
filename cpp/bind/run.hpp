// The run handle behind train(): what users never see.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "convert_laws.hpp"
#include "metaspan/engines/advance.hpp"

namespace metaspan::bind {

/// Trials of one training run. Advances rounds; knows no clock and no file. Described in _core.pyi.
class Run {
 public:
  Run() = default;
  Run(const Run&) = delete;

  static std::unique_ptr<Run> population(const py::tuple& method, const Array& M, const Array& R,
                                         const Array& w, const py::tuple& law, Index n,
                                         double noise, std::uint64_t seed,
                                         const std::vector<std::uint64_t>& trials,
                                         const std::vector<Index>& rounds,
                                         const std::vector<std::string>& records,
                                         const std::optional<Array>& frames);

  /// Trials with new samples in every round; `kept` rows of [M; R] keep their directions.
  static std::unique_ptr<Run> collapsed(const py::tuple& method, const py::tuple& samples,
                                        const Array& M, const Array& R, const Array& w, Index kept,
                                        const py::tuple& law, Index n, std::uint64_t seed,
                                        const std::vector<std::uint64_t>& trials,
                                        const std::vector<Index>& rounds,
                                        const std::vector<std::string>& records);

  /// Trials with infinitely many tasks a round; `covariance` of their heads.
  static std::unique_ptr<Run> infinite_tasks(const py::tuple& method, Index m_in, double noise,
                                             const Array& covariance, const Array& M,
                                             const Array& R, const std::vector<Index>& rounds,
                                             const std::vector<std::string>& records);

  /// Trials on the data of one batch.
  static std::unique_ptr<Run> arrays(const py::tuple& method, const std::string& route,
                                     const py::tuple& data, const py::dict& state, Index n,
                                     std::uint64_t seed, const std::vector<std::uint64_t>& trials,
                                     const std::vector<Index>& rounds,
                                     const std::vector<std::string>& records, int threads);

  /// Trials on samples at full size that are made anew in every round.
  static std::unique_ptr<Run> sampled(const py::tuple& method, const py::tuple& samples,
                                      const std::optional<Array>& roots,
                                      const std::optional<py::function>& rows,
                                      const py::list& B_star, const py::array& B, const Array& w,
                                      const py::tuple& law, Index n, std::uint64_t seed,
                                      const std::vector<std::uint64_t>& trials,
                                      const std::vector<Index>& rounds,
                                      const std::vector<std::string>& records);

  /// Trials on population losses of features with a diagonal covariance.
  static std::unique_ptr<Run> spectral(const py::tuple& method, const Array& roots, double noise,
                                       const py::list& B_star, const py::array& B, const Array& w,
                                       const py::tuple& law, Index n, std::uint64_t seed,
                                       const std::vector<std::uint64_t>& trials,
                                       const std::vector<Index>& rounds,
                                       const std::vector<std::string>& records);

  void advance(Index end, Index record_every, double stop_dist, double stop_loss,
               const std::optional<Array>& heads, int threads);
  void measure(const std::optional<Array>& heads, int threads);

  py::list rows() const;
  void drop_rows() {
    for (const auto& trial : trials_) trial->drop_rows();
  }
  std::vector<std::string> columns() const;
  std::vector<Index> rounds() const {
    return of_trials<Index>([](const Trial& trial) { return trial.round(); });
  }
  std::vector<int> status() const {
    return of_trials<int>([](const Trial& trial) { return static_cast<int>(trial.status()); });
  }
  py::dict state() const { return state_(); }
  /// B of every trial at full size.
  py::object representation(int threads) const { return representation_(threads); }

 private:
  template <class Body>
  void each_trial(int threads, Body&& body);
  const double* given_heads(const std::optional<Array>& heads, Index rounds) const;
  const Engine& first() const { return trials_.front()->engine(); }
  template <class BScalar>
  void set_representations(Index d);
  void set_records(const std::vector<std::string>& records);
  template <class XScalar, class BScalar>
  void fill_arrays(const Method& method, const std::string& route, const py::tuple& data,
                   const py::dict& state, Index n, std::uint64_t seed,
                   const std::vector<std::uint64_t>& trials, const std::vector<Index>& rounds,
                   int threads);

  template <class Value, class Body>
  std::vector<Value> of_trials(Body&& body) const {
    std::vector<Value> all;
    for (const auto& trial : trials_) all.push_back(body(*trial));
    return all;
  }

  std::shared_ptr<void> held_;  // what the engines refer to: it goes after them
  std::vector<std::unique_ptr<Trial>> trials_;
  Plan plan_;
  std::vector<std::string> names_;
  Index heads_size_ = 0;  // n k_star
  bool shares_store_ = false;
  std::function<py::dict()> state_;
  std::function<py::object(int)> representation_ = [](int) { return py::none(); };
};

}  // namespace metaspan::bind
