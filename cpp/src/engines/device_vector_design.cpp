#include "metaspan/engines/device_vector_design.hpp"

#include <algorithm>

#include "cholesky.hpp"
#include "metaspan/data/samples.hpp"
#include "vector.hpp"

namespace metaspan {
namespace {

constexpr int kWidth = DeviceVectorDesign::width;

/// Returns how many numbers the arguments and results of a sweep have at most: one for each sample,
/// each pair of a task and a column of B, or each slot, with k numbers for a sample of Z.
Index numbers_of(const Method& method, Index k, Index most_in, Index most_out) {
  const Index samples = std::max(most_in * (method.solves_head ? k : 1), most_out);
  return 2 * kWidth * std::max(samples, method.slots() * k + k);
}

Index sets_of(const Method& method) { return kWidth * (4 + 2 * method.slots()); }

}  // namespace

DeviceVectorDesign::Scratch::Scratch(cuda::Runtime& runtime, const Method& method, Index d, Index k,
                                     Index most_in, Index most_out)
    : vectors_(runtime, static_cast<std::size_t>(kWidth * method.slots() * d)),
      U_(runtime, static_cast<std::size_t>(kWidth * d)),
      numbers_(runtime, static_cast<std::size_t>(numbers_of(method, k, most_in, most_out))),
      host_(runtime, numbers_.size()),
      sets_(runtime, static_cast<std::size_t>(sets_of(method))),
      host_sets_(runtime, sets_.size()),
      features_(static_cast<std::size_t>(method.slots() * k * kWidth)),
      coefficients_(features_.size()) {}

double DeviceVectorDesign::Scratch::bytes(const Method& method, Index d, Index k, Index most_in,
                                          Index most_out) {
  const auto vectors = static_cast<double>(kWidth * (method.slots() + 1) * d);
  return 8 * (vectors + static_cast<double>(numbers_of(method, k, most_in, most_out))) +
         static_cast<double>(sets_of(method)) * sizeof(cuda::SampleSet);
}

/// Clears the slots, so that sums over all slots of a task may include those that are not written.
DeviceVectorDesign::DeviceVectorDesign(const Round& round, const Panel& panel, Scratch& scratch)
    : round_(round), panel_(panel), scratch_(scratch) {
  round.runtime->clear(scratch.vectors_.data(), scratch.vectors_.size() * sizeof(double),
                       round.stream);
  std::fill(scratch.coefficients_.begin(), scratch.coefficients_.end(), 0.0);
  describe();
}

/// Writes the descriptions of all sets of the panel: the samples of the tasks; B^T, whose k rows
/// are the samples of B V; the slots of a task as samples, and each slot as one sample. For every
/// slot, the samples are described again with the slot as the place of X^T r.
void DeviceVectorDesign::describe() {
  cuda::SampleSet* sets = scratch_.host_sets_.data();
  const Index d = round_.d, k = round_.k;
  Index rows[2] = {0, 0};
  for (Index t = 0; t < panel_.tasks; ++t) {
    const auto task = static_cast<int>(t);
    for (const bool inner : {true, false}) {
      cuda::SampleSet set = (inner ? panel_.X : panel_.X_out)[t];
      set.first_row = rows[inner ? 0 : 1];
      set.task = task;
      rows[inner ? 0 : 1] += set.m;
      sets[(inner ? inner_sets() : outer_sets()) + t] = set;
      for (int slot = 0; slot < round_.slots; ++slot) {
        if (is_outer_slot(slot, round_.outer_slot) == inner) continue;
        set.task = task * round_.slots + slot;
        sets[sets_of_slot(slot) + t] = set;
      }
    }
    sets[sets_of_B() + t] = {round_.B_t, d, t * k, static_cast<int>(k), task, 0, 0};
    sets[sets_of_terms() + t] = {vector(0, t), d, t * round_.slots, round_.slots, task, 0, 0};
    for (int slot = 0; slot < round_.slots; ++slot) {
      sets[slot_as_set(slot) + t] = {vector(slot, t), d, t, 1, task, 0, 0};
    }
  }
  round_.runtime->copy(scratch_.sets_.data(), sets,
                       scratch_.host_sets_.size() * sizeof(cuda::SampleSet), cuda::Copy::to_device,
                       round_.stream);
}

cuda::SampleBlock DeviceVectorDesign::block_of(Index first, Index most, Index rows) const {
  return {scratch_.sets_.data() + first,
          static_cast<int>(panel_.tasks),
          static_cast<int>(most),
          rows,
          cuda::Real::float64,
          false,
          {}};
}

cuda::SampleBlock DeviceVectorDesign::samples(bool inner, Index first) const {
  cuda::SampleBlock block = inner ? panel_.in : panel_.out;
  block.sets = scratch_.sets_.data() + first;
  return block;
}

const double* DeviceVectorDesign::send(Index count) {
  round_.runtime->copy(scratch_.numbers_.data(), scratch_.host_.data(),
                       static_cast<std::size_t>(count) * sizeof(double), cuda::Copy::to_device,
                       round_.stream);
  return scratch_.numbers_.data();
}

/// Copies numbers to the same places of host_, and waits for them.
void DeviceVectorDesign::fetch(Index at, Index count) {
  round_.runtime->copy(scratch_.host_.data() + at, scratch_.numbers_.data() + at,
                       static_cast<std::size_t>(count) * sizeof(double), cuda::Copy::to_host,
                       round_.stream);
  cuda::OwnedEvent(*round_.runtime, round_.stream).await(round_.cancel);
  round_.runtime->synchronise(round_.stream);
}

void* DeviceVectorDesign::workspace(std::size_t bytes) {
  if (bytes > scratch_.workspace_.size()) {
    scratch_.workspace_ = {};
    scratch_.workspace_ = {*round_.runtime, bytes};
  }
  return scratch_.workspace_.data();
}

void DeviceVectorDesign::run(const cuda::FirstSweep& sweep) {
  round_.sweeps->run(sweep, workspace(round_.sweeps->workspace(sweep)), round_.stream);
}

void DeviceVectorDesign::run(const cuda::TaskSweep& sweep) {
  round_.sweeps->run(sweep, workspace(round_.sweeps->workspace(sweep)), round_.stream);
}

/// Computes U = B V + terms, (tasks, d). The first sweep reads B^T once for all tasks; the second
/// reads the slots of each task, which have the factor 0 unless they are terms.
void DeviceVectorDesign::directions(const double* V, Terms<Columns> terms) {
  const Index k = round_.k, slots = round_.slots, tasks = panel_.tasks;
  double* factors = scratch_.host_.data() + tasks * k;
  std::fill_n(factors, tasks * slots, 0.0);
  for (Index t = 0; t < tasks; ++t) {
    for (Index j = 0; j < k; ++j) scratch_.host_.data()[t * k + j] = V[j * width + t];
    for (int l = 0; l < terms.count; ++l) {
      factors[t * slots + terms.slot(l)] += terms.factor(l)[t];
    }
  }
  const double* numbers = send(tasks * (k + slots));
  cuda::TaskSweep sweep{block_of(sets_of_B(), k, tasks * k),
                        round_.d,
                        1,
                        numbers,
                        {nullptr, cuda::Real::float64, 1, 0},
                        scratch_.U_.data(),
                        cuda::Real::float64};
  run(sweep);
  if (terms.count == 0) return;
  sweep.block = block_of(sets_of_terms(), slots, tasks * slots);
  sweep.C = numbers + tasks * k;
  sweep.start = {scratch_.U_.data(), cuda::Real::float64, 1, round_.d};
  run(sweep);
}

/// Computes a product of the Design, in normalised units: u for every task, X u by a first sweep,
/// the residuals on the host, and X^T r and B^T X^T r of the slot.
void DeviceVectorDesign::chain(bool inner, bool with_y, const double* V, Terms<Columns> terms,
                               int slot, double* r) {
  directions(V, terms);
  const Index tasks = panel_.tasks;
  cuda::FirstSweep sweep{};
  sweep.in = samples(inner, inner ? inner_sets() : outer_sets());
  sweep.d = round_.d;
  sweep.B = {scratch_.U_.data(), cuda::Real::float64, 1, round_.d};
  sweep.layout = cuda::Layout::rows;
  sweep.Z_in = scratch_.numbers_.data();
  run(sweep);
  fetch(0, sweep.in.rows);
  const double* X_u = scratch_.host_.data();
  const Index most = inner ? m_in() : m_out();
  std::fill_n(r, most * width, 0.0);
  for (Index t = 0; t < tasks; ++t) {
    const Index m = m_of(inner, t);
    const double* y = inner ? panel_.y_in[t] : panel_.y_out[t];
    for (Index i = 0; i < m; ++i) {
      r[i * width + t] = normalisation(m) * X_u[i] - (with_y ? y[i] : 0);
    }
    X_u += m;
  }
  if (slot == kNoSlot) return;
  store_slot(inner, slot, r);
  pull_features(slot);
}

/// Computes the vector X^T r of a slot for every task. With fresh steps, only the rows of one block
/// enter, see keep_block().
void DeviceVectorDesign::store_slot(bool inner, int slot, const double* r) {
  const bool keeps_block = round_.blocks > 1 && slot < round_.outer_slot;
  double* scaled = scratch_.host_.data();
  for (Index t = 0; t < panel_.tasks; ++t) {
    const Index m = m_of(inner, t);
    for (Index i = 0; i < m; ++i) {
      double factor = normalisation(m);
      if (keeps_block) factor *= i * round_.blocks / m == slot ? round_.blocks : 0;
      *scaled++ = factor * r[i * width + t];
    }
  }
  const cuda::SampleBlock block = samples(inner, sets_of_slot(slot));
  cuda::TaskSweep sweep{block,
                        round_.d,
                        1,
                        send(block.rows),
                        {nullptr, cuda::Real::float64, 1, 0},
                        scratch_.vectors_.data(),
                        cuda::Real::float64};
  run(sweep);
}

/// Computes B^T slot, (k, width): the vectors of the slot are samples, one for each task.
void DeviceVectorDesign::pull_features(int slot) {
  const Index k = round_.k;
  cuda::FirstSweep sweep{};
  sweep.in = block_of(slot_as_set(slot), 1, panel_.tasks);
  sweep.d = round_.d;
  sweep.B = round_.B;
  sweep.layout = cuda::Layout::rows;
  sweep.Z_in = scratch_.numbers_.data();
  run(sweep);
  fetch(0, panel_.tasks * k);
  double* all = scratch_.features_.data() + slot * k * width;
  for (Index t = 0; t < panel_.tasks; ++t) {
    for (Index j = 0; j < k; ++j) all[j * width + t] = scratch_.host_.data()[t * k + j];
  }
}

/// Computes the inner products of two slots, (width,): the vectors of `a` are samples, and those of
/// `b` are columns, one for each task.
void DeviceVectorDesign::dot(int a, int b, double* dots) {
  cuda::FirstSweep sweep{};
  sweep.in = block_of(slot_as_set(a), 1, panel_.tasks);
  sweep.d = round_.d;
  sweep.B = {vector(b, 0), cuda::Real::float64, 1, round_.slots * round_.d};
  sweep.layout = cuda::Layout::rows;
  sweep.Z_in = scratch_.numbers_.data();
  run(sweep);
  fetch(0, panel_.tasks);
  std::fill_n(dots, width, 0.0);
  std::copy_n(scratch_.host_.data(), panel_.tasks, dots);
}

/// Computes Z^T Z and Z^T y of (26), in normalised units, from Z = X B of every task.
void DeviceVectorDesign::normal_equations(double* G, double* b) {
  const Index k = round_.k, size = kernels::triangle(k);
  cuda::FirstSweep sweep{};
  sweep.in = samples(true, inner_sets());
  sweep.d = round_.d;
  sweep.B = round_.B;
  sweep.layout = cuda::Layout::rows;
  sweep.Z_in = scratch_.numbers_.data();
  run(sweep);
  fetch(0, sweep.in.rows * k);
  std::fill_n(G, size * width, 0.0);
  std::fill_n(b, k * width, 0.0);
  std::vector<double> of_task(static_cast<std::size_t>(size)), column(static_cast<std::size_t>(k));
  const double* Z = scratch_.host_.data();
  for (Index t = 0; t < panel_.tasks; ++t) {
    const Index m = m_of(true, t);
    const double scale = normalisation(m);
    std::fill(of_task.begin(), of_task.end(), 0.0);
    for (Index i = 0; i < m; ++i) kernels::add_outer<1>(k, Z + i * k, of_task.data());
    kernels::transposed_times(m, k, Z, panel_.y_in[t], column.data());
    for (Index i = 0; i < size; ++i) {
      G[i * width + t] = scale * scale * of_task[static_cast<std::size_t>(i)];
    }
    for (Index j = 0; j < k; ++j) b[j * width + t] = scale * column[static_cast<std::size_t>(j)];
    Z += m * k;
  }
}

/// Keeps c of the term slot c^T until combine().
void DeviceVectorDesign::add(int slot, const double* C) {
  for (Index t = 0; t < panel_.tasks; ++t) {
    double* out = scratch_.coefficients_.data() + (t * round_.slots + slot) * round_.k;
    for (Index j = 0; j < round_.k; ++j) out[j] = C[j * width + t];
  }
}

/// Adds sum v c^T over the terms of all tasks, (10), by a second sweep whose samples are the slots.
void DeviceVectorDesign::combine(const double* shares, void* grad_B, bool adds) {
  const Index of_task = round_.slots * round_.k;
  for (Index t = 0; t < panel_.tasks; ++t) {
    for (Index i = t * of_task; i < (t + 1) * of_task; ++i) {
      scratch_.host_.data()[i] = shares[t] * scratch_.coefficients_[static_cast<std::size_t>(i)];
    }
  }
  const cuda::SecondSweep sweep{
      block_of(sets_of_terms(), round_.slots, panel_.tasks * round_.slots),
      round_.d,
      static_cast<int>(round_.k),
      send(panel_.tasks * of_task),
      adds ? grad_B : nullptr,
      grad_B,
      round_.B.type};
  round_.sweeps->run(sweep, workspace(round_.sweeps->workspace(sweep)), round_.stream);
}

}  // namespace metaspan
