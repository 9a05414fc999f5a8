#include "bind.hpp"
#include "convert.hpp"
#include "metaspan/base/parallel.hpp"
#include "metaspan/geometry/coordinates.hpp"
#include "metaspan/geometry/metrics.hpp"

namespace metaspan::bind {
namespace {

py::dict build_info() {
  py::dict info;
  info["version"] = METASPAN_VERSION;
  info["instruction_set"] = METASPAN_BUILT_FOR;
  info["compiler"] = __VERSION__;
  info["eigen"] = METASPAN_EIGEN_VERSION;
  info["pybind11"] = std::to_string(PYBIND11_VERSION_MAJOR) + "." +
                     std::to_string(PYBIND11_VERSION_MINOR) + "." +
                     std::to_string(PYBIND11_VERSION_MICRO);
  info["threads"] = kHasThreads;
  return info;
}

Mat stacked(const Array& M, const Array& R) {
  const ConstMat top = as_matrix(M), bottom = as_matrix(R);
  require(top.cols() == bottom.cols(), "M and R must have the same columns");
  Mat Z(top.rows() + bottom.rows(), top.cols());
  Z << top, bottom;
  return Z;
}

py::tuple coordinates(const Array& B, const Array& B_star, int threads) {
  const ConstMat b = as_matrix(B), b_star = as_matrix(B_star);
  require(b.rows() == b_star.rows() && b.cols() > 0, "B and B_star must have the same rows");
  Coordinates result;
  {
    const Unlocked unlocked;
    result = to_coordinates(b, b_star, threads);
  }
  return py::make_tuple(to_array(result.M), to_array(result.R), to_array(result.E));
}

Array assemble(const Array& B_star, const Array& M, const Array& E, const Array& R, int threads) {
  const ConstMat b = as_matrix(B_star), m = as_matrix(M), e = as_matrix(E), r = as_matrix(R);
  require(
      b.rows() == e.rows() && b.cols() == m.rows() && e.cols() == r.rows() && m.cols() == r.cols(),
      "the shapes of B_star M + E R must fit");
  Array out({b.rows(), m.cols()});
  MutMat B(out.mutable_data(), b.rows(), m.cols());
  const Unlocked unlocked;
  from_coordinates(b, m, e, r, B, threads);
  return out;
}

Array r_factor_of(const Array& B, int threads) {
  const ConstMat b = as_matrix(B);
  Mat result;
  {
    const Unlocked unlocked;
    result = r_factor(b, threads);
  }
  return to_array(result);
}

Array gram(const Array& B, int threads) {
  const ConstMat b = as_matrix(B);
  Mat result;
  {
    const Unlocked unlocked;
    result = inner_product(b, b, threads);
  }
  return to_array(result);
}

Array tangents(const Array& M, const Array& R) {
  Mat Z = stacked(M, R);
  const Index k_star = M.shape(0);
  if (Z.cols() > k_star) {
    const Mat Q = start_rotation(Z.topRows(k_star));
    Z = Mat(Z * Q);
  }
  Meter meter(k_star, Z.rows() - k_star, Z.cols());
  return to_array(meter.tangents(Z));
}

std::vector<double> measure_state(const Array& M, const Array& R, const Array& w, double alpha,
                                  const std::vector<std::string>& names) {
  const Mat Z = stacked(M, R);
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

}  // namespace

void bind_state(py::module_& module) {
  module.def("build_info", &build_info);
  module.def("available_cpus", &available_cpus);
  module.def("default_threads", &default_threads);
  module.def("pause_threads", &pause_threads);
  module.def("coordinates", &coordinates, py::arg("B"), py::arg("B_star"), py::arg("threads"));
  module.def("assemble", &assemble, py::arg("B_star"), py::arg("M"), py::arg("E"), py::arg("R"),
             py::arg("threads"));
  module.def("gram", &gram, py::arg("B"), py::arg("threads"));
  module.def("r_factor", &r_factor_of, py::arg("B"), py::arg("threads"));
  module.def("tangents", &tangents, py::arg("M"), py::arg("R"));
  module.def("measure_state", &measure_state, py::arg("M"), py::arg("R"), py::arg("w"),
             py::arg("alpha"), py::arg("names"));
}

}  // namespace metaspan::bind
