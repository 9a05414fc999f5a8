// Bindings of random: generators, heads, and random samples at full size.
#include <array>

#include "bind.hpp"
#include "convert_laws.hpp"
#include "metaspan/base/parallel.hpp"
#include "metaspan/random/features.hpp"
#include "metaspan/random/random.hpp"
#include "normal.hpp"

namespace metaspan::bind {
namespace {

using Words2 = std::array<std::uint32_t, 2>;
using Words4 = std::array<std::uint32_t, 4>;

/// Returns one Philox block.
py::tuple philox(const Words2& key, const Words4& counter) {
  Words4 out;
  kernels::philox(key.data(), counter.data(), out.data());
  return py::make_tuple(out[0], out[1], out[2], out[3]);
}

/// Returns a derived key as a 64-bit integer.
std::uint64_t key_as_seed(std::uint64_t seed, std::uint64_t trial, std::uint64_t round,
                          std::uint32_t stream) {
  const Key key = derive_key(seed, trial, round, static_cast<Stream>(stream));
  return (std::uint64_t{key.words[1]} << 32) | key.words[0];
}

/// Draws chi-squares from one sequence.
Array chi_square(double dof, std::uint64_t seed, std::uint64_t trial, Index count) {
  Sequence draws(derive_key(seed, trial, 0, Stream::start));
  Vec out(count);
  for (double& value : out) value = draws.chi_square(dof);
  return to_array(out);
}

/// Draws the heads of a round, (n, k_star).
Array heads(const py::object& law, std::uint64_t seed, std::uint64_t trial, Index round, Index n,
            Index k_star) {
  HeadSource source(as_head_law(law, k_star), n, seed, trial);
  source.begin_round(round, nullptr);
  return to_array(source.rows(n));
}

/// Fills an array (n, m, columns) row by row in parallel. fill(task, row, out) must write the
/// doubles of one row, which are then converted to Scalar.
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

/// Fills an array (n, m, columns) row by row in parallel. `dtype` is the name of the dtype of the
/// array.
template <class Fill>
py::array fill_rows_of(const std::string& dtype, Index n, Index m, Index columns, int threads,
                       Fill&& fill) {
  if (dtype == "float32") return fill_rows<float>(n, m, columns, threads, fill);
  require(dtype == "float64", "dtype must be float32 or float64");
  return fill_rows<double>(n, m, columns, threads, fill);
}

/// Draws standard normals, (n, m, d), of n tasks starting at `first_task`, and of columns starting
/// at `first_column`, which is even.
py::array normals(std::uint64_t seed, std::uint64_t trial, std::uint64_t round,
                  std::uint32_t stream, Index n, Index m, Index d, const std::string& dtype,
                  int threads, Index first_task, Index first_column) {
  const Key key = derive_key(seed, trial, round, static_cast<Stream>(stream));
  require(first_column >= 0 && first_column % 2 == 0, "first_column must be even");
  return fill_rows_of(dtype, n, m, d, threads, [&](Index task, Index row, double* out) {
    normal_row(key, first_task + task, row, first_column, d, out);
  });
}

/// Returns the stream of the radii by which the rows from a stream of features are multiplied.
Stream radii_of(Stream features) {
  return features == Stream::features_in ? Stream::radii_in : Stream::radii_out;
}

/// Returns the roots of eigenvalues that are powers, for features first, first + 1, ..., (count,).
Array power_roots_of(double a, Index first, Index count) {
  Array out(count);
  power_roots(a, first, count, out.mutable_data());
  return out;
}

/// Draws features, (n, m, d).
py::array features(const FeatureLaw& law, const std::optional<Array>& roots, std::uint64_t seed,
                   std::uint64_t trial, std::uint64_t round, std::uint32_t stream, Index n, Index m,
                   Index d, const std::string& dtype, int threads) {
  const auto family = static_cast<Stream>(stream);
  require(!roots || roots->size() == d, "roots must have one element per feature");
  const RowMaker maker{law, derive_key(seed, trial, round, family),
                       derive_key(seed, trial, round, radii_of(family)), d,
                       roots ? roots->data() : nullptr};
  return fill_rows_of(dtype, n, m, d, threads, [&](Index task, Index row, double* out) {
    feature_row(maker, task, row, out);
  });
}

/// Draws the rows (n, m, columns) of a pool of samples, (24), as coordinates in an orthonormal
/// basis.
py::array pooled_features(const FeatureLaw& law, std::uint64_t seed, std::uint64_t trial, double d,
                          Index D, Index columns, Index first, Index stride, Index n, Index m,
                          const std::string& dtype, int threads) {
  const Key key = derive_key(seed, trial, 0, Stream::features_in);
  const Key radii = derive_key(seed, trial, 0, Stream::radii_in);
  return fill_rows_of(dtype, n, m, columns, threads, [&](Index task, Index row, double* out) {
    pooled_row(law, key, radii, first + task * stride + row, d, D, columns, out);
  });
}

}  // namespace

void bind_random(py::module_& module) {
  const std::pair<const char*, Stream> streams[] = {
      {"STREAM_HEADS", Stream::heads},
      {"STREAM_NOISE_IN", Stream::noise_in},
      {"STREAM_NOISE_OUT", Stream::noise_out},
      {"STREAM_FEATURES_IN", Stream::features_in},
      {"STREAM_FEATURES_OUT", Stream::features_out},
      {"STREAM_B_STAR", Stream::b_star},
      {"STREAM_START", Stream::start},
      {"STREAM_FRAME", Stream::frame},
      {"STREAM_POOL", Stream::pool},
      {"STREAM_OFF_SPAN", Stream::off_span},
      {"STREAM_USER", Stream::user},
      {"STREAM_PRIVACY", Stream::privacy},
      {"STREAM_SPREAD", Stream::spread},
  };
  for (const auto& [name, stream] : streams) {
    module.attr(name) = static_cast<std::uint32_t>(stream);
  }
  module.def("philox", &philox, py::arg("key"), py::arg("counter"));
  module.def("derive_key", &key_as_seed, py::arg("seed"), py::arg("trial"), py::arg("round"),
             py::arg("stream"));
  module.def("chi_square", &chi_square, py::arg("dof"), py::arg("seed"), py::arg("trial"),
             py::arg("count"));
  module.def("heads", &heads, py::arg("law"), py::arg("seed"), py::arg("trial"), py::arg("round"),
             py::arg("n"), py::arg("k_star"));
  module.attr("ROW_BLOCK") = RowSource::kBlock;
  module.def("normals", &normals, py::arg("seed"), py::arg("trial"), py::arg("round"),
             py::arg("stream"), py::arg("n"), py::arg("m"), py::arg("d"), py::arg("dtype"),
             py::arg("threads"), py::arg("first_task") = 0, py::arg("first_column") = 0);
  module.def("power_roots", &power_roots_of, py::arg("a"), py::arg("first"), py::arg("count"));
  module.def("features", &features, py::arg("law"), py::arg("roots"), py::arg("seed"),
             py::arg("trial"), py::arg("round"), py::arg("stream"), py::arg("n"), py::arg("m"),
             py::arg("d"), py::arg("dtype"), py::arg("threads"));
  module.def("pooled_features", &pooled_features, py::arg("law"), py::arg("seed"), py::arg("trial"),
             py::arg("d"), py::arg("D"), py::arg("columns"), py::arg("first"), py::arg("stride"),
             py::arg("n"), py::arg("m"), py::arg("dtype"), py::arg("threads"));
}

}  // namespace metaspan::bind
