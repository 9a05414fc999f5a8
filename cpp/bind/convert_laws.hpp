// Conversions of methods and laws, from the named tuples of _core_types.py to the structs of the
// core.
#pragma once

#include "convert.hpp"
#include "metaspan/algebra/method.hpp"
#include "metaspan/in_law/residual_moments.hpp"
#include "metaspan/in_law/sample_shape.hpp"
#include "metaspan/random/heads.hpp"

namespace metaspan::bind {

/// Converts a HeadLaw, whose kind is "gaussian", "sphere", "table" or "given". A table with three
/// axes contains one table for each trial, and `trial` selects one of them.
inline HeadLaw as_head_law(const py::object& law, Index k_star, Index trial = 0) {
  HeadLaw result;
  result.k_star = k_star;
  const auto kind = law.attr("kind").cast<std::string>();
  if (kind == "gaussian") {
    const py::object mean = law.attr("mean"), factor = law.attr("factor");
    if (!mean.is_none()) result.mean = as_vector(mean.cast<Array>());
    if (!factor.is_none()) {
      const auto values = factor.cast<Array>();
      if (values.ndim() == 1) {
        result.scale = as_vector(values);
      } else {
        result.factor = as_matrix(values);
      }
    }
    require((result.mean.size() == 0 || result.mean.size() == k_star) &&
                (result.scale.size() == 0 || result.scale.size() == k_star) &&
                (result.factor.size() == 0 ||
                 (result.factor.rows() == k_star && result.factor.cols() == k_star)),
            "mean and factor must fit k_star");
  } else if (kind == "sphere") {
    result.kind = HeadLaw::Kind::sphere;
    result.radius = law.attr("radius").cast<double>();
  } else if (kind == "table") {
    result.kind = HeadLaw::Kind::table;
    const auto table = law.attr("table").cast<Array>();
    require(table.ndim() == 2 || table.ndim() == 3, "a table of heads must have two or three axes");
    const Index rows = table.shape(table.ndim() - 2), columns = table.shape(table.ndim() - 1);
    const Index offset = table.ndim() == 3 ? trial * rows * columns : 0;
    require(table.ndim() == 2 || trial < table.shape(0),
            "a table of heads with three axes must have one table per trial");
    result.table = ConstMat(table.data() + offset, rows, columns);
  } else {
    require(kind == "given", "unknown law of heads");
    result.kind = HeadLaw::Kind::given;
  }
  return result;
}

/// Converts a HeadMoments, whose kind is "gaussian", "sphere" or "array". Heads with xi, (33), have
/// the variance spread^2 / d in every coordinate in addition.
inline HeadMoments as_head_moments(const py::object& law, Index k_star, double spread, double d) {
  const auto kind = law.attr("kind").cast<std::string>();
  HeadMoments heads;
  if (kind == "gaussian") {
    heads = gaussian_heads(as_vector(law.attr("mean").cast<Array>()),
                           as_matrix(law.attr("covariance").cast<Array>()));
  } else if (kind == "sphere") {
    heads = sphere_heads(k_star, law.attr("radius").cast<double>());
  } else {
    require(kind == "array", "unknown law of heads");
    heads = array_heads(as_matrix(law.attr("rows").cast<Array>()));
  }
  require(heads.k_star() == k_star, "the moments of heads must fit k_star");
  heads.isotropic = spread * spread / d;
  return heads;
}

/// Returns the kind of FeatureLaw that has the given name in Python.
inline FeatureLaw::Kind feature_kind(const std::string& name) {
  using Kind = FeatureLaw::Kind;
  const std::pair<const char*, Kind> kinds[] = {{"gaussian", Kind::gaussian},
                                                {"student-t", Kind::student_t},
                                                {"sphere", Kind::sphere},
                                                {"rademacher", Kind::rademacher},
                                                {"uniform", Kind::uniform}};
  for (const auto& [known, kind] : kinds) {
    if (name == known) return kind;
  }
  throw std::invalid_argument("no features are named " + name);
}

}  // namespace metaspan::bind

// pybind11 calls these casters to convert the arguments of a function. These casters copy named
// tuples field by field.
namespace pybind11::detail {

template <>
struct type_caster<metaspan::OuterStep> {
  PYBIND11_TYPE_CASTER(metaspan::OuterStep, const_name("CoreStep"));
  bool load(handle source, bool /*convert*/) {
    const int rule = source.attr("rule").cast<int>();
    if (rule < 0 || rule > 2) return false;
    value = {static_cast<metaspan::OuterStep::Rule>(rule),
             source.attr("momentum").cast<double>(),
             source.attr("nesterov").cast<bool>(),
             source.attr("average").cast<bool>(),
             source.attr("lookahead").cast<metaspan::Index>(),
             source.attr("lookahead_size").cast<double>(),
             source.attr("orthonormal").cast<bool>()};
    return true;
  }
};

template <>
struct type_caster<metaspan::Method> {
  PYBIND11_TYPE_CASTER(metaspan::Method, const_name("CoreMethod"));
  bool load(handle source, bool /*convert*/) {
    // The fields are read by position. Every call on arrays converts a method, and reading the
    // fields by name would take a microsecond longer.
    if (!PyTuple_Check(source.ptr()) || PyTuple_GET_SIZE(source.ptr()) != 18) return false;
    const auto field = [&](int i) { return handle(PyTuple_GET_ITEM(source.ptr(), i)); };
    const int contribution = field(7).cast<int>(), step_sizes = field(12).cast<int>();
    if (contribution < 0 || contribution > 3 || step_sizes < 0 || step_sizes > 2) return false;
    value = {field(0).cast<double>(),  field(1).cast<double>(),
             field(2).cast<int>(),     field(3).cast<bool>(),
             field(4).cast<bool>(),    field(5).cast<double>(),
             field(6).cast<bool>(),    static_cast<metaspan::Contribution>(contribution),
             field(8).cast<bool>(),    field(9).cast<double>(),
             field(10).cast<double>(), field(11).cast<double>()};
    value.step_sizes = static_cast<metaspan::StepSizes>(step_sizes);
    value.beta_alpha = field(13).cast<double>();
    value.private_head = field(14).cast<bool>();
    value.private_weight = field(15).cast<double>();
    value.fresh_steps = field(16).cast<bool>();
    if (!field(17).is_none()) value.step = field(17).cast<metaspan::OuterStep>();
    return true;
  }
};

template <>
struct type_caster<metaspan::FeatureLaw> {
  PYBIND11_TYPE_CASTER(metaspan::FeatureLaw, const_name("FeatureLaw"));
  bool load(handle source, bool /*convert*/) {
    value = {metaspan::bind::feature_kind(source.attr("name").cast<std::string>()),
             source.attr("dof").cast<double>()};
    return true;
  }
};

/// A value 0 of m_in or m_out means infinitely many samples, also in the core.
template <>
struct type_caster<metaspan::SampleLaw> {
  PYBIND11_TYPE_CASTER(metaspan::SampleLaw, const_name("SampleLaw"));
  bool load(handle source, bool /*convert*/) {
    using metaspan::Index;
    value = {
        source.attr("d").cast<double>(),     source.attr("m_in").cast<Index>(),
        source.attr("m_out").cast<Index>(),  source.attr("shared").cast<bool>(),
        source.attr("noise").cast<double>(), source.attr("features").cast<metaspan::FeatureLaw>(),
        source.attr("spread").cast<double>()};
    return true;
  }
};

}  // namespace pybind11::detail
