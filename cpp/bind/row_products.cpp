// Bindings of the products of all rows of a batch, or of generated tasks, with matrices.
#include <optional>

#include "batch.hpp"
#include "bind.hpp"
#include "convert_laws.hpp"
#include "metaspan/sweeps/made_tasks.hpp"
#include "metaspan/sweeps/row_products.hpp"
#include "metaspan/sweeps/row_transforms.hpp"
#include "row_matrices.hpp"

namespace metaspan::bind {
namespace {

/// Returns the first row of every task and the number of rows, (n + 1,), and the responses, (N,).
py::tuple batch_rows(const Batch& data) {
  return data.visit_on(true, [](auto, const auto& tasks) {
    const std::vector<Index> offsets = row_offsets(tasks);
    Array y(offsets.back());
    copy_responses(tasks, y.mutable_data());
    return py::make_tuple(
        py::array_t<std::int64_t>(static_cast<py::ssize_t>(offsets.size()), offsets.data()), y);
  });
}

/// Returns X B, (N, k).
Array batch_features(const Batch& data, const py::array& B, int threads) {
  return data.visit([&](auto, const auto& tasks) {
    const double* b = doubles_of(B, tasks.d);
    const Index k = B.shape(1);
    return filled(row_offsets(tasks).back(), k, [&](double* out, Cancel* cancel) {
      features_of_rows(tasks, b, k, out, threads, cancel);
    });
  });
}

/// Returns X^T C, (d, k).
Array batch_combine(const Batch& data, const py::array& C, int threads) {
  return data.visit([&](auto, const auto& tasks) {
    const double* c = doubles_of(C, row_offsets(tasks).back());
    const Index k = C.shape(1);
    return filled(tasks.d, k, [&](double* out, Cancel* cancel) {
      combine_all_rows(tasks, c, k, out, threads, cancel);
    });
  });
}

/// Returns X^T transform(X B), (d, k).
Array batch_combine_features(const Batch& data, const py::array& B, const py::object& transform,
                             int threads) {
  return data.visit([&](auto, const auto& tasks) {
    const double* b = doubles_of(B, tasks.d);
    const Index k = B.shape(1);
    const std::vector<Index> offsets = row_offsets(tasks);
    const auto as_rows = as_transform(
        transform, k, [&](Index task) { return offsets[static_cast<std::size_t>(task)]; });
    return filled(tasks.d, k, [&](double* out, Cancel* cancel) {
      combine_features_of_rows(tasks, b, k, as_rows, false, out, threads, cancel);
    });
  });
}

/// Returns X^T C for C_i = diag(scales_i) Z_i + left_i right_i^T Z_i and Z = X B, (d, k).
Array batch_combine_forms(const Batch& data, const py::array& B, const Array& scales,
                          const Array& left, const Array& right, int threads) {
  return data.visit([&](auto, const auto& tasks) {
    const double* b = doubles_of(B, tasks.d);
    const std::vector<Index> offsets = row_offsets(tasks);
    const Index k = B.shape(1), N = offsets.back();
    require(scales.ndim() == 1 && left.ndim() == 2 && right.ndim() == 2 && scales.shape(0) == N &&
                left.shape(0) == N && right.shape(0) == N && left.shape(1) == right.shape(1),
            "scales must be (N,), and left and right (N, rank)");
    const auto transform =
        transform_by_forms({scales.data(), left.data(), right.data(), left.shape(1)}, offsets, k);
    return filled(tasks.d, k, [&](double* out, Cancel* cancel) {
      combine_features_of_rows(tasks, b, k, transform, true, out, threads, cancel);
    });
  });
}

/// Solves for the heads of least squares at B. Returns the gradient sum_i shares_i X_i^T (X_i B v_i
/// - y_i) v_i^T, (d, k), the heads v_i, (n, k), and the loss; or None if a task is near-singular.
/// With intercepts c_i, c_i + X_i B v_i takes the place of X_i B v_i.
py::object batch_fit_heads(const Batch& data, const py::array& B, const Array& y,
                           const Array& shares, bool intercepts, int threads) {
  return data.visit([&](auto, const auto& tasks) -> py::object {
    const double* b = doubles_of(B, tasks.d);
    const std::vector<Index> offsets = row_offsets(tasks);
    const Index k = B.shape(1), n = tasks.size();
    require(y.size() == offsets.back() && shares.size() == n, "y must be (N,) and shares (n,)");
    Array heads({n, k});
    HeadFits fits{y.data(), shares.data(), heads.mutable_data(), intercepts};
    const auto transform = transform_by_heads(fits, offsets, k, threads);
    Array gradient = filled(tasks.d, k, [&](double* out, Cancel* cancel) {
      combine_outer_of_rows(tasks, b, k, transform, out, threads, cancel);
    });
    if (!fits.regular) return py::none();
    return py::make_tuple(gradient, heads, fits.loss);
  });
}

/// Returns sum_i scales_i X_i^T X_i P v_i v_i^T, (d, k), for dense tasks.
Array batch_curvature(const Batch& data, const py::array& P, const Array& heads,
                      const Array& scales, bool intercepts, int threads) {
  return data.visit([&](auto, const auto& tasks) {
    const double* p = doubles_of(P, tasks.d);
    const Index k = P.shape(1), n = tasks.size();
    require(heads.size() == n * k && scales.size() == n, "heads must be (n, k) and scales (n,)");
    return filled(tasks.d, k, [&](double* out, Cancel* cancel) {
      combine_curvature(tasks, p, k, heads.data(), scales.data(), intercepts, out, threads, cancel);
    });
  });
}

/// Returns the Gram matrices X_i X_i^T, (m_i, m_i), of the tasks [first, end).
py::list batch_grams(const Batch& data, Index first, Index end, int threads) {
  return data.visit([&](auto, const auto& tasks) {
    require(0 <= first && first <= end && end <= tasks.size(), "tasks must be of the batch");
    std::vector<Mat> grams;
    interruptible(
        [&](Cancel* cancel) { grams = grams_of_rows(tasks, first, end - first, threads, cancel); });
    py::list arrays;
    for (const Mat& gram : grams) arrays.append(to_array(gram));
    return arrays;
  });
}

/// MadeTasks together with the memory to which they refer. The rows are the inner sets of round 0.
/// With a shard, `roots` and all matrices with d rows have the rows of the shard.
class MadeSamples {
 public:
  MadeSamples(const FeatureLaw& law, std::optional<Array> roots, std::uint64_t seed,
              std::uint64_t trial, Index n, Index m, Index d, const std::shared_ptr<Shard>& shard)
      : roots_(std::move(roots)),
        xi_(derive_key(seed, trial, 0, Stream::spread)),
        tasks_{{law, derive_key(seed, trial, 0, Stream::features_in),
                derive_key(seed, trial, 0, Stream::radii_in), d, roots_ ? roots_->data() : nullptr,
                shard == nullptr ? 0 : shard->first()},
               n,
               m,
               shard == nullptr ? Shard(d) : *shard} {
    require(n > 0 && m > 0 && d > 0 && tasks_.shard.d() == d,
            "tasks must have samples and the features of the shard");
    require(!roots_ || roots_->size() == columns(), "roots must have one element per feature");
  }

  /// Returns the rows of the tasks [first, end) before multiplication by their radii, ((end -
  /// first) m, d).
  Array rows(Index first, Index end, int threads) const {
    require(0 <= first && first <= end && end <= tasks_.n, "tasks must be of the samples");
    return filled((end - first) * tasks_.m, columns(), [&](double* out, Cancel* cancel) {
      make_rows(tasks_, first, end - first, out, threads, cancel);
    });
  }

  /// Returns the responses without noise, and the radii, (N,) each. `heads` is (n, k_star).
  py::tuple responses(const Array& B_star, const Array& heads, double xi_std, int threads) const {
    Truth truth;
    truth.B_star_t = as_matrix(B_star).transpose();
    truth.minus_heads = -as_matrix(heads);
    truth.xi_std = xi_std;
    truth.xi = xi_;
    truth.offset = tasks_.shard.first();
    require(truth.B_star_t.cols() == columns() && truth.minus_heads.rows() == tasks_.n &&
                truth.minus_heads.cols() == truth.B_star_t.rows(),
            "B_star must be (d, k_star) and heads (n, k_star)");
    Array y(tasks_.rows()), radii(tasks_.rows());
    double *of_y = y.mutable_data(), *of_radii = radii.mutable_data();
    interruptible([&](Cancel* cancel) {
      make_responses(tasks_, truth, of_y, of_radii, threads, cancel);
      for (Index row = 0; row < tasks_.rows(); ++row) {
        of_radii[row] = tasks_.maker.radius(row / tasks_.m, row % tasks_.m, of_radii[row]);
        of_y[row] *= of_radii[row];
      }
    });
    return py::make_tuple(y, radii);
  }

  Array features(const py::array& B, int threads) const {
    const double* b = doubles_of(B, columns());
    const Index k = B.shape(1);
    return filled(tasks_.rows(), k, [&](double* out, Cancel* cancel) {
      features_of_made(tasks_, b, k, out, threads, cancel);
    });
  }

  Array combine(const py::array& C, int threads) const {
    const double* c = doubles_of(C, tasks_.rows());
    const Index k = C.shape(1);
    return filled(columns(), k, [&](double* out, Cancel* cancel) {
      combine_made(tasks_, c, k, out, threads, cancel);
    });
  }

  Array combine_features(const py::array& B, const py::object& transform, int threads) const {
    const double* b = doubles_of(B, columns());
    const Index k = B.shape(1);
    const auto as_rows = as_transform(transform, k, [&](Index task) { return task * tasks_.m; });
    return filled(columns(), k, [&](double* out, Cancel* cancel) {
      combine_features_of_made(tasks_, b, k, as_rows, out, threads, cancel);
    });
  }

 private:
  Index columns() const { return tasks_.shard.size(); }  // of this process

  std::optional<Array> roots_;
  Key xi_;
  MadeTasks tasks_;
};

}  // namespace

void bind_row_products(py::module_& module) {
  module.def("batch_rows", &batch_rows, py::arg("data"));
  module.def("batch_features", &batch_features, py::arg("data"), py::arg("B"), py::arg("threads"));
  module.def("batch_combine", &batch_combine, py::arg("data"), py::arg("C"), py::arg("threads"));
  module.def("batch_combine_features", &batch_combine_features, py::arg("data"), py::arg("B"),
             py::arg("transform"), py::arg("threads"));
  module.def("batch_combine_forms", &batch_combine_forms, py::arg("data"), py::arg("B"),
             py::arg("scales"), py::arg("left"), py::arg("right"), py::arg("threads"));
  module.def("batch_fit_heads", &batch_fit_heads, py::arg("data"), py::arg("B"), py::arg("y"),
             py::arg("shares"), py::arg("intercepts"), py::arg("threads"));
  module.def("batch_curvature", &batch_curvature, py::arg("data"), py::arg("P"), py::arg("heads"),
             py::arg("scales"), py::arg("intercepts"), py::arg("threads"));
  module.def("batch_grams", &batch_grams, py::arg("data"), py::arg("first"), py::arg("end"),
             py::arg("threads"));
  py::class_<MadeSamples>(module, "MadeSamples")
      .def(py::init<const FeatureLaw&, std::optional<Array>, std::uint64_t, std::uint64_t, Index,
                    Index, Index, const std::shared_ptr<Shard>&>(),
           py::arg("law"), py::arg("roots"), py::arg("seed"), py::arg("trial"), py::arg("n"),
           py::arg("m"), py::arg("d"), py::arg("shard") = py::none())
      .def("rows", &MadeSamples::rows, py::arg("first"), py::arg("end"), py::arg("threads"))
      .def("responses", &MadeSamples::responses, py::arg("B_star"), py::arg("heads"),
           py::arg("xi_std"), py::arg("threads"))
      .def("features", &MadeSamples::features, py::arg("B"), py::arg("threads"))
      .def("combine", &MadeSamples::combine, py::arg("C"), py::arg("threads"))
      .def("combine_features", &MadeSamples::combine_features, py::arg("B"), py::arg("transform"),
           py::arg("threads"));
}

}  // namespace metaspan::bind
