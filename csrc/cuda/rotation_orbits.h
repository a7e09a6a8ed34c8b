// The four rotations of a square kernel: its positions fall into orbits, and a tap travels along its own.
//
// With a first position D_0 = (row, column) the orbit is D_i = tap_at(i, row, column), i = 0..3. At position D_i the
// rotation r has the tap D_{(i + r) % 4}; so the tap D_j meets position D_i in rotation (j - i) % 4. The centre stays.
#pragma once

#include "../include/rotation_conv2d.h"
#include "gemm_memory.h"

namespace rotacube::cuda {

struct Orbits {
  int kernel;

  ROTACUBE_HOST_DEVICE int half() const { return kernel / 2; }
  ROTACUBE_HOST_DEVICE int count() const { return half() * (half() + 1); }  // without the centre
  ROTACUBE_HOST_DEVICE int centre() const { return kernel * kernel / 2; }
  // The position (row * K + column) D_i of an orbit.
  ROTACUBE_HOST_DEVICE int position(int orbit, int i) const {
    return static_cast<int>(tap_at(i, orbit / (half() + 1), orbit % (half() + 1), kernel));
  }
};

// The larger of two sums; what is no number stays.
__device__ inline void take_larger(float sum, int r, float& best, int& best_r) {
  if (sum > best || sum != sum) {
    best = sum;
    best_r = r;
  }
}

// Rounded to the input's type, as float32; zeros where they are filled up.
template <typename T, typename W>
__global__ void pack_bias(const W* bias, int outputs, int padded_outputs, float* packed) {
  const int64_t output = thread_number();
  if (output >= padded_outputs) return;
  packed[output] = output < outputs ? widen(narrow<T>(widen(bias[output]))) : 0.0f;
}

}  // namespace rotacube::cuda
