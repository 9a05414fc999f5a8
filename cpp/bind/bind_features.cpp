#include "bind.hpp"
#include "convert_laws.hpp"
#include "metaspan/base/parallel.hpp"
#include "metaspan/random/features.hpp"

namespace metaspan::bind {
namespace {

/// Fills an array (n, m, columns) row by row: fill(task, row, out) with doubles.
template <class Scalar, class Fill>
py::array fill_rows(Index n, Index m, Index columns, int threads, Fill&& fill) {
  py::array_t<Scalar> out({n, m, columns});
  Scalar* values = out.mutable_data();
  interruptible([&](Cancel* cancel) {
    parallel_for(threads, n * m, cancel, [&](Index item, int) {
      thread_local std::vector<double> row;
      row.resize(static_cast<std::size_t>(columns));
      fill(item / m, item % m, row.data());
      std::copy(row.begin(), row.end(), values + item * columns);
    });
    throw_if_requested(cancel);
  });
  return out;
}

template <class Fill>
py::array fill_rows_of(const std::string& dtype, Index n, Index m, Index columns, int threads,
                       Fill&& fill) {
  if (dtype == "float32") return fill_rows<float>(n, m, columns, threads, fill);
  require(dtype == "float64", "dtype must be float32 or float64");
  return fill_rows<double>(n, m, columns, threads, fill);
}

py::array normals(std::uint64_t seed, std::uint64_t trial, std::uint64_t round,
                  std::uint32_t stream, Index n, Index m, Index d, const std::string& dtype,
                  int threads) {
  const Key key = derive_key(seed, trial, round, static_cast<Stream>(stream));
  return fill_rows_of(dtype, n, m, d, threads, [&](Index task, Index row, double* out) {
    normal_row(key, task, row, d, out);
  });
}

Stream radii_of(Stream features) {
  return features == Stream::features_in ? Stream::radii_in : Stream::radii_out;
}

py::array features(const py::tuple& law, const std::optional<Array>& roots, std::uint64_t seed,
                   std::uint64_t trial, std::uint64_t round, std::uint32_t stream, Index n, Index m,
                   Index d, const std::string& dtype, int threads) {
  const auto family = static_cast<Stream>(stream);
  require(!roots || roots->size() == d, "a root of the spectrum for every feature");
  const RowMaker maker{as_feature_law(law), derive_key(seed, trial, round, family),
                       derive_key(seed, trial, round, radii_of(family)), d,
                       roots ? roots->data() : nullptr};
  return fill_rows_of(dtype, n, m, d, threads, [&](Index task, Index row, double* out) {
    feature_row(maker, task, row, out);
  });
}

py::array pooled_features(const py::tuple& law, std::uint64_t seed, std::uint64_t trial, double d,
                          Index D, Index columns, Index first, Index stride, Index n, Index m,
                          const std::string& dtype, int threads) {
  const FeatureLaw of = as_feature_law(law);
  const Key key = derive_key(seed, trial, 0, Stream::features_in);
  const Key radii = derive_key(seed, trial, 0, Stream::radii_in);
  return fill_rows_of(dtype, n, m, columns, threads, [&](Index task, Index row, double* out) {
    pooled_row(of, key, radii, first + task * stride + row, d, D, columns, out);
  });
}

}  // namespace

void bind_features(py::module_& module) {
  module.attr("ROW_BLOCK") = RowSource::kBlock;
  module.def("normals", &normals, py::arg("seed"), py::arg("trial"), py::arg("round"),
             py::arg("stream"), py::arg("n"), py::arg("m"), py::arg("d"), py::arg("dtype"),
             py::arg("threads"));
  module.def("features", &features, py::arg("law"), py::arg("roots"), py::arg("seed"),
             py::arg("trial"), py::arg("round"), py::arg("stream"), py::arg("n"), py::arg("m"),
             py::arg("d"), py::arg("dtype"), py::arg("threads"));
  module.def("pooled_features", &pooled_features, py::arg("law"), py::arg("seed"), py::arg("trial"),
             py::arg("d"), py::arg("D"), py::arg("columns"), py::arg("first"), py::arg("stride"),
             py::arg("n"), py::arg("m"), py::arg("dtype"), py::arg("threads"));
}

}  // namespace metaspan::bind
