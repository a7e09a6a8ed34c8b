// Involution on NVIDIA GPUs: each thread keeps the sums of some channels of one group at one pixel, so that a tap is
// read once for all of them; neighbouring threads read neighbouring memory, and the windows overlap in the caches.
#include <cstdint>
#include <type_traits>

#include "elements.h"
#include "involution.h"
#include "launch.h"

namespace rotacube::cuda {
namespace {

constexpr int64_t kMostBlocks = 1 << 20;

// COUNT neighbouring channels: in channels_last they are one pack, else a plane apart.
template <int COUNT, bool LAST, typename T>
__device__ inline void read_channels(const T* from, int64_t plane, float (&to)[COUNT]) {
  if constexpr (LAST && COUNT > 1) {
    const auto pack = *reinterpret_cast<const Pack<T, COUNT>*>(from);
#pragma unroll
    for (int e = 0; e < COUNT; ++e) to[e] = widen(pack.at[e]);
  } else {
#pragma unroll
    for (int e = 0; e < COUNT; ++e) to[e] = widen(from[e * plane]);
  }
}

template <int COUNT, bool LAST, typename T>
__device__ inline void write_channels(const float (&from)[COUNT], T* to, int64_t plane) {
  if constexpr (LAST && COUNT > 1) {
    Pack<T, COUNT> pack;
#pragma unroll
    for (int e = 0; e < COUNT; ++e) pack.at[e] = narrow<T>(from[e]);
    *reinterpret_cast<Pack<T, COUNT>*>(to) = pack;
  } else {
#pragma unroll
    for (int e = 0; e < COUNT; ++e) to[e * plane] = narrow<T>(from[e]);
  }
}

// A pixel, and which of the `parts` of its channels (or taps): neighbouring threads take neighbouring memory.
struct Place {
  int64_t image, row, column, part;
};

template <bool LAST>
__device__ inline Place place_of(const InvolutionShape& shape, int64_t index, int64_t parts) {
  Place place;
  if constexpr (LAST) {
    place.part = index % parts;
    index /= parts;
  }
  place.column = index % shape.width;
  index /= shape.width;
  place.row = index % shape.height;
  index /= shape.height;
  if constexpr (!LAST) {
    place.part = index % parts;
    index /= parts;
  }
  place.image = index;
  return place;
}

// Where a channel of a pixel lies in a tensor of `channels` channels.
template <bool LAST>
__device__ inline int64_t offset_of(const InvolutionShape& shape, int64_t channels, int64_t image, int64_t channel,
                                    int64_t row, int64_t column) {
  if constexpr (LAST) return ((image * shape.height + row) * shape.width + column) * channels + channel;
  return ((image * channels + channel) * shape.height + row) * shape.width + column;
}

constexpr int kMostTaps = 7;

// K known to the compiler, or where it is 0 read from the shape.
template <int K>
__device__ inline int size_of(const InvolutionShape& shape) {
  return K > 0 ? K : static_cast<int>(shape.kernel);
}

// y from x; or where BACK is true the gradient of x from that of y: then a pixel gathers what the windows that reach it
// did with it, each with its own kernel.
template <int KNOWN, int COUNT, bool LAST, bool BACK, typename T>
__global__ void __launch_bounds__(kThreads)
    involve_kernel(InvolutionShape shape, const T* __restrict__ x, const T* __restrict__ kernel, T* __restrict__ y) {
  const int K = size_of<KNOWN>(shape);
  const int64_t width = shape.channels / shape.groups, parts = shape.channels / COUNT;
  const int64_t taps = shape.groups * K * K, pixels = shape.height * shape.width;
  const int64_t count = shape.batch * pixels * parts, step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = thread_number(); i < count; i += step) {
    const Place place = place_of<LAST>(shape, i, parts);
    const int64_t channel = place.part * COUNT, first_tap = channel / width * K * K;
    float sums[COUNT] = {};
    for (int u = 0; u < K; ++u) {
      const int64_t row = place.row + (BACK ? K / 2 - u : u - K / 2);
      if (row < 0 || row >= shape.height) continue;
#pragma unroll(KNOWN > 0 ? KNOWN : 1)
      for (int v = 0; v < K; ++v) {
        const int64_t column = place.column + (BACK ? K / 2 - v : v - K / 2);
        if (column < 0 || column >= shape.width) continue;
        const float tap = widen(kernel[offset_of<LAST>(shape, taps, place.image, first_tap + u * K + v,
                                                       BACK ? row : place.row, BACK ? column : place.column)]);
        float from[COUNT];
        read_channels<COUNT, LAST>(x + offset_of<LAST>(shape, shape.channels, place.image, channel, row, column),
                                   pixels, from);
#pragma unroll
        for (int e = 0; e < COUNT; ++e) sums[e] = fmaf(tap, from[e], sums[e]);
      }
    }
    write_channels<COUNT, LAST>(
        sums, y + offset_of<LAST>(shape, shape.channels, place.image, channel, place.row, place.column), pixels);
  }
}

// The gradient of kernel: a thread takes one row of taps of one group at one pixel, COUNT channels at a time.
template <int KNOWN, int COUNT, bool LAST, typename T>
__global__ void __launch_bounds__(kThreads) pull_taps_kernel(InvolutionShape shape, const T* __restrict__ grad,
                                                             const T* __restrict__ x, T* __restrict__ grad_kernel) {
  const int K = size_of<KNOWN>(shape);
  const int64_t width = shape.channels / shape.groups, parts = shape.groups * K;
  const int64_t taps = shape.groups * K * K, pixels = shape.height * shape.width;
  const int64_t count = shape.batch * pixels * parts, step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = thread_number(); i < count; i += step) {
    const Place place = place_of<LAST>(shape, i, parts);
    const int64_t group = place.part / K, row = place.row + place.part % K - K / 2;
    float sums[KNOWN > 0 ? KNOWN : kMostTaps] = {};
    if (row >= 0 && row < shape.height) {
      for (int64_t c = group * width; c < (group + 1) * width; c += COUNT) {
        float pull[COUNT];
        read_channels<COUNT, LAST>(
            grad + offset_of<LAST>(shape, shape.channels, place.image, c, place.row, place.column), pixels, pull);
#pragma unroll
        for (int v = 0; v < (KNOWN > 0 ? KNOWN : kMostTaps); ++v) {
          if (v >= K) break;
          const int64_t column = place.column + v - K / 2;
          if (column < 0 || column >= shape.width) continue;
          float from[COUNT];
          read_channels<COUNT, LAST>(x + offset_of<LAST>(shape, shape.channels, place.image, c, row, column), pixels,
                                     from);
#pragma unroll
          for (int e = 0; e < COUNT; ++e) sums[v] = fmaf(pull[e], from[e], sums[v]);
        }
      }
    }
    T* const to = grad_kernel + offset_of<LAST>(shape, taps, place.image, place.part * K, place.row, place.column);
#pragma unroll
    for (int v = 0; v < (KNOWN > 0 ? KNOWN : kMostTaps); ++v) {
      if (v < K) to[LAST ? v : v * pixels] = narrow<T>(sums[v]);
    }
  }
}

template <typename Run>
cudaError_t with_kernel_size(int64_t kernel, const Run& run) {
  if (kernel == 3) return run(std::integral_constant<int, 3>());
  if (kernel == 5) return run(std::integral_constant<int, 5>());
  return run(std::integral_constant<int, 7>());
}

// Calls run(T(), K or 0, channels a thread, whether the memory format is channels_last). `packed` says that packs of 16
// bytes may be read and written where the groups are made of them: that case has a kernel for each K.
template <typename Run>
cudaError_t with_case(const InvolutionShape& shape, Element element, bool packed, const Run& run) {
  const int64_t width = shape.channels / shape.groups;
  return with_element(element, [&](auto type) {
    const std::integral_constant<int, 0> any;
    const std::integral_constant<int, 1> one;
    const std::integral_constant<int, kPacket<decltype(type)>> pack;
    if (shape.channels_last && packed && width % pack == 0) {
      return with_kernel_size(shape.kernel, [&](auto size) { return run(type, size, pack, std::true_type()); });
    }
    if (shape.channels_last) return run(type, any, one, std::true_type());
    if (width % 4 != 0) return run(type, any, one, std::false_type());
    return run(type, any, std::integral_constant<int, 4>(), std::false_type());
  });
}

bool is_empty(const InvolutionShape& shape) { return shape.batch * shape.channels * shape.height * shape.width == 0; }

}  // namespace

cudaError_t involution2d(const InvolutionShape& shape, Element element, const void* x, const void* kernel, void* y,
                         cudaStream_t stream) {
  if (is_empty(shape)) return cudaSuccess;
  return with_case(shape, element, aligned(x) && aligned(y), [&](auto type, auto size, auto count, auto last) {
    using T = decltype(type);
    constexpr int COUNT = decltype(count)::value;
    const int64_t items = shape.batch * shape.channels * shape.height * shape.width / COUNT;
    return launch(involve_kernel<decltype(size)::value, COUNT, decltype(last)::value, false, T>,
                  blocks_for(items, kMostBlocks), kThreads, 0, stream, shape, static_cast<const T*>(x),
                  static_cast<const T*>(kernel), static_cast<T*>(y));
  });
}

cudaError_t involution2d_backward(const InvolutionShape& shape, Element element, const void* grad, const void* x,
                                  const void* kernel, void* grad_x, void* grad_kernel, cudaStream_t stream) {
  if (is_empty(shape)) return cudaSuccess;
  const int64_t pixels = shape.batch * shape.height * shape.width;
  const bool packed = aligned(grad) && aligned(x) && aligned(grad_x);
  return with_case(shape, element, packed, [&](auto type, auto size, auto count, auto last) {
    using T = decltype(type);
    constexpr int K = decltype(size)::value, COUNT = decltype(count)::value;
    constexpr bool LAST = decltype(last)::value;
    if (grad_x != nullptr) {
      const cudaError_t error = launch(
          involve_kernel<K, COUNT, LAST, true, T>, blocks_for(pixels * shape.channels / COUNT, kMostBlocks), kThreads,
          0, stream, shape, static_cast<const T*>(grad), static_cast<const T*>(kernel), static_cast<T*>(grad_x));
      if (error != cudaSuccess) return error;
    }
    if (grad_kernel == nullptr) return cudaSuccess;
    return launch(pull_taps_kernel<K, COUNT, LAST, T>, blocks_for(pixels * shape.groups * shape.kernel, kMostBlocks),
                  kThreads, 0, stream, shape, static_cast<const T*>(grad), static_cast<const T*>(x),
                  static_cast<T*>(grad_kernel));
  });
}

}  // namespace rotacube::cuda
