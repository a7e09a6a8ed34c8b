// The Cube convolution on the CPU, in float32: raw pointers and sizes, no PyTorch.
#pragma once

#include "../include/cube_conv2d.h"

namespace rotacube::cpu {

// How the caller runs work on its threads: calls body(first, last, context) on ranges that cover [0, count).
struct Threads {
  int64_t number;
  void (*run)(int64_t count, void (*body)(int64_t first, int64_t last, void* context), void* context);
};

// Computes y from x, weight and bias (which may be null). Any strides; y must not overlap the others. Empty sizes are
// fine. Throws std::bad_alloc where the scratch memory (packed weights, and a tile a thread) cannot be had.
void cube_conv2d(const CubeShape& shape, const float* x, const Strides& x_strides, const float* weight,
                 const Strides& weight_strides, const float* bias, float* y, const Strides& y_strides,
                 const Threads& threads);

}  // namespace rotacube::cpu
