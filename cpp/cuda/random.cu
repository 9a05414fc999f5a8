// Kernels that write random numbers, or what is computed from them, to device memory. Every element
// is a function of its own counters, so no result depends on the grid.
#include <algorithm>

#include "device_random.hpp"
#include "errors.hpp"
#include "made_rows.cuh"
#include "metaspan/cuda/panels.hpp"
#include "parts.hpp"

namespace metaspan::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kMostBlocks = 2048;        // of a launch; each block then processes several items
constexpr std::ptrdiff_t kPiece = 2048;  // columns whose squares a warp adds, even

/// Return the index of this thread in the grid, and the number of threads of the grid.
__device__ inline std::ptrdiff_t thread_number() {
  return static_cast<std::ptrdiff_t>(blockIdx.x) * kThreads + threadIdx.x;
}
__device__ inline std::ptrdiff_t threads_of_grid() {
  return static_cast<std::ptrdiff_t>(gridDim.x) * kThreads;
}

__host__ __device__ constexpr std::ptrdiff_t pieces_of(std::ptrdiff_t d) {
  return (d + kPiece - 1) / kPiece;
}

/// Adds the squares of the Gaussian entries of each row on the sphere, piece by piece: a warp adds
/// one piece of a row. Lane l adds the pairs l, l + 32, l + 64 and so on of the piece, and the sums
/// of the lanes are added as a tree.
__global__ void __launch_bounds__(kThreads)
    add_squares(const __grid_constant__ SampleBlock block, std::ptrdiff_t d,
                double* parts) {  // (stacked rows, pieces)
  const std::ptrdiff_t pieces = pieces_of(d), rows = block.most;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (std::ptrdiff_t item = thread_number() / 32; item < block.n * rows * pieces;
       item += threads_of_grid() / 32) {
    const SampleSet& set = block.sets[item / pieces / rows];
    const std::ptrdiff_t row = item / pieces % rows, piece = item % pieces;
    if (row >= set.m) continue;
    const RowLaw& law = block.laws[set.law];
    const std::ptrdiff_t end = piece + 1 < pieces ? (piece + 1) * kPiece : d;
    double sum = 0;
    for (std::ptrdiff_t column = piece * kPiece + 2 * lane; column < end; column += 64) {
      const Pair x = entries_of_row(law, set.number, static_cast<std::uint32_t>(row), column);
      sum += x.even * x.even;
      if (column + 1 < end) sum += x.odd * x.odd;
    }
    for (int other = 16; other > 0; other /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, other);
    if (lane == 0) store_global(parts + (set.first_row + row) * pieces + piece, sum);
  }
}

/// Computes the radius of each row, (19): sqrt(d) / |g| on the sphere, where the parts of |g|^2 are
/// added in the order of the pieces, and sqrt((dof - 2) / chi^2) for student_t.
__global__ void __launch_bounds__(kThreads) write_row_radii(RowRadii radii, const double* parts) {
  const std::ptrdiff_t pieces = pieces_of(radii.d), rows = radii.block.most;
  for (std::ptrdiff_t item = thread_number(); item < radii.block.n * rows;
       item += threads_of_grid()) {
    const SampleSet& set = radii.block.sets[item / rows];
    const std::ptrdiff_t row = item % rows;
    if (row >= set.m) continue;
    double radius = 1;
    switch (static_cast<FeatureLaw::Kind>(radii.block.laws[set.law].kind)) {
      case FeatureLaw::Kind::student_t:
        radius = std::sqrt((radii.dof - 2) / chi_square_of_row(radii.radii[set.law], set.number,
                                                               static_cast<std::uint32_t>(row),
                                                               radii.dof));
        break;
      case FeatureLaw::Kind::sphere: {
        double squares = 0;
        for (std::ptrdiff_t piece = 0; piece < pieces; ++piece) {
          squares += load_global(parts + (set.first_row + row) * pieces + piece);
        }
        radius = std::sqrt(static_cast<double>(radii.d) / squares);
        break;
      }
      default:
        break;
    }
    store_global(radii.out + set.first_row + row, radius);
  }
}

/// Returns the noise of a row, rounded to the type of X as on the CPU, or 0 without noise.
__device__ inline double noise_of(const Responses& responses, const SampleSet& set,
                                  std::ptrdiff_t row) {
  if (responses.noise == 0) return 0;
  const Pair normals =
      normals_of_row(responses.keys[set.law], set.number, static_cast<std::uint32_t>(row), 0);
  const double noise = __dmul_rn(responses.noise, normals.even);
  return responses.block.type == Real::float64 ? noise
                                               : static_cast<double>(static_cast<float>(noise));
}

/// Computes the response of one row from `products`, whose elements are `stride` apart.
__device__ inline double response_of(const Responses& responses, const SampleSet& set,
                                     std::ptrdiff_t row, double scale, const double* products,
                                     std::ptrdiff_t stride) {
  double y = 0;
  for (int j = 0; j < responses.k; ++j) {
    const double product = load_global(products + j * stride);
    y += responses.heads == nullptr ? product
                                    : product * responses.heads[set.task * responses.k + j];
  }
  return y + scale * noise_of(responses, set, row);
}

/// Computes the responses in panels. A warp computes a row of a panel, so that reads and writes are
/// coalesced where the sets are in the order of their positions. Elements without a sample are 0.
__global__ void __launch_bounds__(kThreads) respond_in_panels(Responses responses) {
  const SampleBlock& block = responses.block;
  const std::ptrdiff_t most = block.most, panels = (block.n + kPanelColumns - 1) / kPanelColumns;
  for (std::ptrdiff_t item = thread_number(); item < panels * most * kPanelColumns;
       item += threads_of_grid()) {
    const std::ptrdiff_t row = item / kPanelColumns % most;
    std::ptrdiff_t position = item / kPanelColumns / most * kPanelColumns + item % kPanelColumns;
    double y = 0;
    const SampleSet* set = position < block.n ? block.sets + position : nullptr;
    if (set != nullptr) position = set->task;
    const std::ptrdiff_t first = position / kPanelColumns * most + row,
                         column = position % kPanelColumns;
    if (set != nullptr && row < set->m) {
      y = response_of(responses, *set, row, 1 / std::sqrt(static_cast<double>(set->m)),
                      responses.products + first * responses.k * kPanelColumns + column,
                      kPanelColumns);
    }
    store_global(responses.y + first * kPanelColumns + column, y);
  }
}

/// Computes the responses of the stacked rows.
__global__ void __launch_bounds__(kThreads) respond_in_rows(Responses responses) {
  const std::ptrdiff_t most = responses.block.most;
  for (std::ptrdiff_t item = thread_number(); item < responses.block.n * most;
       item += threads_of_grid()) {
    const SampleSet& set = responses.block.sets[item / most];
    const std::ptrdiff_t row = item % most, at = set.first_row + row;
    if (row >= set.m) continue;
    store_global(responses.y + at,
                 response_of(responses, set, row, 1, responses.products + at * responses.k, 1));
  }
}

/// Computes theta_i = B_star w_star + xi_i, two neighbouring entries of a task at a time. Columns
/// 2p and 2p + 1 of xi are the normals of one counter.
__global__ void __launch_bounds__(kThreads) add_xi(Parameters parameters) {
  const std::ptrdiff_t d = parameters.d, k = parameters.k_star, pairs = (d + 1) / 2;
  for (std::ptrdiff_t item = thread_number(); item < parameters.block.n * pairs;
       item += threads_of_grid()) {
    const SampleSet& set = parameters.block.sets[item / pairs];
    const std::ptrdiff_t column = item % pairs * 2;
    const Pair g = normals_of_row(parameters.xi, set.number, 0, column);
    const double* w = parameters.heads + set.task * k;
    for (std::ptrdiff_t c = column; c < column + 2 && c < d; ++c) {
      double theta = 0;
      for (std::ptrdiff_t j = 0; j < k; ++j) theta += parameters.B_star[c * k + j] * w[j];
      theta += parameters.xi_std * (c == column ? g.even : g.odd);
      store_global(parameters.theta + set.task * d + c, theta);
    }
  }
}

/// Adds noise to two neighbouring numbers at a time, rounded as by metaspan::add_normals(): number
/// e takes column e mod 2^32 of row e / 2^32 of task 0.
template <class Scalar>
__global__ void __launch_bounds__(kThreads)
    add_noise(Key key, double scale, std::ptrdiff_t first, std::ptrdiff_t count, Scalar* out) {
  constexpr int kColumnBits = 32;
  for (std::ptrdiff_t at = 2 * thread_number(); at < count; at += 2 * threads_of_grid()) {
    const std::ptrdiff_t row = (first + at) >> kColumnBits;
    const Pair g =
        normals_of_row(key, 0, static_cast<std::uint32_t>(row), first + at - (row << kColumnBits));
    for (std::ptrdiff_t i = at; i < at + 2 && i < count; ++i) {
      const auto noise = static_cast<Scalar>(__dmul_rn(scale, i == at ? g.even : g.odd));
      const double sum =
          __dadd_rn(static_cast<double>(load_global(out + i)), static_cast<double>(noise));
      store_global(out + i, static_cast<Scalar>(sum));
    }
  }
}

}  // namespace

Random& random_numbers() {
  static DeviceRandom& random = *new DeviceRandom(kMostBlocks);
  return random;
}

int DeviceRandom::grid(std::ptrdiff_t items, int at_a_time) const {
  const std::ptrdiff_t blocks = (items + at_a_time - 1) / at_a_time;
  return static_cast<int>(std::clamp<std::ptrdiff_t>(blocks, 1, blocks_));
}

std::size_t DeviceRandom::workspace(const RowRadii& radii) const {
  return static_cast<std::size_t>(radii.block.rows * pieces_of(radii.d)) * sizeof(double);
}

/// Writes the radii of the rows of a block. The entries of rows on the sphere are generated once
/// more, in a pass of their own, since a radius depends on a whole row.
void DeviceRandom::write_radii(const RowRadii& radii, void* workspace, Stream stream) {
  auto* parts = static_cast<double*>(workspace);
  const std::ptrdiff_t rows = std::ptrdiff_t{radii.block.n} * radii.block.most;
  const auto is_sphere = [](const RowLaw& law) {
    return static_cast<FeatureLaw::Kind>(law.kind) == FeatureLaw::Kind::sphere;
  };
  if (is_sphere(radii.block.laws[0]) || is_sphere(radii.block.laws[1])) {
    METASPAN_LAUNCH(add_squares, grid(rows * pieces_of(radii.d), kWarps), kThreads, 0, stream)
    (radii.block, radii.d, parts);
    require_launch("add_squares");
  }
  METASPAN_LAUNCH(write_row_radii, grid(rows, kThreads), kThreads, 0, stream)(radii, parts);
  require_launch("write_row_radii");
}

void DeviceRandom::write_responses(const Responses& responses, Stream stream) {
  const std::ptrdiff_t rows = responses.block.most, n = responses.block.n;
  if (responses.layout == Layout::panels) {
    const std::ptrdiff_t columns = (n + kPanelColumns - 1) / kPanelColumns * kPanelColumns;
    METASPAN_LAUNCH(respond_in_panels, grid(rows * columns, kThreads), kThreads, 0, stream)
    (responses);
    require_launch("respond_in_panels");
  } else {
    METASPAN_LAUNCH(respond_in_rows, grid(rows * n, kThreads), kThreads, 0, stream)(responses);
    require_launch("respond_in_rows");
  }
}

void DeviceRandom::write_parameters(const Parameters& parameters, Stream stream) {
  const std::ptrdiff_t pairs = parameters.block.n * ((parameters.d + 1) / 2);
  METASPAN_LAUNCH(add_xi, grid(pairs, kThreads), kThreads, 0, stream)(parameters);
  require_launch("add_xi");
}

void DeviceRandom::add_normals(Key key, double scale, std::ptrdiff_t first, std::ptrdiff_t count,
                               Real type, void* out, Stream stream) {
  const int blocks = grid((count + 1) / 2, kThreads);
  if (type == Real::float64) {
    METASPAN_LAUNCH(add_noise<double>, blocks, kThreads, 0, stream)
    (key, scale, first, count, static_cast<double*>(out));
  } else {
    METASPAN_LAUNCH(add_noise<float>, blocks, kThreads, 0, stream)
    (key, scale, first, count, static_cast<float*>(out));
  }
  require_launch("add_noise");
}

}  // namespace metaspan::cuda
