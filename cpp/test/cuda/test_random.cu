// Tests the random numbers of the device: bits equal those of the CPU, and results that are sums
// equal them within rounding, in launches of different grids.
#include <cmath>
#include <cstring>
#include <functional>
#include <vector>

#include "device_random.hpp"
#include "device_test.hpp"
#include "heads.cuh"
#include "made_rows.cuh"
#include "metaspan/random/features.hpp"
#include "metaspan/random/heads.hpp"
#include "normal.hpp"

namespace metaspan::cuda {
namespace {

using test::check;

constexpr std::uint64_t kSeed = (std::uint64_t{7} << 40) + 12345, kTrial = 3, kRound = 1'000'000;
constexpr int kBlock = 96;

__device__ std::ptrdiff_t first_item() {
  return static_cast<std::ptrdiff_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ std::ptrdiff_t item_step() {
  return static_cast<std::ptrdiff_t>(gridDim.x) * blockDim.x;
}

/// Writes the generated rows of a block, (stacked rows, d).
template <class Scalar>
__global__ void write_rows(const __grid_constant__ SampleBlock block, std::ptrdiff_t d, double* X) {
  const std::ptrdiff_t pairs = (d + 1) / 2;
  for (std::ptrdiff_t item = first_item(); item < block.n * block.most * pairs;
       item += item_step()) {
    const SampleSet& set = block.sets[item / pairs / block.most];
    const std::ptrdiff_t row = item / pairs % block.most, column = item % pairs * 2;
    if (row >= set.m) continue;
    const RowLaw& law = block.laws[set.law];
    const Pair x = entries_of_row(law, set.number, static_cast<std::uint32_t>(row), column);
    const double radius = law.radii == nullptr ? 1.0 : law.radii[set.first_row + row];
    double* out = X + (set.first_row + row) * d + column;
    out[0] = finish_entry<Scalar>(law, column, radius, x.even);
    if (column + 1 < d) out[1] = finish_entry<Scalar>(law, column + 1, radius, x.odd);
  }
}

/// Writes the heads of a round in panels of 32 tasks, (panels, k_star, 32).
__global__ void write_heads(std::uint64_t seed, std::uint64_t trial, std::uint64_t round,
                            kernels::HeadShape law, int n, double* heads) {
  const Key key = cuda::derive_key(seed, trial, round, metaspan::Stream::heads);
  for (std::ptrdiff_t task = first_item(); task < n; task += item_step()) {
    draw_head(key, static_cast<std::uint32_t>(task), law, 32,
              heads + task / 32 * 32 * law.k_star + task % 32);
  }
}

/// Writes the chi-squares of tasks, (rows, tasks), as kernels::chi_square_panel() does.
__global__ void write_chi_squares(Key key, std::uint32_t first_task, int tasks,
                                  std::uint32_t first_row, int rows, const double* dof,
                                  double* out) {
  for (std::ptrdiff_t item = first_item(); item < rows * tasks; item += item_step()) {
    const auto row = static_cast<std::uint32_t>(item / tasks),
               task = first_task + static_cast<std::uint32_t>(item % tasks);
    const Pair normals = normals_of_panel(key, task, row / 2, 2);
    out[item] = chi_square_of_panel(key, task, first_row + row, 2, dof[row],
                                    row % 2 == 0 ? normals.even : normals.odd);
  }
}

bool same(const std::vector<double>& a, const std::vector<double>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0;
}

bool near(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!(std::abs(a[i] - b[i]) <= 1e-12 * std::abs(b[i]))) return false;
  }
  return true;
}

/// Calls write(blocks) for two grids, and checks that the bits are the same.
std::vector<double> on_grids(const std::function<std::vector<double>(int)>& write) {
  const std::vector<double> first = write(3);
  check(same(write(5), first), "bits for any grid");
  return first;
}

Key key_of(metaspan::Stream stream) { return metaspan::derive_key(kSeed, kTrial, kRound, stream); }

RowLaw row_law(Key key, FeatureLaw::Kind kind, const double* roots, const double* radii) {
  return {{key.words[0], key.words[1]}, static_cast<int>(kind), roots, radii};
}

/// The inner and the outer sets of n tasks, of 1 to `most` rows each; set i of both loops belongs
/// to task 100 + 3 i of the round.
struct Sets {
  Sets(int n, int most) {
    for (int i = 0; i < n; ++i) {
      const int m = i + 1 == n ? most : 1 + i * 5 % most;
      const auto number = static_cast<std::uint32_t>(100 + 3 * i);
      list.push_back({nullptr, 0, rows, m, i, number, i % 2});
      rows += m;
    }
    memory = test::upload(list);
    block = {memory.data(), n, most, rows, Real::float64, true, {}};
  }
  std::vector<SampleSet> list;
  std::ptrdiff_t rows = 0;
  DeviceArray<SampleSet> memory;
  SampleBlock block;
};

const metaspan::Stream kFeatures[] = {metaspan::Stream::features_in,
                                      metaspan::Stream::features_out};
const metaspan::Stream kRadii[] = {metaspan::Stream::radii_in, metaspan::Stream::radii_out};

/// Returns the rows of the sets and, as one more column, their radii, from the CPU.
template <class Scalar>
std::vector<double> rows_of_cpu(const Sets& sets, const FeatureLaw& law, std::ptrdiff_t d,
                                const double* roots, std::vector<double>& radii) {
  std::vector<double> X;
  std::vector<Scalar> row(static_cast<std::size_t>(d));
  radii.clear();
  for (const SampleSet& set : sets.list) {
    const RowMaker maker{law, key_of(kFeatures[set.law]), key_of(kRadii[set.law]), d, roots};
    for (int i = 0; i < set.m; ++i) {
      const double squares = maker.piece(set.number, i, 0, d, row.data());
      radii.push_back(maker.radius(set.number, i, squares));
      for (const Scalar x : row) X.push_back(radii.back() * static_cast<double>(x));
    }
  }
  return X;
}

template <class Scalar>
void test_rows(const FeatureLaw& law, std::ptrdiff_t d, bool with_roots, int n = 7) {
  Sets sets(n, n == 1 ? 1 : 6);
  std::vector<double> roots, radii;
  for (std::ptrdiff_t j = 0; j < d; ++j) roots.push_back(0.25 + 0.5 * (j % 7));
  const DeviceArray<double> device_roots = test::upload(roots);
  const double* own_roots = with_roots ? device_roots.data() : nullptr;
  const std::vector<double> X =
      rows_of_cpu<Scalar>(sets, law, d, with_roots ? roots.data() : nullptr, radii);
  const DeviceArray<double> device_radii(runtime(), radii.size());
  for (int set = 0; set < 2; ++set) {
    sets.block.laws[set] = row_law(key_of(kFeatures[set]), law.kind, own_roots, nullptr);
  }
  const auto some_radii = on_grids([&](int blocks) {
    DeviceRandom random(blocks);
    const RowRadii wanted{
        sets.block, d, law.dof, {key_of(kRadii[0]), key_of(kRadii[1])}, device_radii.data()};
    const DeviceArray<char> workspace(runtime(), random.workspace(wanted));
    random.write_radii(wanted, workspace.data(), nullptr);
    return test::download(device_radii);
  });
  const bool exact = law != FeatureLaw::Kind::sphere;
  check(exact ? same(some_radii, radii) : near(some_radii, radii), "radii of rows");
  for (RowLaw& row_law : sets.block.laws) row_law.radii = device_radii.data();
  const auto rows = on_grids([&](int blocks) {
    const DeviceArray<double> out(runtime(), X.size());
    METASPAN_LAUNCH(write_rows<Scalar>, blocks, kBlock, 0, nullptr)(sets.block, d, out.data());
    return test::download(out);
  });
  check(exact ? same(rows, X) : near(rows, X), "rows of X");
}

void test_heads(const HeadLaw& law, int n) {
  HeadSource source(law, n, kSeed, kTrial);
  source.begin_round(static_cast<Index>(kRound), nullptr);
  const Mat heads = source.rows(n);
  const auto upload = [](const auto& values) {
    return test::upload(std::vector<double>(values.data(), values.data() + values.size()));
  };
  const auto mean = upload(law.mean), scale = upload(law.scale), factor = upload(law.factor);
  const kernels::HeadShape shape{law.kind == HeadLaw::Kind::sphere,
                                 law.k_star,
                                 law.radius,
                                 mean.data(),
                                 scale.data(),
                                 factor.data()};
  const auto panels = on_grids([&](int blocks) {
    const DeviceArray<double> out = test::upload(
        std::vector<double>(static_cast<std::size_t>((n + 31) / 32 * 32 * law.k_star)));
    METASPAN_LAUNCH(write_heads, blocks, kBlock, 0, nullptr)
    (kSeed, kTrial, kRound, shape, n, out.data());
    return test::download(out);
  });
  bool equal = true;
  for (int task = 0; task < n; ++task) {
    for (Index i = 0; i < law.k_star; ++i) {
      const double head =
          panels[static_cast<std::size_t>((task / 32 * law.k_star + i) * 32 + task % 32)];
      equal = equal && std::memcmp(&head, &heads(task, i), sizeof head) == 0;
    }
  }
  check(equal, "heads");
}

void test_all_heads() {
  for (const Index k_star : {1, 3, 33}) {
    HeadLaw law;
    law.k_star = k_star;
    test_heads(law, 97);
    law.mean = Vec::LinSpaced(k_star, -1, 2);
    test_heads(law, 33);
    law.factor = Mat::Random(k_star, k_star).triangularView<Eigen::Lower>();
    test_heads(law, 301);
    law.scale = Vec::LinSpaced(k_star, 0.5, 1.7);
    test_heads(law, 1);
    law = {};
    law.k_star = k_star;
    law.kind = HeadLaw::Kind::sphere;
    law.radius = 1.7;
    test_heads(law, 97);
  }
}

/// Tests few degrees of freedom, which reject many candidates, and many, which use the series for a
/// small t.
void test_chi_squares() {
  constexpr int kRows = 41, kFirst = 5, kFirstRow = 6;
  const Key key = key_of(metaspan::Stream::samples);
  std::vector<double> dof, expected;
  for (int i = 0; i < kRows; ++i) dof.push_back(i % 3 == 0 ? 0.7 : i % 3 == 1 ? 3 + i : 1e12 + i);
  std::vector<double> panel(kRows * kernels::kTasks);
  kernels::normal_panel<kernels::kTasks>(key.words, kFirst, 2, kernels::kTasks, kRows,
                                         panel.data());
  kernels::chi_square_panel(key.words, kFirst, 2, kernels::kTasks, kFirstRow, kRows, dof.data(),
                            panel.data());
  const DeviceArray<double> device_dof = test::upload(dof);
  const auto chi_squares = on_grids([&](int blocks) {
    const DeviceArray<double> out(runtime(), panel.size());
    METASPAN_LAUNCH(write_chi_squares, blocks, kBlock, 0, nullptr)
    (key, kFirst, kernels::kTasks, kFirstRow, kRows, device_dof.data(), out.data());
    return test::download(out);
  });
  check(same(chi_squares, panel), "chi-squares");
}

/// Returns the response of a row: the products times the head, and the noise rounded as on the CPU.
double response_of_cpu(const Responses& wanted, const SampleSet& set, int row, double scale,
                       const double* products, std::ptrdiff_t stride, const double* head) {
  double z = 0, y = 0;
  normal_row(wanted.keys[set.law], set.number, row, 1, &z);
  z *= wanted.noise;
  if (wanted.block.type == Real::float32) z = static_cast<double>(static_cast<float>(z));
  for (int j = 0; j < wanted.k; ++j) {
    y += products[j * stride] * (head == nullptr ? 1.0 : head[j]);
  }
  return y + scale * z;
}

void test_responses(int n, int most, int k, Layout layout, Real type, bool with_heads,
                    double noise) {
  Sets sets(n, most);
  sets.block.type = type;
  const bool panels = layout == Layout::panels;
  const std::ptrdiff_t columns = (n + 31) / 32 * 32;
  const std::ptrdiff_t elements = panels ? columns * most : sets.rows;
  std::vector<double> products, heads;
  for (std::ptrdiff_t i = 0; i < elements * k; ++i) products.push_back(1 + 0.01 * (i * 37 % 101));
  for (int i = 0; i < n * k; ++i) heads.push_back(2 - 0.01 * (i * 41 % 101));
  const auto device_products = test::upload(products), device_heads = test::upload(heads);
  Responses wanted{sets.block,
                   layout,
                   k,
                   device_products.data(),
                   with_heads ? device_heads.data() : nullptr,
                   noise,
                   {key_of(metaspan::Stream::noise_in), key_of(metaspan::Stream::noise_out)},
                   nullptr};
  const auto responses = on_grids([&](int blocks) {
    const DeviceArray<double> y(runtime(), static_cast<std::size_t>(elements));
    wanted.y = y.data();
    DeviceRandom(blocks).write_responses(wanted, nullptr);
    const std::vector<double> copy = test::download(y);
    if (test::counts_bytes()) {
      check(test::bytes_written(y) == copy.size() * sizeof(double), "each response once");
    }
    return copy;
  });
  std::vector<double> expected(static_cast<std::size_t>(elements));
  for (const SampleSet& set : sets.list) {
    for (int row = 0; row < set.m; ++row) {
      const std::ptrdiff_t at =
          panels ? (set.task / 32 * most + row) * 32 + set.task % 32 : set.first_row + row;
      const std::ptrdiff_t first =
          panels ? (set.task / 32 * most + row) * k * 32 + set.task % 32 : at * k;
      expected[static_cast<std::size_t>(at)] = response_of_cpu(
          wanted, set, row, panels ? 1 / std::sqrt(set.m) : 1.0, products.data() + first,
          panels ? 32 : 1, with_heads ? heads.data() + set.task * k : nullptr);
    }
  }
  check(near(responses, expected), "responses");
}

void test_parameters(int n, std::ptrdiff_t d, int k_star) {
  const Sets sets(n, 1);
  const double xi_std = 0.3;
  std::vector<double> B_star, heads, theta, xi(static_cast<std::size_t>(d));
  for (std::ptrdiff_t i = 0; i < d * k_star; ++i) B_star.push_back(1 + 0.01 * (i * 37 % 101));
  for (int i = 0; i < n * k_star; ++i) heads.push_back(2 - 0.01 * (i * 41 % 101));
  const Key key = key_of(metaspan::Stream::spread);
  for (const SampleSet& set : sets.list) {
    normal_row(key, set.number, 0, d, xi.data());
    for (std::ptrdiff_t c = 0; c < d; ++c) {
      double sum = 0;
      for (int j = 0; j < k_star; ++j) {
        sum += B_star[static_cast<std::size_t>(c * k_star + j)] *
               heads[static_cast<std::size_t>(set.task * k_star + j)];
      }
      theta.push_back(sum + xi_std * xi[static_cast<std::size_t>(c)]);
    }
  }
  const auto device_B = test::upload(B_star), device_heads = test::upload(heads);
  const auto parameters = on_grids([&](int blocks) {
    const DeviceArray<double> out(runtime(), theta.size());
    DeviceRandom(blocks).write_parameters(
        {sets.block, d, k_star, device_B.data(), device_heads.data(), xi_std, key, out.data()},
        nullptr);
    const std::vector<double> copy = test::download(out);
    if (test::counts_bytes()) {
      check(test::bytes_written(out) == copy.size() * sizeof(double), "each parameter once");
    }
    return copy;
  });
  check(near(parameters, theta), "parameters");
}

template <class Scalar>
void test_privacy_noise(std::ptrdiff_t first, std::ptrdiff_t count) {
  const Key key = key_of(metaspan::Stream::privacy);
  std::vector<Scalar> before, expected;
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    before.push_back(static_cast<Scalar>(0.1 * (i * 37 % 101)));
  }
  expected = before;
  metaspan::add_normals(key, 0.7, first, count, expected.data());
  for (const int blocks : {3, 5}) {
    const DeviceArray<Scalar> numbers = test::upload(before);
    DeviceRandom(blocks).add_normals(key, 0.7, first, count,
                                     sizeof(Scalar) == 8 ? Real::float64 : Real::float32,
                                     numbers.data(), nullptr);
    const std::vector<Scalar> after = test::download(numbers);
    check(std::memcmp(after.data(), expected.data(), after.size() * sizeof(Scalar)) == 0,
          "privacy noise");
    if (test::counts_bytes()) {
      const std::size_t bytes = after.size() * sizeof(Scalar);
      check(test::bytes_read(numbers) == bytes, "each number is read once");
      check(test::bytes_written(numbers) == bytes, "each number is written once");
    }
  }
}

/// Whether the emulator runs each thread of a block on a thread of the system.
bool runs_on_threads() {
#if defined(METASPAN_CUDA_EMULATED)
  return emulator::mode() == emulator::Mode::threads;
#else
  return false;
#endif
}

/// Launches every kernel once or twice.
void test_each_kernel() {
  HeadLaw law;
  law.k_star = 3;
  test_heads(law, 97);
  test_rows<double>({FeatureLaw::Kind::sphere}, 5, false, 200);
  test_chi_squares();
  test_responses(37, 9, 3, Layout::panels, Real::float64, true, 0.5);
  test_responses(70, 13, 1, Layout::rows, Real::float32, false, 0.5);
  test_parameters(5, 301, 3);
  test_privacy_noise<double>(0, 2001);
}

/// Runs fewer shapes on threads of the system, which are much slower than fibres. Only the threads
/// of add_squares() exchange anything.
void test_random() {
  using Kind = FeatureLaw::Kind;
  if (runs_on_threads()) return test_each_kernel();
  test_rows<double>({Kind::gaussian}, 129, false);
  test_rows<double>({Kind::gaussian}, 1, true);
  test_rows<float>({Kind::gaussian}, 130, true);
  test_rows<double>({Kind::student_t, 2.5}, 33, true);
  test_rows<double>({Kind::student_t, 9}, 64, false);
  test_rows<double>({Kind::student_t, 2.001}, 2, false, 200);
  test_rows<double>({Kind::rademacher}, 65, false);
  test_rows<double>({Kind::uniform}, 65, true);
  test_rows<double>({Kind::sphere}, 4099, true);
  test_rows<double>({Kind::sphere}, 5, true, 1);
  test_rows<float>({Kind::sphere}, 2048, false);
  test_all_heads();
  test_chi_squares();
  for (const Layout layout : {Layout::panels, Layout::rows}) {
    test_responses(37, 9, 3, layout, Real::float64, true, 0.5);
    test_responses(70, 13, 1, layout, Real::float32, false, 0.5);
    test_responses(1, 1, 33, layout, Real::float64, true, 0);
  }
  test_parameters(5, 301, 3);
  test_parameters(1, 1, 1);
  test_privacy_noise<double>(0, 2001);
  test_privacy_noise<float>((std::ptrdiff_t{1} << 32) - 700, 1500);
  test_privacy_noise<double>(2 * (std::ptrdiff_t{1} << 32), 1);
}

}  // namespace
}  // namespace metaspan::cuda

int main() { return metaspan::test::run_tests(metaspan::cuda::test_random); }
