#include "metaspan/sweeps/routes.hpp"

#include <algorithm>

#include "metaspan/algebra/task_algebra.hpp"
#include "metaspan/base/error.hpp"
#include "metaspan/base/parallel.hpp"
#include "metaspan/sweeps/round_means.hpp"
#include "metaspan/sweeps/vector_design.hpp"
#include "metaspan/sweeps/vector_plan.hpp"
#include "sweep.hpp"

namespace metaspan {
namespace {

/// Number of columns of B^T that are filled at a time.
constexpr Index kColumns = 256;

/// The Gram route of (11). A first sweep computes Z, Z' and, for MAML, K and K', (5). The algebra
/// then processes these matrices one task at a time, and a second sweep applies (10). If X is in a
/// store, tasks are processed in blocks.
template <class XScalar, class BScalar>
class GramRoute final : public Route<XScalar, BScalar> {
 public:
  GramRoute(const Method& method, const TaskSet<XScalar>& tasks, Index k)
      : method_(method), tasks_(tasks), shard_(tasks.shard()), k_(k) {}

  /// Computes grad_B (d, k) and grad_w of (10), block by block. In both sweeps, threads divide the
  /// pieces of X among them; between the sweeps, threads divide the tasks among them. The terms of
  /// each block are added to the grad_B of the blocks before it, and means over tasks add the tasks
  /// in order, so the bits do not depend on the number of threads.
  void gradient(const BScalar* B, const double* w, const TaskSelection& taken, bool losses,
                BScalar* grad_B, RoundOutputs& out, int threads, Cancel* cancel) override {
    const Index n = taken.n;
    while (static_cast<int>(workspaces_.size()) < threads) {
      workspaces_.emplace_back(method_, k_, tasks_.most_in(), tasks_.most_out());
    }
    RoundMeans means(out, n, k_, grad_B == nullptr ? 0 : method_.parameters(k_), losses,
                     weights_of(tasks_, taken));
    const auto blocks = blocks_of<BScalar>(tasks_, taken, k_, n);
    each_block(
        tasks_, taken, blocks, [&](const auto& held, const TaskSelection& now, const Block& block) {
          sweep(B, held, now, losses, threads, cancel);
          parallel_for(threads, block.count, cancel, [&](Index i, int thread) {
            DenseWorkspace& workspace = workspaces_[static_cast<std::size_t>(thread)];
            TaskProducts& task = products_[static_cast<std::size_t>(i)];
            run_task(held.in(now[i]), held.out(now[i]), task, workspace, w, losses,
                     grad_B != nullptr);
            means.take(workspace.algebra, block.first + i, 1, losses);
            // The factors C are multiplied by the task's share of the mean, (47), and by
            // 1 / sqrt(m), since the second sweep does not scale X.
            const double share = tasks_.weight(taken[block.first + i]) / static_cast<double>(n);
            task.C_in.scale(share * normalisation(task.C_in.m()));
            task.C_out.scale(share * normalisation(task.C_out.m()));
          });
          throw_if_requested(cancel);
          if (grad_B == nullptr) return;
          std::vector<Part<XScalar>> parts;
          for (Index i = 0; i < block.count; ++i) {
            const TaskProducts& task = products_[static_cast<std::size_t>(i)];
            if (method_.has_inner_part()) parts.push_back({&held.in(now[i]), &task.C_in});
            if (method_.has_outer_part()) parts.push_back({&held.out(now[i]), &task.C_out});
          }
          second_sweep<XScalar, BScalar>(parts, tasks_.d, k_, block.first > 0 ? grad_B : nullptr,
                                         grad_B, threads, cancel);
        });
    means.finish();
  }

 private:
  /// Makes the first sweep over the tasks of a block.
  void sweep(const BScalar* B, const TaskSet<XScalar>& held, const TaskSelection& now, bool losses,
             int threads, Cancel* cancel) {
    first_sweep<XScalar, BScalar>(B, k_, held, now, grams_needed(method_, losses), shard_, threads,
                                  cancel, products_);
  }

  /// Runs the algebra (5)-(10) on one task. The matrices from the first sweep are scaled to the
  /// units of the algebra before the algebra runs, in which no number of samples appears
  /// (*Scaling*). C and C' are stored for the second sweep.
  void run_task(const Samples<XScalar>& in, const Samples<XScalar>& out, TaskProducts& task,
                DenseWorkspace& workspace, const double* w, bool losses, bool gradient) {
    const double scale_in = normalisation(in.m), scale_out = normalisation(out.m);
    task.Z_in *= scale_in;
    task.Z_out *= scale_out;
    if (task.K.size() > 0) task.K *= scale_in * scale_in;
    if (task.K_cross.size() > 0) task.K_cross *= scale_in * scale_out;
    if (task.K_outer.size() > 0) task.K_outer *= scale_out * scale_out;
    task.C_in.reset(in.m, k_, method_.inner_terms());
    task.C_out.reset(out.m, k_, method_.outer_terms());
    normalise_y(in, task.y_in);
    normalise_y(out, task.y_out);
    DenseDesign design(k_, method_.inner_steps,
                       {in.m, out.m, task.Z_in.data(), task.y_in.data(), task.Z_out.data(),
                        task.y_out.data(), task.K.data(), in.m, task.K_cross.data(), in.m,
                        &task.C_in, &task.C_out, task.K_outer.data(), out.m, method_.blocks()},
                       workspace.scratch);
    if (gradient) {
      workspace.algebra.gradient(design, w, losses);
    } else {
      workspace.algebra.outputs(design, w, losses);
    }
  }

  Method method_;
  const TaskSet<XScalar>& tasks_;
  Shard shard_;
  Index k_;
  std::vector<DenseWorkspace> workspaces_;  // of each thread
  std::vector<TaskProducts> products_;      // of the tasks of a block
};

/// The vector route of (11). K is not computed, and Z is computed only for the inner sets of ANIL
/// if B has few columns. Tasks are processed in panels, and each task takes a chain of sweeps X u
/// and X^T r over its data. The vectors v of the gradient terms v c^T, (10), are stored for all
/// tasks of a block. At the end of a block, one second sweep adds all terms of the block to grad_B.
/// If the terms of each task were added separately, grad_B would be read and written once for each
/// task.
template <class XScalar, class BScalar>
class VectorRoute final : public Route<XScalar, BScalar> {
 public:
  VectorRoute(const Method& method, const TaskSet<XScalar>& tasks, Index k, bool in_float32)
      : method_(method),
        tasks_(tasks),
        shard_(tasks.shard()),
        k_(k),
        in_float32_(in_float32),
        plan_(method, shard_.d(), k, tasks.size(),
              tasks.is_sparse() || tasks.is_made()
                  ? 0
                  : static_cast<Index>(sizeof(XScalar)) * shard_.d()),
        task_bytes_(
            static_cast<double>(tasks.most_bytes(tasks.inner) + tasks.most_bytes(tasks.outer))),
        B_t_(new double[static_cast<std::size_t>(k * tasks.d)]),
        B_w_(new double[static_cast<std::size_t>(tasks.d)]) {
    vectors_.reset(new double[static_cast<std::size_t>(plan_.block * plan_.terms * tasks.d)]);
  }

  /// Computes grad_B (d, k) and grad_w of (10), block by block. Groups of threads take panels in
  /// any order. The vectors of a panel have fixed places in the memory of the block, so the second
  /// sweep adds these vectors in the order of the tasks.
  void gradient(const BScalar* B, const double* w, const TaskSelection& taken, bool losses,
                BScalar* grad_B, RoundOutputs& out, int threads, Cancel* cancel) override {
    prepare(B, w, threads);
    const Index n = taken.n;
    const Sharing sharing = shared(n, threads);
    const typename Design::Round round = round_of(w, sharing, cancel);
    RoundMeans means(out, n, k_, grad_B == nullptr ? 0 : method_.parameters(k_), losses,
                     weights_of(tasks_, taken));
    const auto blocks = blocks_of<BScalar>(tasks_, taken, k_, plan_.block);
    each_block(
        tasks_, taken, blocks, [&](const auto& held, const TaskSelection& now, const Block& block) {
          const auto [first, count] = block;
          coefficients_.assign(static_cast<std::size_t>(count * plan_.terms * padded(k_)), 0.0);
          parallel_for(
              sharing.groups, ceil_div(count, plan_.panel), cancel, [&](Index p, int thread) {
                Workspace& workspace = workspaces_[static_cast<std::size_t>(thread)];
                const typename Design::Panel panel =
                    panel_of(held, now, p * plan_.panel, p * plan_.panel);
                Design design(round, panel, workspace.scratch);
                if (grad_B == nullptr) {
                  workspace.algebra.outputs(design, w, losses);
                } else {
                  workspace.algebra.gradient(design, w, losses);
                  design.finish();
                }
                means.take(workspace.algebra, block.first + p * plan_.panel, panel.tasks, losses);
              });
          throw_if_requested(cancel);
          if (grad_B == nullptr) return;
          scale_terms(taken, block);
          add_block(count * plan_.terms, first > 0, grad_B, threads, cancel);
        });
    means.finish();
  }

  /// Runs only the inner loop (2), for methods whose inner loop does not move B, and writes w_J of
  /// all tasks, (n, k). If X is in a store, one block is processed after another. No gradient term
  /// is written, so all panels may be given the same memory for terms.
  void adapt(const BScalar* B, const double* w, double* w_J, int threads, Cancel* cancel) {
    prepare(B, w, threads);
    const TaskSelection every{tasks_.size()};
    const Sharing sharing = shared(every.n, threads);
    const typename Design::Round round = round_of(w, sharing, cancel);
    const auto blocks = blocks_of<BScalar>(tasks_, every, k_, every.n);
    each_block(
        tasks_, every, blocks, [&](const auto& held, const TaskSelection& now, const Block& block) {
          parallel_for(sharing.groups, ceil_div(block.count, plan_.panel), cancel,
                       [&](Index p, int thread) {
                         Workspace& workspace = workspaces_[static_cast<std::size_t>(thread)];
                         const Index at = p * plan_.panel;
                         const typename Design::Panel panel = panel_of(held, now, at, 0);
                         Design design(round, panel, workspace.scratch);
                         workspace.algebra.adapt(design, w);
                         const auto adapted = workspace.algebra.adapted();
                         for (Index t = 0; t < panel.tasks; ++t) {
                           double* head = w_J + (block.first + at + t) * k_;
                           for (Index j = 0; j < k_; ++j) head[j] = adapted[j * Design::width + t];
                         }
                       });
          throw_if_requested(cancel);
        });
  }

 private:
  using Design = VectorDesign<XScalar>;

  /// Chooses how threads share the work of a round, and allocates a workspace for each group of
  /// threads.
  Sharing shared(Index n, int threads) {
    Sharing sharing = sharing_of(plan_, n, task_bytes_, tasks_.is_sparse(), threads);
    if (shard_.is_shared()) sharing = {1, threads};  // panels in order, for their exchanges
    while (static_cast<int>(workspaces_.size()) < sharing.groups) {
      workspaces_.emplace_back(*this);
    }
    return sharing;
  }

  /// Collects the arguments that the panels of a round share.
  typename Design::Round round_of(const double* w, const Sharing& sharing, Cancel* cancel) const {
    return {B_t_.get(),
            w,
            B_w_.get(),
            &shard_,
            shard_.pieces(kVectorPiece),
            tasks_.d,
            k_,
            method_.inner_steps,
            plan_.features,
            in_float32_,
            tasks_.truth,
            sharing.shares,
            cancel,
            method_.blocks(),
            static_cast<double>(tasks_.size()) * task_bytes_ > kKeptBytes};
  }

  /// The memory of a group of threads: the algebra of a panel, the vectors of the panel and, if
  /// rows are generated, memory for generated rows.
  struct Workspace {
    explicit Workspace(const VectorRoute& route)
        : algebra(route.method_, route.k_, route.tasks_.most_in(), route.tasks_.most_out()),
          scratch(route.method_, route.plan_.features, route.plan_.most, route.tasks_, route.k_) {
      if (!route.tasks_.is_made()) return;
      scratch.make_room(route.plan_.most, route.shard_, route.tasks_.most_in(),
                        route.method_.passes_again(),
                        route.tasks_.in(0).template has<SourcedRows>());
    }
    TaskAlgebra<Design> algebra;
    typename Design::Scratch scratch;
  };

  /// Describes the panel of tasks that starts at `at`. The memory for the terms of the panel starts
  /// at the rows of task `row` of the block.
  typename Design::Panel panel_of(const TaskSet<XScalar>& tasks, const TaskSelection& taken,
                                  Index at, Index row) {
    typename Design::Panel panel{std::min(plan_.panel, taken.n - at),
                                 {},
                                 {},
                                 {},
                                 plan_.terms,
                                 method_.has_inner_part(),
                                 vectors_.get() + row * plan_.terms * tasks_.d,
                                 coefficients_.data() + row * plan_.terms * padded(k_)};
    for (Index t = 0; t < panel.tasks; ++t) {
      panel.places[t] = taken[at + t];
      panel.inner[t] = &tasks.in(taken[at + t]);
      panel.outer[t] = tasks.outer.empty() ? panel.inner[t] : &tasks.out(taken[at + t]);
    }
    return panel;
  }

  /// Computes B^T (k, d) in double and B w (d,), once a round. B^T is stored because sweeps over d
  /// read the rows of B^T contiguously. B is transposed tile by tile, so that a tile of B stays in
  /// the cache while its columns are read. In the first inner step of every task, the vector u of X
  /// u is B w, (2).
  void prepare(const BScalar* B, const double* w, int threads) {
    const Index d = tasks_.d;
    parallel_for(threads, ceil_div(d, kColumns), [&](Index tile, int) {
      const Index end = std::min(d, (tile + 1) * kColumns);
      for (Index j = 0; j < k_; ++j) {
        double* row = B_t_.get() + j * d;
        for (Index i = tile * kColumns; i < end; ++i) row[i] = static_cast<double>(B[i * k_ + j]);
      }
      kernels::sweep_combine<false>(k_, end - tile * kColumns, B_t_.get() + tile * kColumns, d, w,
                                    B_w_.get() + tile * kColumns);
    });
  }

  /// Multiplies the vectors c of a block by each task's share of the mean, (47).
  void scale_terms(const TaskSelection& taken, const Block& block) {
    for (double& c : coefficients_) c /= static_cast<double>(taken.n);
    const Index size = plan_.terms * padded(k_);
    for (Index i = 0; i < block.count && !tasks_.weights.empty(); ++i) {
      MutVec(coefficients_.data() + i * size, size) *= tasks_.weight(taken[block.first + i]);
    }
  }

  /// Computes grad_B = [grad_B +] sum v c^T over the terms of a block, (10), as a second sweep over
  /// a matrix whose rows are the vectors v. Each part of this sweep has kTermRows vectors v as its
  /// rows, and the vectors c of these terms as its factor C.
  void add_block(Index rows, bool add, BScalar* grad_B, int threads, Cancel* cancel) {
    const Index d = tasks_.d;
    std::vector<Samples<double>> sets;
    std::vector<Factors> factors;
    for (Index row = 0; row < rows; row += kTermRows) {
      const Index count = std::min(kTermRows, rows - row);
      sets.push_back({DenseRows<double>{vectors_.get() + row * d, d}, nullptr, count});
      factors.emplace_back().borrow(coefficients_.data() + row * padded(k_), count, k_);
    }
    std::vector<Part<double>> parts;
    for (std::size_t p = 0; p < sets.size(); ++p) parts.push_back({&sets[p], &factors[p]});
    second_sweep<double, BScalar>(parts, d, k_, add ? grad_B : nullptr, grad_B, threads, cancel);
  }

  static constexpr Index kTermRows = 32;  // vectors of a part: a tile stays in the L2 cache

  Method method_;
  const TaskSet<XScalar>& tasks_;
  Shard shard_;
  Index k_;
  bool in_float32_;
  VectorPlan plan_;
  double task_bytes_;                  // bytes of the largest inner and the largest outer X
  std::unique_ptr<double[]> B_t_;      // (k, d)
  std::unique_ptr<double[]> B_w_;      // (d,)
  std::unique_ptr<double[]> vectors_;  // (block, rows, d)
  std::vector<double> coefficients_;   // (block, rows, padded(k))
  std::vector<Workspace> workspaces_;
};

}  // namespace

/// Throws an exception for sparse rows with sums in single precision, since there is no kernel for
/// this combination.
template <class XScalar, class BScalar>
std::unique_ptr<Route<XScalar, BScalar>> make_route(RouteKind kind, const Method& method,
                                                    const TaskSet<XScalar>& tasks, Index k) {
  require(kind != RouteKind::vector_float32 || !tasks.is_sparse(),
          "sums over sparse data are in double");
  if (kind == RouteKind::gram) {
    return std::make_unique<GramRoute<XScalar, BScalar>>(method, tasks, k);
  }
  return std::make_unique<VectorRoute<XScalar, BScalar>>(method, tasks, k,
                                                         kind == RouteKind::vector_float32);
}

/// Adapts all tasks by the vector route. Exact methods are replaced by their first-order versions,
/// which give the same adapted heads and keep fewer vectors.
template <class XScalar, class BScalar>
void adapt_by_vectors(const Method& method, const BScalar* B, const double* w, Index k,
                      const TaskSet<XScalar>& tasks, double* w_J, int threads, Cancel* cancel) {
  require(!method.adapt_B, "an inner loop that moves B takes the Gram route");
  Method forward = method;
  forward.exact = false;
  forward.contribution = Contribution::outer_gradient;
  VectorRoute<XScalar, BScalar> route(forward, tasks, k, false);
  route.adapt(B, w, w_J, threads, cancel);
}

// Instantiations for every type of X with every type of B.
template <class XScalar, class BScalar>
struct RouteInstances {
  static constexpr auto make = &make_route<XScalar, BScalar>;
  static constexpr auto adapt = &adapt_by_vectors<XScalar, BScalar>;
};
template struct RouteInstances<double, double>;
template struct RouteInstances<double, float>;
template struct RouteInstances<float, double>;
template struct RouteInstances<float, float>;

}  // namespace metaspan
