// Kronecker feature fusion on NVIDIA GPUs, at memory speed: a thread reads a pack of 16 bytes of each map and writes
// one of each block. The gradient of weight is summed in two stages, in a fixed order, without atomics.
#include <cstdint>
#include <type_traits>

#include "elements.h"
#include "kronecker.h"
#include "launch.h"

namespace rotacube::cuda {
namespace {

constexpr int64_t kMostBlocks = 1 << 16;
constexpr int64_t kMostPartials = 1024;  // blocks of a backward pass: each writes one share of the gradient of weight

template <typename T>
__device__ inline float weight_at(const void* weight, bool wide, int index) {
  return wide ? static_cast<const float*>(weight)[index] : widen(static_cast<const T*>(weight)[index]);
}

// Shares of N maps, zero for those past `maps`.
template <int N, typename T>
__device__ inline float share_at(const void* weight, bool wide, int maps, int index) {
  const int j = index / N, b = index % N;
  return j < maps && b < maps ? weight_at<T>(weight, wide, j * maps + b) : 0.0f;
}

// N maps, or where EXACT is false at most N.
template <int N, bool EXACT, int COUNT, typename T>
__global__ void __launch_bounds__(kThreads)
    kronecker_forward_kernel(KroneckerShape shape, KroneckerMaps xs, const void* weight, bool wide_weight, T* y) {
  using Many = Pack<T, COUNT>;
  const int maps = EXACT ? N : static_cast<int>(shape.maps);
  float share[N * N];
#pragma unroll
  for (int k = 0; k < N * N; ++k) share[k] = share_at<N, T>(weight, wide_weight, maps, k);
  const int64_t run = shape.inner / COUNT, count = shape.outer * run;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = thread_number(); i < count; i += step) {
    const int64_t outer = i / run, at = i - outer * run;
    Many x[N];
#pragma unroll
    for (int j = 0; j < N; ++j) x[j] = j < maps ? static_cast<const Many*>(xs.at[j])[i] : Many();
#pragma unroll
    for (int b = 0; b < N; ++b) {
      if (b >= maps) break;
      Many block;
#pragma unroll
      for (int e = 0; e < COUNT; ++e) {
        float sum = share[b] * widen(x[0].at[e]);
#pragma unroll
        for (int j = 1; j < N; ++j) sum = fmaf(share[j * N + b], widen(x[j].at[e]), sum);
        block.at[e] = narrow<T>(sum);
      }
      reinterpret_cast<Many*>(y)[(outer * maps + b) * run + at] = block;
    }
  }
}

template <int N, bool EXACT, int COUNT, typename T>
__global__ void __launch_bounds__(kThreads)
    kronecker_backward_kernel(KroneckerShape shape, const T* grad, KroneckerMaps xs, const void* weight,
                              bool wide_weight, KroneckerGrads grad_xs, float* partials) {
  using Many = Pack<T, COUNT>;
  const int maps = EXACT ? N : static_cast<int>(shape.maps);
  const bool want_x = grad_xs.at[0] != nullptr, want_weight = partials != nullptr;
  __shared__ float share[N * N];
  __shared__ float of_warps[kWarps][N * N];
  for (int k = threadIdx.x; k < N * N; k += kThreads) share[k] = share_at<N, T>(weight, wide_weight, maps, k);
  __syncthreads();
  float sums[N * N];
#pragma unroll
  for (int k = 0; k < N * N; ++k) sums[k] = 0;
  const int64_t run = shape.inner / COUNT, count = shape.outer * run;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = thread_number(); i < count; i += step) {
    const int64_t outer = i / run, at = i - outer * run;
    Many pull[N];
#pragma unroll
    for (int b = 0; b < N; ++b) {
      pull[b] = b < maps ? reinterpret_cast<const Many*>(grad)[(outer * maps + b) * run + at] : Many();
    }
#pragma unroll
    for (int j = 0; j < N; ++j) {
      if (j >= maps) break;
      if (want_x) {
        Many out;
#pragma unroll
        for (int e = 0; e < COUNT; ++e) {
          float sum = share[j * N] * widen(pull[0].at[e]);
#pragma unroll
          for (int b = 1; b < N; ++b) sum = fmaf(share[j * N + b], widen(pull[b].at[e]), sum);
          out.at[e] = narrow<T>(sum);
        }
        static_cast<Many*>(grad_xs.at[j])[i] = out;
      }
      if (want_weight) {
        const Many x = static_cast<const Many*>(xs.at[j])[i];
#pragma unroll
        for (int e = 0; e < COUNT; ++e) {
#pragma unroll
          for (int b = 0; b < N; ++b) sums[j * N + b] = fmaf(widen(x.at[e]), widen(pull[b].at[e]), sums[j * N + b]);
        }
      }
    }
  }
  if (!want_weight) return;
#pragma unroll
  for (int k = 0; k < N * N; ++k) {
    float sum = sums[k];
#pragma unroll
    for (int away = 16; away > 0; away /= 2) sum += __shfl_down_sync(0xffffffffu, sum, away);
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32][k] = sum;
  }
  __syncthreads();
  for (int k = threadIdx.x; k < N * N; k += kThreads) {
    float sum = 0;
    for (int warp = 0; warp < kWarps; ++warp) sum += of_warps[warp][k];
    const int j = k / N, b = k % N;
    if (j < maps && b < maps) partials[(blockIdx.x * maps + j) * maps + b] = sum;
  }
}

// One thread an element of the gradient of weight.
template <typename T>
__global__ void kronecker_total_kernel(int pairs, int64_t blocks, const float* partials, T* grad_weight) {
  const int k = static_cast<int>(threadIdx.x);
  if (k >= pairs) return;
  double sum = 0;
  for (int64_t block = 0; block < blocks; ++block) sum += partials[block * pairs + k];
  grad_weight[k] = narrow<T>(static_cast<float>(sum));
}

// Depends on the shape alone, so that sums are always cut in the same way.
int64_t backward_blocks(const KroneckerShape& shape) {
  return blocks_for(shape.outer * shape.inner / 16, kMostPartials);
}

// Calls run(T(), integral constant of the elements of a pack) with a type, and packs of 16 bytes where they fit.
template <typename Run>
cudaError_t with_packs(const KroneckerShape& shape, Element element, bool can_pack, const Run& run) {
  return with_element(element, [&](auto type) {
    const std::integral_constant<int, kPacket<decltype(type)>> pack;
    if (can_pack && shape.inner % pack == 0) return run(type, pack);
    return run(type, std::integral_constant<int, 1>());
  });
}

// Calls run(integral constant, whether it is exact) with the number of maps: 2 to 4 have kernels of their own where
// packs fit.
template <int COUNT, typename Run>
cudaError_t with_maps(int64_t maps, const Run& run) {
  if constexpr (COUNT > 1) {
    if (maps == 2) return run(std::integral_constant<int, 2>(), std::true_type());
    if (maps == 3) return run(std::integral_constant<int, 3>(), std::true_type());
    if (maps == 4) return run(std::integral_constant<int, 4>(), std::true_type());
  }
  return run(std::integral_constant<int, static_cast<int>(kMostKroneckerMaps)>(), std::false_type());
}

}  // namespace

cudaError_t kronecker_fusion(const KroneckerShape& shape, Element element, const KroneckerMaps& xs, const void* weight,
                             bool wide_weight, void* y, cudaStream_t stream) {
  if (shape.outer * shape.inner == 0) return cudaSuccess;
  bool can_pack = aligned(y);
  for (int64_t j = 0; j < shape.maps; ++j) can_pack = can_pack && aligned(xs.at[j]);
  return with_packs(shape, element, can_pack, [&](auto type, auto pack) {
    using T = decltype(type);
    constexpr int COUNT = decltype(pack)::value;
    const int64_t blocks = blocks_for(shape.outer * shape.inner / COUNT, kMostBlocks);
    return with_maps<COUNT>(shape.maps, [&](auto maps, auto exact) {
      return launch(kronecker_forward_kernel<decltype(maps)::value, decltype(exact)::value, COUNT, T>, blocks, kThreads,
                    0, stream, shape, xs, weight, wide_weight, static_cast<T*>(y));
    });
  });
}

int64_t kronecker_partials(const KroneckerShape& shape) { return backward_blocks(shape) * shape.maps * shape.maps; }

cudaError_t kronecker_fusion_backward(const KroneckerShape& shape, Element element, const void* grad,
                                      const KroneckerMaps& xs, const void* weight, bool wide_weight,
                                      const KroneckerGrads& grad_xs, void* grad_weight, float* partials,
                                      cudaStream_t stream) {
  const int pairs = static_cast<int>(shape.maps * shape.maps);
  if (shape.outer * shape.inner == 0) {
    if (grad_weight == nullptr) return cudaSuccess;
    const size_t bytes = wide_weight || element == Element::kFloat ? 4 : 2;
    return cudaMemsetAsync(grad_weight, 0, bytes * static_cast<size_t>(pairs), stream);
  }
  bool can_pack = aligned(grad);
  for (int64_t j = 0; j < shape.maps; ++j) can_pack = can_pack && aligned(xs.at[j]) && aligned(grad_xs.at[j]);
  const int64_t blocks = backward_blocks(shape);
  return with_packs(shape, element, can_pack, [&](auto type, auto pack) {
    using T = decltype(type);
    constexpr int COUNT = decltype(pack)::value;
    const cudaError_t started = with_maps<COUNT>(shape.maps, [&](auto maps, auto exact) {
      return launch(kronecker_backward_kernel<decltype(maps)::value, decltype(exact)::value, COUNT, T>, blocks,
                    kThreads, 0, stream, shape, static_cast<const T*>(grad), xs, weight, wide_weight, grad_xs,
                    grad_weight != nullptr ? partials : nullptr);
    });
    if (started != cudaSuccess || grad_weight == nullptr) return started;
    if (wide_weight) {
      return launch(kronecker_total_kernel<float>, 1, 64, 0, stream, pairs, blocks, partials,
                    static_cast<float*>(grad_weight));
    }
    return launch(kronecker_total_kernel<T>, 1, 64, 0, stream, pairs, blocks, partials, static_cast<T*>(grad_weight));
  });
}

}  // namespace rotacube::cuda
