// Bindings of geometry: frames, coordinates and measurements. With a shard, the matrices of d rows
// have the rows of this process.
#include "bind.hpp"
#include "convert.hpp"
#include "maybe_shard.hpp"
#include "metaspan/geometry/coordinates.hpp"
#include "metaspan/geometry/metrics.hpp"
#include "metaspan/geometry/off_span.hpp"

namespace metaspan::bind {
namespace {

/// Draws a Haar-distributed frame (d, k), or the rows of it that a shard has. If `orthogonal_to`
/// has columns, the frame is orthogonal to them.
Array haar_frame(std::uint64_t seed, std::uint64_t trial, std::uint32_t stream, Index d, Index k,
                 const std::optional<Array>& orthogonal_to, int threads, const MaybeShard& shard) {
  const Index rows = shard == nullptr ? d : shard->size();
  const ConstMat off = orthogonal_to ? as_matrix(*orthogonal_to) : ConstMat(nullptr, rows, 0);
  require(shard == nullptr || shard->d() == d, "d must be that of the shard");
  require(off.rows() == rows && k + off.cols() <= d,
          "k must be at most d less the columns of orthogonal_to");
  Array out({rows, k});
  MutMat frame(out.mutable_data(), rows, k);
  const Unlocked unlocked;
  haar(derive_key(seed, trial, 0, static_cast<Stream>(stream)), off, frame, threads, shard.get());
  return out;
}

/// Draws M and R of a random start, (19).
py::tuple random_start_blocks(std::uint64_t seed, std::uint64_t trial, double d, Index k_star,
                              Index k, double scale) {
  const Mat Z = random_start(derive_key(seed, trial, 0, Stream::start), d, k_star, k, scale);
  return py::make_tuple(to_array(Mat(Z.topRows(k_star))),
                        to_array(Mat(Z.bottomRows(Z.rows() - k_star))));
}

/// Returns M, R and E of B, (13).
py::tuple coordinates(const Array& B, const Array& B_star, int threads, const MaybeShard& shard) {
  const ConstMat b = as_matrix(B), b_star = as_matrix(B_star);
  require(b.rows() == b_star.rows() && b.cols() > 0, "B and B_star must have the same rows");
  require_rows(shard, b.rows());
  Coordinates result;
  {
    const Unlocked unlocked;
    result = to_coordinates(b, b_star, threads, shard.get());
  }
  return py::make_tuple(to_array(result.M), to_array(result.R), to_array(result.E));
}

/// Returns B_star M + E R, (13).
Array assemble(const Array& B_star, const Array& M, const Array& E, const Array& R, int threads,
               const MaybeShard& shard) {
  const ConstMat b = as_matrix(B_star), m = as_matrix(M), e = as_matrix(E), r = as_matrix(R);
  require(
      b.rows() == e.rows() && b.cols() == m.rows() && e.cols() == r.rows() && m.cols() == r.cols(),
      "the shapes of B_star M + E R must fit");
  require_rows(shard, b.rows());
  Array out({b.rows(), m.cols()});
  MutMat B(out.mutable_data(), b.rows(), m.cols());
  const Unlocked unlocked;
  from_coordinates(b, m, e, r, B, threads, shard.get());
  return out;
}

/// Returns the largest entry of |B^T B - I|, or NaN if any entry is NaN.
double deviation(const Array& B, int threads, const MaybeShard& shard) {
  const ConstMat b = as_matrix(B);
  require_rows(shard, b.rows());
  const Unlocked unlocked;
  const Mat off = gram(b, threads, shard.get()) - Mat::Identity(b.cols(), b.cols());
  return off.size() == 0 ? 0.0 : off.cwiseAbs().maxCoeff<Eigen::PropagateNaN>();
}

/// Returns the R-factor of B.
Array r_factor_of(const Array& B, int threads, const MaybeShard& shard) {
  const ConstMat b = as_matrix(B);
  require_rows(shard, b.rows());
  Mat result;
  {
    const Unlocked unlocked;
    result = r_factor(b, threads, shard.get());
  }
  return to_array(result);
}

/// Returns the tangents of the principal angles of a state. If k > k_star, the state is first
/// converted to the frame of (14).
Array tangents(const Array& M, const Array& R) {
  Mat Z = stacked(as_matrix(M), as_matrix(R));
  const Index k_star = M.shape(0);
  if (Z.cols() > k_star) {
    const Mat Q = start_rotation(Z.topRows(k_star));
    Z = Mat(Z * Q);
  }
  Meter meter(k_star, Z.rows() - k_star, Z.cols());
  return to_array(meter.tangents(Z));
}

/// Measures records that need no outputs of tasks, and returns the numbers of all these records in
/// one list.
std::vector<double> measure_state(const Array& M, const Array& R, const Array& w, double alpha,
                                  const std::vector<std::string>& names) {
  const Mat Z = stacked(as_matrix(M), as_matrix(R));
  Meter meter(M.shape(0), R.shape(0), Z.cols());
  std::vector<double> values;
  for (const std::string& name : names) {
    const Record record = record_named(name);
    Vec out(meter.columns(record));
    meter.measure(record, Z, as_vector(w), alpha, TaskOutputs{}, out.data());
    values.insert(values.end(), out.begin(), out.end());
  }
  return values;
}

/// Draws `count` matrices from one sequence of random numbers, and returns them as an array (count,
/// rows, columns).
template <class Body>
Array stack_of(std::uint64_t seed, std::uint64_t trial, Index count, Body&& draw) {
  require(count > 0, "count must be positive");
  Sequence draws(derive_key(seed, trial, 0, Stream::off_span));
  const Mat first = draw(draws);
  Array out({count, first.rows(), first.cols()});
  MutMat(out.mutable_data(), first.rows(), first.cols()) = first;
  for (Index i = 1; i < count; ++i) {
    MutMat(out.mutable_data(i), first.rows(), first.cols()) = draw(draws);
  }
  return out;
}

/// Draws Bartlett factors, (16).
Array bartlett_factors(std::uint64_t seed, std::uint64_t trial, Index p, double f, Index count) {
  return stack_of(seed, trial, count, [&](Sequence& draws) { return bartlett(draws, p, f); });
}

/// Draws R-factors of V T + U A, (17), each with a new Haar-distributed frame U.
Array sums_with_frames(std::uint64_t seed, std::uint64_t trial, const Array& T, const Array& A,
                       double rest, Index count) {
  const Mat sum = as_matrix(T), term = as_matrix(A);
  require(sum.cols() == term.cols() && static_cast<double>(sum.rows()) <= rest &&
              static_cast<double>(term.rows()) <= rest,
          "T and A must have the same columns and at most rest rows");
  return stack_of(seed, trial, count,
                  [&](Sequence& draws) { return add_frame(sum, term, rest, draws); });
}

}  // namespace

void bind_geometry(py::module_& module) {
  module.def("haar", &haar_frame, py::arg("seed"), py::arg("trial"), py::arg("stream"),
             py::arg("d"), py::arg("k"), py::arg("orthogonal_to"), py::arg("threads"),
             py::arg("shard") = py::none());
  module.def("random_start", &random_start_blocks, py::arg("seed"), py::arg("trial"), py::arg("d"),
             py::arg("k_star"), py::arg("k"), py::arg("scale"));
  module.def("coordinates", &coordinates, py::arg("B"), py::arg("B_star"), py::arg("threads"),
             py::arg("shard") = py::none());
  module.def("assemble", &assemble, py::arg("B_star"), py::arg("M"), py::arg("E"), py::arg("R"),
             py::arg("threads"), py::arg("shard") = py::none());
  module.def("deviation", &deviation, py::arg("B"), py::arg("threads"),
             py::arg("shard") = py::none());
  module.def("r_factor", &r_factor_of, py::arg("B"), py::arg("threads"),
             py::arg("shard") = py::none());
  module.def("tangents", &tangents, py::arg("M"), py::arg("R"));
  module.def("measure_state", &measure_state, py::arg("M"), py::arg("R"), py::arg("w"),
             py::arg("alpha"), py::arg("names"));
  module.def("bartlett", &bartlett_factors, py::arg("seed"), py::arg("trial"), py::arg("p"),
             py::arg("f"), py::arg("count"));
  module.def("add_frame", &sums_with_frames, py::arg("seed"), py::arg("trial"), py::arg("T"),
             py::arg("A"), py::arg("rest"), py::arg("count"));
}

}  // namespace metaspan::bind
