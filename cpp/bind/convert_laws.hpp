// Methods and laws: tuples of Python as the structs of the core.
#pragma once

#include "convert.hpp"
#include "metaspan/algebra/method.hpp"
#include "metaspan/in_law/sample_shape.hpp"
#include "metaspan/random/heads.hpp"

namespace metaspan::bind {

inline Method as_method(const py::tuple& fields) {
  return {fields[0].cast<double>(), fields[1].cast<double>(), fields[2].cast<int>(),
          fields[3].cast<bool>(), fields[4].cast<bool>()};
}

/// ("gaussian", mean | None, factor | None), ("sphere", radius), ("table", (N, k_star)) or
/// ("given",). A table of three axes holds one table per trial; `trial` is the one wanted.
inline HeadLaw as_head_law(const py::tuple& law, Index k_star, Index trial = 0) {
  HeadLaw result;
  result.k_star = k_star;
  const auto kind = law[0].cast<std::string>();
  if (kind == "gaussian") {
    if (!law[1].is_none()) result.mean = as_vector(law[1].cast<Array>());
    if (!law[2].is_none()) {
      const auto factor = law[2].cast<Array>();
      if (factor.ndim() == 1) {
        result.scale = as_vector(factor);
      } else {
        result.factor = as_matrix(factor);
      }
    }
    require((result.mean.size() == 0 || result.mean.size() == k_star) &&
                (result.scale.size() == 0 || result.scale.size() == k_star) &&
                (result.factor.size() == 0 ||
                 (result.factor.rows() == k_star && result.factor.cols() == k_star)),
            "mean and factor must fit k_star");
  } else if (kind == "sphere") {
    result.kind = HeadLaw::Kind::sphere;
    result.radius = law[1].cast<double>();
  } else if (kind == "table") {
    result.kind = HeadLaw::Kind::table;
    const auto table = law[1].cast<Array>();
    require(table.ndim() == 2 || table.ndim() == 3, "a table of heads has two or three axes");
    const Index rows = table.shape(table.ndim() - 2), columns = table.shape(table.ndim() - 1);
    const Index offset = table.ndim() == 3 ? trial * rows * columns : 0;
    require(table.ndim() == 2 || trial < table.shape(0), "a table of heads for every trial");
    result.table = ConstMat(table.data() + offset, rows, columns);
  } else {
    require(kind == "given", "unknown law of heads");
    result.kind = HeadLaw::Kind::given;
  }
  return result;
}

/// (name, degrees of freedom).
inline FeatureLaw as_feature_law(const py::tuple& law) {
  const auto name = law[0].cast<std::string>();
  using Kind = FeatureLaw::Kind;
  const std::pair<const char*, Kind> kinds[] = {{"gaussian", Kind::gaussian},
                                                {"student-t", Kind::student_t},
                                                {"sphere", Kind::sphere},
                                                {"rademacher", Kind::rademacher},
                                                {"uniform", Kind::uniform}};
  for (const auto& [known, kind] : kinds) {
    if (name == known) return {kind, law[1].cast<double>()};
  }
  throw std::invalid_argument("no features are named " + name);
}

/// (d, m_in, m_out, shared, noise) and the two of a law of features; m = 0 for infinitely many
/// samples.
inline SampleLaw as_sample_law(const py::tuple& law) {
  return {law[0].cast<double>(), law[1].cast<Index>(),
          law[2].cast<Index>(),  law[3].cast<bool>(),
          law[4].cast<double>(), as_feature_law(py::make_tuple(law[5], law[6]))};
}

}  // namespace metaspan::bind
