// The backward pass of involution; included once for each instruction set.
#include "involution_kernels.h"

namespace rotacube::cpu {
namespace ROTACUBE_ISA {

// The gradient of one group's kernel: for each tap the sum over channels of grad times the shifted input. `grad` begins
// K/2 columns left of the tile, as rows[u] does; `to` with the tile.
template <int K, int U>
inline void pull_taps(const float* const* rows, const float* grad, int64_t plane, int64_t columns, int64_t channels,
                      float* to) {
  for (int64_t i = 0; i < columns; i += kLanes) {
    Vector sums[U][K] = {};
    for (int64_t c = 0; c < channels; ++c) {
      const Vector pull = load(grad + c * plane + i + K / 2);
#pragma GCC unroll 3
      for (int u = 0; u < U; ++u) {
        const Window<K> x(rows[u] + c * plane + i);
        add_multiples(x, pull, sums[u]);
      }
    }
#pragma GCC unroll 3
    for (int u = 0; u < U; ++u) {
#pragma GCC unroll 8
      for (int v = 0; v < K; ++v) store(to + (u * K + v) * plane + i, sums[u][v]);
    }
  }
}

// Adds the products of one row of taps, each with its shifted gradient.
template <int K, int M, int V = 0>
inline void add_spread(const Window<K> (&pull)[M], const float* taps, int64_t plane, Vector (&sums)[M]) {
  if constexpr (V < K) {
    const Vector tap = load(taps + V * plane + K - 1 - V);
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) sums[m] += tap * pull[m].template at<K - 1 - V>();
    add_spread<K, M, V + 1>(pull, taps, plane, sums);
  }
}

template <int K, int... I>
inline void spread_vector(const float* grad, const float* taps, int64_t plane, float* const (&targets)[K],
                          std::integer_sequence<int, I...>) {
  constexpr int M = sizeof...(I);
  const Window<K> pull[M] = {Window<K>(grad + I * plane)...};
  for (int u = 0; u < K; ++u) {
    if (targets[u] == nullptr) continue;
    Vector sums[M] = {load(targets[u] + I * plane)...};
    add_spread<K, M>(pull, taps + u * K * plane, plane, sums);
    (store(targets[u] + I * plane, sums[I]), ...);
  }
}

// What one row of grad adds to the rows of the input's gradient that its windows reach: M channels of one group.
// targets[u] is null where that row is not the tile's. `grad` and `taps` begin K/2 columns left of the tile.
template <int K, int M>
inline void spread_row(const float* grad, const float* taps, int64_t plane, int64_t columns, float* (&targets)[K]) {
  for (int64_t i = 0; i < columns; i += kLanes) {
    spread_vector<K>(grad + i, taps + i, plane, targets, std::make_integer_sequence<int, M>());
    for (float*& target : targets) {
      if (target != nullptr) target += kLanes;
    }
  }
}

// The gradients of a tile of x and of kernel; either may be null. The rows and columns around the tile are read too:
// tiles share no results.
template <int K, typename X>
void involution_pull(const InvolutionShape& shape, const InvolutionTile& tile, const X* grad, const X* x,
                     const X* kernel, X* grad_x, X* grad_kernel, float* scratch, bool past) {
  constexpr int kHalf = K / 2;
  const int64_t width = shape.channels / shape.groups, channels = tile.groups * width, taps = tile.groups * K * K;
  const int64_t plane = plane_of(tile.columns, K);
  const int64_t planes = std::max<int64_t>(channels, kLanes), tap_planes = std::max<int64_t>(taps, kLanes);
  const Lie lie = lie_of(shape, shape.channels), kernel_lie = lie_of(shape, shape.groups * K * K);
  const int64_t corner = tile.image * lie.image + tile.first_group * width * lie.channel;
  const int64_t kernel_corner = tile.image * kernel_lie.image + tile.first_group * K * K * kernel_lie.channel;
  const int64_t slot = planes * plane, left = tile.left - kHalf, columns = tile.columns + K - 1;
  float* const pull = scratch;
  float* const x_ring = pull + slot;
  float* const out_ring = x_ring + K * slot;
  float* const row_taps = out_ring + K * slot;
  float* const tap_pull = row_taps + tap_planes * plane;

  const auto read_x = [&](int64_t row) {
    read_rimmed_planes(x + corner, lie, shape, row, left, columns, channels, x_ring + slot_of(row, K) * slot, plane);
  };
  const auto write_x = [&](int64_t row) {
    float* const from = out_ring + slot_of(row, K) * slot;
    write_planes(from, plane, tile.columns, channels, grad_x + corner + row * lie.row + tile.left * lie.pixel, lie,
                 past);
    std::fill_n(from, slot, 0.0f);
  };

  if (grad_x != nullptr) std::fill_n(out_ring, K * slot, 0.0f);
  if (grad_kernel != nullptr) {
    for (int64_t row = tile.top - kHalf; row < tile.top + kHalf; ++row) read_x(row);
  }
  int64_t written = tile.top;
  const int64_t rim = grad_x != nullptr ? kHalf : 0;
  for (int64_t row = std::max<int64_t>(0, tile.top - rim); row < std::min(shape.height, tile.bottom + rim); ++row) {
    read_rimmed_planes(grad + corner, lie, shape, row, left, columns, channels, pull, plane);
    if (grad_kernel != nullptr && row >= tile.top && row < tile.bottom) {
      read_x(row + kHalf);
      for (int64_t g = 0; g < tile.groups; ++g) {
        const float* rows[K];
        for (int u = 0; u < K; ++u) rows[u] = x_ring + slot_of(row + u - kHalf, K) * slot + g * width * plane;
        constexpr int U = K == 3 ? 3 : 1;  // rows of taps at a time, so that there are sums enough
        for (int u = 0; u < K; u += U) {
          pull_taps<K, U>(rows + u, pull + g * width * plane, plane, tile.columns, width,
                          tap_pull + (g * K + u) * K * plane);
        }
      }
      write_planes(tap_pull, plane, tile.columns, taps,
                   grad_kernel + kernel_corner + row * kernel_lie.row + tile.left * kernel_lie.pixel, kernel_lie, past);
    }
    if (grad_x == nullptr) continue;
    read_rimmed_planes(kernel + kernel_corner, kernel_lie, shape, row, left, columns, taps, row_taps, plane);
    for (int64_t g = 0; g < tile.groups; ++g) {
      int64_t c = g * width;
      const int64_t end = c + width;
      const auto step = [&](auto count) {
        constexpr int M = decltype(count)::value;
        for (; c + M <= end; c += M) {
          float* targets[K];
          for (int u = 0; u < K; ++u) {
            const int64_t to = row + u - kHalf;
            const bool own = to >= tile.top && to < tile.bottom;
            targets[u] = own ? out_ring + slot_of(to, K) * slot + c * plane : nullptr;
          }
          spread_row<K, M>(pull + c * plane, row_taps + g * K * K * plane, plane, tile.columns, targets);
        }
      };
      step(std::integral_constant<int, 8>());
      step(std::integral_constant<int, 4>());
      step(std::integral_constant<int, 1>());
    }
    if (row - kHalf >= tile.top && row - kHalf < tile.bottom) write_x(written++);
  }
  if (grad_x != nullptr) {
    while (written < tile.bottom) write_x(written++);
  }
  if (past) finish_stores();
}

inline int64_t involution_pull_scratch(const InvolutionShape& shape, int64_t groups, int64_t columns) {
  const int64_t k = shape.kernel, planes = std::max<int64_t>(groups * (shape.channels / shape.groups), kLanes);
  return plane_of(columns, k) * ((2 * k + 1) * planes + 2 * std::max<int64_t>(groups * k * k, kLanes));
}

template <typename X>
void involution_pull_tile(const InvolutionShape& shape, const InvolutionTile& tile, const X* grad, const X* x,
                          const X* kernel, X* grad_x, X* grad_kernel, float* scratch, bool past) {
  switch (shape.kernel) {
    case 3:
      return involution_pull<3>(shape, tile, grad, x, kernel, grad_x, grad_kernel, scratch, past);
    case 5:
      return involution_pull<5>(shape, tile, grad, x, kernel, grad_x, grad_kernel, scratch, past);
    default:
      return involution_pull<7>(shape, tile, grad, x, kernel, grad_x, grad_kernel, scratch, past);
  }
}

}  // namespace ROTACUBE_ISA
}  // namespace rotacube::cpu
