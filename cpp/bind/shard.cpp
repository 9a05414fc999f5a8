// Bindings of shards of the d columns of X, and of the linear algebra of matrices whose d rows are
// spread over processes.
#include "metaspan/base/shard.hpp"

#include <algorithm>

#include "bind.hpp"
#include "convert.hpp"
#include "maybe_shard.hpp"
#include "metaspan/geometry/coordinates.hpp"
#include "python_exchange.hpp"

namespace metaspan::bind {
namespace {

/// Returns the columns of process `rank` of `ranks`, which exchange numbers through a Python
/// object.
std::shared_ptr<Shard> shard_of(Index d, Index rank, Index ranks, const py::object& exchange) {
  std::shared_ptr<Exchange> used;
  if (!exchange.is_none()) used = std::make_shared<PythonExchange>(exchange);
  return std::make_shared<Shard>(d, rank, ranks, std::move(used));
}

/// Returns the sum over all pieces of all processes, (count,), from parts (pieces, count).
Array sum_of_parts(const Shard& shard, const Array& parts, Index most) {
  const Shard::Pieces pieces = shard.pieces(most);
  require(parts.ndim() == 2 && parts.shape(0) == pieces.count, "parts must be (pieces, count)");
  const Index count = parts.shape(1);
  std::vector<double> scratch(parts.data(), parts.data() + parts.size());
  Array out(count);
  double* result = out.mutable_data();
  const Unlocked unlocked;
  shard.sum(pieces, count, scratch.data(), result);
  return out;
}

/// Returns the first columns of the pieces of a process, and the end of the last.
std::vector<Index> edges_of_pieces(const Shard& shard, Index most) {
  const Shard::Pieces pieces = shard.pieces(most);
  std::vector<Index> edges;
  for (Index i = 0; i <= pieces.count; ++i) edges.push_back(pieces.begin(i));
  return edges;
}

/// Returns the largest of the numbers that all processes pass.
double largest(const Shard& shard, double number) {
  const Unlocked unlocked;
  return shard.largest(number);
}

/// Returns a matrix of d rows from the rows of all processes.
Array gather_rows(const Shard& shard, const Array& rows) {
  require(rows.ndim() == 2 && rows.shape(0) == shard.size(),
          "the matrix must have the rows of the shard");
  const std::vector<Index> edges = Shard::edges(shard.d(), shard.ranks());
  std::vector<Index> counts;
  for (std::size_t r = 0; r + 1 < edges.size(); ++r) {
    counts.push_back((edges[r + 1] - edges[r]) * rows.shape(1));
  }
  Array all({shard.d(), static_cast<Index>(rows.shape(1))});
  double* out = all.mutable_data();
  const Unlocked unlocked;
  shard.gather(rows.data(), counts, out);
  return all;
}

/// A matrix of doubles with contiguous rows; other arrays are copied.
class Rows {
 public:
  explicit Rows(const py::array& a) : array_(a) {
    require(a.ndim() == 2, "a matrix must have two axes");
    constexpr py::ssize_t size = sizeof(double);
    if (!holds<double>(a) || (a.shape(1) > 1 && a.strides(1) != size) || a.strides(0) % size != 0 ||
        a.strides(0) < a.shape(1) * size) {
      array_ = Array(a);
    }
  }

  ConstRows get() const {
    const Index stride = array_.strides(0) / static_cast<py::ssize_t>(sizeof(double));
    return Eigen::Map<const Mat, 0, Eigen::OuterStride<>>(static_cast<const double*>(array_.data()),
                                                          array_.shape(0), array_.shape(1),
                                                          Eigen::OuterStride<>(stride));
  }

 private:
  py::array array_;
};

/// Returns A^T B.
Array inner(const py::array& A, const py::array& B, int threads, const MaybeShard& shard) {
  const Rows a(A), b(B);
  require(A.shape(0) == B.shape(0), "A and B must have the same rows");
  require_rows(shard, A.shape(0));
  Mat result;
  {
    const Unlocked unlocked;
    result = inner_product(a.get(), b.get(), threads, shard.get());
  }
  return to_array(result);
}

/// Returns the sums over all rows of A * B, (q,).
Array products_of_columns(const py::array& A, const py::array& B, int threads,
                          const MaybeShard& shard) {
  const Rows a(A), b(B);
  require(A.shape(0) == B.shape(0) && A.shape(1) == B.shape(1), "A and B must have one shape");
  require_rows(shard, A.shape(0));
  Vec result;
  {
    const Unlocked unlocked;
    result = column_products(a.get(), b.get(), threads, shard.get());
  }
  return to_array(result);
}

/// Returns A S for a small S.
Array times(const py::array& A, const Array& S, int threads, const MaybeShard& shard) {
  const Rows a(A);
  const Mat s = as_matrix(S);
  require(A.shape(1) == s.rows(), "A S must be a product");
  require_rows(shard, A.shape(0));
  Array out({static_cast<Index>(A.shape(0)), s.cols()});
  MutMat product(out.mutable_data(), A.shape(0), s.cols());
  const Unlocked unlocked;
  multiply_small(a.get(), s, product, threads, shard.get());
  return out;
}

/// Returns Q and R of A = Q R; see factor_columns().
py::tuple factor(const Array& A, int threads, const MaybeShard& shard) {
  const ConstMat a = as_matrix(A);
  require_rows(shard, a.rows());
  require(a.cols() <= (shard == nullptr ? a.rows() : shard->d()), "A must have at most d columns");
  Array Q({a.rows(), a.cols()});
  std::copy_n(A.data(), A.size(), Q.mutable_data());
  MutMat q(Q.mutable_data(), a.rows(), a.cols());
  Mat R(0, 0);
  {
    const Unlocked unlocked;
    if (a.cols() > 0) R = factor_columns(q, threads, shard.get());
  }
  return py::make_tuple(Q, to_array(R));
}

}  // namespace

void bind_shards(py::module_& module) {
  py::class_<Shard, std::shared_ptr<Shard>>(module, "Shard")
      .def(py::init(&shard_of), py::arg("d"), py::arg("rank") = 0, py::arg("ranks") = 1,
           py::arg("exchange") = py::none())
      .def_property_readonly("d", &Shard::d)
      .def_property_readonly("first", &Shard::first)
      .def_property_readonly("size", &Shard::size)
      .def_property_readonly("rank", &Shard::rank)
      .def_property_readonly("ranks", &Shard::ranks)
      .def_property_readonly("is_shared", &Shard::is_shared)
      .def_property_readonly("nodes", &Shard::sizes_of_nodes)
      .def("sum", &sum_of_parts, py::arg("parts"), py::arg("most"))
      .def("pieces", &edges_of_pieces, py::arg("most"))
      .def("largest", &largest, py::arg("number"))
      .def("gather_rows", &gather_rows, py::arg("rows"))
      .def_static("leaves", py::overload_cast<Index>(&Shard::leaves), py::arg("d"))
      .def_static("edges", &Shard::edges, py::arg("d"), py::arg("ranks"));
  module.def("inner", &inner, py::arg("A"), py::arg("B"), py::arg("threads"),
             py::arg("shard") = py::none());
  module.def("column_products", &products_of_columns, py::arg("A"), py::arg("B"),
             py::arg("threads"), py::arg("shard") = py::none());
  module.def("times", &times, py::arg("A"), py::arg("S"), py::arg("threads"),
             py::arg("shard") = py::none());
  module.def("factor", &factor, py::arg("A"), py::arg("threads"), py::arg("shard") = py::none());
}

}  // namespace metaspan::bind
