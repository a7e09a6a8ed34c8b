// What the matrix products on the GPU read and write: packets of 16 bytes, tensors, shared memory.
#pragma once

#include <cuda_pipeline_primitives.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#include "../include/strides.h"
#include "elements.h"
#include "launch.h"

namespace rotacube::cuda {

struct alignas(16) Packet {
  uint32_t word[4];
};

__device__ inline uint32_t bits_of(float value) { return __float_as_uint(value); }
__device__ inline uint32_t bits_of(__nv_bfloat16 value) { return __bfloat16_as_ushort(value); }
__device__ inline uint32_t bits_of(__half value) { return __half_as_ushort(value); }

template <typename T>
__device__ inline T element(const Packet& packet, int i) {
  if constexpr (sizeof(T) == 4) {
    return __uint_as_float(packet.word[i]);
  } else {
    const auto half = static_cast<unsigned short>(packet.word[i / 2] >> (16 * (i % 2)));
    if constexpr (std::is_same_v<T, __half>) return __ushort_as_half(half);
    if constexpr (std::is_same_v<T, __nv_bfloat16>) return __ushort_as_bfloat16(half);
  }
}

// Into a packet that is zero at i.
template <typename T>
__device__ inline void put(Packet& packet, int i, T value) {
  if constexpr (sizeof(T) == 4) {
    packet.word[i] = bits_of(value);
  } else {
    packet.word[i / 2] |= bits_of(value) << (16 * (i % 2));
  }
}

__device__ inline Packet read_packet(const void* from) {
  const uint4 four = __ldg(static_cast<const uint4*>(from));
  return {{four.x, four.y, four.z, four.w}};
}

__device__ inline void write_packet(void* to, const Packet& packet) { *static_cast<Packet*>(to) = packet; }

__device__ inline float read(const float* from) { return __ldg(from); }
__device__ inline __nv_bfloat16 read(const __nv_bfloat16* from) {
  return __ushort_as_bfloat16(__ldg(reinterpret_cast<const unsigned short*>(from)));
}
__device__ inline __half read(const __half* from) {
  return __ushort_as_half(__ldg(reinterpret_cast<const unsigned short*>(from)));
}

// A tap (row * kernel + column) of a weight, rounded to the input's type.
template <typename T, typename W>
__device__ inline T read_tap(const W* weight, const Strides& strides, int output, int channel, int tap, int kernel) {
  return narrow<T>(
      widen(weight[output * strides.batch + channel * strides.channel + tap_offset(strides, tap, kernel)]));
}

// A pixel of a batch of images; image -1 stands for none.
struct Place {
  int image, row, column;
};

__device__ inline Place place_of(int pixel, int end, int height, int width) {
  if (pixel >= end) return {-1, 0, 0};
  const unsigned int line = static_cast<unsigned int>(pixel) / static_cast<unsigned int>(width);
  const unsigned int image = line / static_cast<unsigned int>(height);
  return {static_cast<int>(image), static_cast<int>(line - image * height), static_cast<int>(pixel - line * width)};
}

// A tensor (batch, channels, height, width).
template <typename T>
struct Plane {
  T* data;
  Strides strides;
  int channels, height, width;
  bool packets;  // the channels of a pixel are whole packets, side by side

  // Whether a pixel lies inside, and where it begins.
  __device__ bool find(const Place& place, int down, int right, int64_t& offset) const {
    const int row = place.row + down, column = place.column + right;
    const bool inside = place.image >= 0 && row >= 0 && row < height && column >= 0 && column < width;
    offset = inside ? place.image * strides.batch + row * strides.row + column * strides.column : 0;
    return inside;
  }

  // Some neighbouring channels of a pixel, zeros where there are none.
  __device__ Packet read_channels(int64_t offset, int channel) const {
    Packet packet{};
    if (packets) {
      if (channel < channels) packet = read_packet(data + offset + channel);
    } else {
#pragma unroll
      for (int i = 0; i < kPacket<T>; ++i) {
        if (channel + i < channels) put(packet, i, read(data + offset + (channel + i) * strides.channel));
      }
    }
    return packet;
  }
};

template <typename T>
Plane<T> plane_of(const void* data, const Strides& strides, int64_t channels, int64_t height, int64_t width) {
  const auto whole = [](int64_t number) { return number % kPacket<T> == 0; };
  return {static_cast<T*>(const_cast<void*>(data)),
          strides,
          static_cast<int>(channels),
          static_cast<int>(height),
          static_cast<int>(width),
          strides.channel == 1 && reinterpret_cast<uintptr_t>(data) % 16 == 0 && whole(channels) &&
              whole(strides.batch) && whole(strides.row) && whole(strides.column)};
}

__device__ inline char* shared_memory() {
#if defined(__CUDACC__)
  extern __shared__ __align__(1024) char memory[];
  return memory;
#else
  return static_cast<char*>(emulator::shared_memory());
#endif
}

// Places in a block of memory, one after the other; without a block it only counts.
class Arena {
 public:
  explicit Arena(void* memory) : memory_(static_cast<char*>(memory)) {}

  template <typename T>
  T* take(int64_t count) {
    const int64_t at = bytes_;
    bytes_ += (count * static_cast<int64_t>(sizeof(T)) + 255) / 256 * 256;
    return memory_ == nullptr ? nullptr : reinterpret_cast<T*>(memory_ + at);
  }

  int64_t bytes() const { return bytes_; }

 private:
  char* memory_;
  int64_t bytes_ = 0;
};

constexpr int64_t up_to(int64_t number, int64_t multiple) { return (number + multiple - 1) / multiple * multiple; }

}  // namespace rotacube::cuda
