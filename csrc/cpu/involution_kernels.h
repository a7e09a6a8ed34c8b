// Involution; included once for each instruction set.
//
// The work is cut into tiles: some rows and columns of an image, and some whole groups of channels. A tile walks down
// its rows and keeps the K rows that it needs as floats with rims of zeros, so that types, borders and memory formats
// matter only where rows are read and written. Each result is summed in one order, however the work is cut.
#include "vector.h"
//
#include "stream_store.h"
//
#include "involution_planes.h"
//
#include "involution_pixels.h"

namespace rotacube::cpu {
namespace ROTACUBE_ISA {

// A plane's length: whole vectors of columns, the rims, and what reads and writes of whole vectors touch beyond.
inline int64_t plane_of(int64_t columns, int64_t kernel) {
  return round_up(columns, 16) + round_up(kernel - 1 + 16, 16);
}

// Vector over columns, M channels at a time. rows[u] is the plane of the first channel, from the window's left edge on.
template <int K, int M>
inline void involve_planes(const float* const (&rows)[K], const float* coefficients, int64_t plane, int64_t columns,
                           float* to) {
  for (int64_t i = 0; i < columns; i += kLanes) {
    Vector sums[M] = {};
    for (int u = 0; u < K; ++u) {
      Vector taps[K];
#pragma GCC unroll 8
      for (int v = 0; v < K; ++v) taps[v] = load(coefficients + (u * K + v) * plane + i);
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m) {
        const Window<K> x(rows[u] + m * plane + i);
        add_products(x, taps, sums[m]);
      }
    }
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) store(to + m * plane + i, sums[m]);
  }
}

// Either memory format, any width of groups.
template <int K, typename X>
void involution_planes(const InvolutionShape& shape, const InvolutionTile& tile, const X* x, const X* kernel, X* y,
                       float* scratch, bool past) {
  const int64_t width = shape.channels / shape.groups, channels = tile.groups * width, taps = tile.groups * K * K;
  const int64_t plane = plane_of(tile.columns, K), planes = std::max<int64_t>(channels, kLanes);
  const Lie lie = lie_of(shape, shape.channels), kernel_lie = lie_of(shape, shape.groups * K * K);
  const int64_t corner = tile.image * lie.image + tile.first_group * width * lie.channel;
  const X* const coefficients = kernel + tile.image * kernel_lie.image + tile.first_group * K * K * kernel_lie.channel +
                                tile.left * kernel_lie.pixel;
  float* const ring = scratch;
  float* const out = ring + K * planes * plane;
  float* const row_taps = out + planes * plane;
  const auto read = [&](int64_t row) {
    read_rimmed_planes(x + corner, lie, shape, row, tile.left - K / 2, tile.columns + K - 1, channels,
                       ring + slot_of(row, K) * planes * plane, plane);
  };
  for (int64_t row = tile.top - K / 2; row < tile.top + K / 2; ++row) read(row);
  for (int64_t row = tile.top; row < tile.bottom; ++row) {
    read(row + K / 2);
    read_planes(coefficients + row * kernel_lie.row, kernel_lie, tile.columns, taps, row_taps, plane);
    const X* const next_x = x + corner + (row + K / 2 + 1) * lie.row + tile.left * lie.pixel;
    const X* const next_taps = coefficients + (row + 1) * kernel_lie.row;
    const bool more_taps = row + 1 < tile.bottom, more_x = more_taps && row + K / 2 + 1 < shape.height;
    for (int64_t g = 0; g < tile.groups; ++g) {
      const float* const own_taps = row_taps + g * K * K * plane;
      int64_t c = g * width;
      const int64_t end = c + width;
      const auto step = [&](auto count) {
        constexpr int M = decltype(count)::value;
        for (; c + M <= end; c += M) {
          const float* rows[K];
          for (int u = 0; u < K; ++u) rows[u] = ring + (slot_of(row + u - K / 2, K) * planes + c) * plane;
          if (more_taps) prefetch_row(next_taps, kernel_lie, tile.columns, taps, c / M, channels / M);
          if (more_x) prefetch_row(next_x, lie, tile.columns, channels, c / M, channels / M);
          involve_planes<K, M>(rows, own_taps, plane, tile.columns, out + c * plane);
        }
      };
      step(std::integral_constant<int, 8>());
      step(std::integral_constant<int, 4>());
      step(std::integral_constant<int, 1>());
    }
    write_planes(out, plane, tile.columns, channels, y + corner + row * lie.row + tile.left * lie.pixel, lie, past);
  }
  if (past) finish_stores();
}

// Whether vectors over channels are used: not where more than half of their lanes would be empty.
inline bool over_channels(const InvolutionShape& shape) {
  return shape.channels_last && 2 * (shape.channels / shape.groups) > kLanes;
}

inline int64_t involution_scratch(const InvolutionShape& shape, int64_t groups, int64_t columns) {
  const int64_t width = shape.channels / shape.groups, k = shape.kernel;
  if (over_channels(shape)) {
    const int64_t padded = round_up(width, kLanes);
    return groups * (k * (columns + k - 1) * padded + columns * k * k + 8 * width) + kLanes;
  }
  const int64_t planes = std::max<int64_t>(groups * width, kLanes), taps = std::max<int64_t>(groups * k * k, kLanes);
  return plane_of(columns, k) * ((k + 1) * planes + taps);
}

template <typename X>
void involution_tile(const InvolutionShape& shape, const InvolutionTile& tile, const X* x, const X* kernel, X* y,
                     float* scratch, bool past) {
  const bool pixels = over_channels(shape);
  switch (shape.kernel) {
    case 3:
      return pixels ? involution_pixels<3>(shape, tile, x, kernel, y, scratch, past)
                    : involution_planes<3>(shape, tile, x, kernel, y, scratch, past);
    case 5:
      return pixels ? involution_pixels<5>(shape, tile, x, kernel, y, scratch, past)
                    : involution_planes<5>(shape, tile, x, kernel, y, scratch, past);
    default:
      return pixels ? involution_pixels<7>(shape, tile, x, kernel, y, scratch, past)
                    : involution_planes<7>(shape, tile, x, kernel, y, scratch, past);
  }
}

}  // namespace ROTACUBE_ISA
}  // namespace rotacube::cpu
