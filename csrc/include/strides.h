// How a tensor of four dimensions lies in memory.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define ROTACUBE_HOST_DEVICE __host__ __device__
#else
#define ROTACUBE_HOST_DEVICE
#endif

namespace rotacube {

// Distances between neighbours, in elements.
struct Strides {
  int64_t batch;  // of a weight: between output channels
  int64_t channel;
  int64_t row;
  int64_t column;
};

// Where a tap (row * kernel + column) of a weight lies.
template <typename Tap, typename Kernel>
ROTACUBE_HOST_DEVICE inline int64_t tap_offset(const Strides& strides, Tap tap, Kernel kernel) {
  return tap / kernel * strides.row + tap % kernel * strides.column;
}

}  // namespace rotacube
