#include <array>

#include "bind.hpp"
#include "convert_laws.hpp"
#include "metaspan/base/parallel.hpp"
#include "metaspan/geometry/coordinates.hpp"
#include "metaspan/random/random.hpp"
#include "normal.hpp"

namespace metaspan::bind {
namespace {

using Words2 = std::array<std::uint32_t, 2>;
using Words4 = std::array<std::uint32_t, 4>;

py::tuple philox(const Words2& key, const Words4& counter) {
  Words4 out;
  kernels::philox(key.data(), counter.data(), out.data());
  return py::make_tuple(out[0], out[1], out[2], out[3]);
}

std::uint64_t key_as_seed(std::uint64_t seed, std::uint64_t trial, std::uint64_t round,
                          std::uint32_t stream) {
  const Key key = derive_key(seed, trial, round, static_cast<Stream>(stream));
  return (std::uint64_t{key.words[1]} << 32) | key.words[0];
}

Array chi_square(double dof, std::uint64_t seed, std::uint64_t trial, Index count) {
  Sequence draws(derive_key(seed, trial, 0, Stream::start));
  Vec out(count);
  for (double& value : out) value = draws.chi_square(dof);
  return to_array(out);
}

Array heads(const py::tuple& law, std::uint64_t seed, std::uint64_t trial, Index round, Index n,
            Index k_star) {
  HeadSource source(as_head_law(law, k_star), n, seed, trial);
  source.begin_round(round, nullptr);
  return to_array(source.rows(n));
}

Array haar_frame(std::uint64_t seed, std::uint64_t trial, std::uint32_t stream, Index d, Index k,
                 const std::optional<Array>& orthogonal_to, int threads) {
  const ConstMat off = orthogonal_to ? as_matrix(*orthogonal_to) : ConstMat(nullptr, d, 0);
  require(off.rows() == d && k + off.cols() <= d, "a frame must fit its space");
  Array out({d, k});
  MutMat frame(out.mutable_data(), d, k);
  const Unlocked unlocked;
  haar(derive_key(seed, trial, 0, static_cast<Stream>(stream)), off, frame, threads);
  return out;
}

py::tuple random_start_blocks(std::uint64_t seed, std::uint64_t trial, double d, Index k_star,
                              Index k, double scale) {
  const Mat Z = random_start(derive_key(seed, trial, 0, Stream::start), d, k_star, k, scale);
  return py::make_tuple(to_array(Mat(Z.topRows(k_star))),
                        to_array(Mat(Z.bottomRows(Z.rows() - k_star))));
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
  module.def("haar", &haar_frame, py::arg("seed"), py::arg("trial"), py::arg("stream"),
             py::arg("d"), py::arg("k"), py::arg("orthogonal_to"), py::arg("threads"));
  module.def("random_start", &random_start_blocks, py::arg("seed"), py::arg("trial"), py::arg("d"),
             py::arg("k_star"), py::arg("k"), py::arg("scale"));
}

}  // namespace metaspan::bind
