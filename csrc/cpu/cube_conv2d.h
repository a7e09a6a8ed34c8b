// The Cube convolution on the CPU, in float32 and bfloat16: raw pointers and sizes, no PyTorch.
#pragma once

#include "../include/cube_conv2d.h"
#include "half.h"
#include "threads.h"

namespace rotacube::cpu {

// Where the tensors lie. Any strides; y must not overlap the others. The bias lies dense, and may be null.
template <typename X, typename W>
struct Operands {
  const X* x;
  Strides x_strides;
  const W* weight;
  Strides weight_strides;
  const W* bias;
  X* y;
  Strides y_strides;
};

// Computes y from x, weight and bias, accumulating in float32; there are <float, float>, <BFloat16, BFloat16> and
// <BFloat16, float>, whose weights and bias are first rounded to bfloat16. Empty sizes are fine. Throws std::bad_alloc
// where the scratch memory (packed weights, and a tile a thread) cannot be had.
template <typename X, typename W>
void cube_conv2d(const CubeShape& shape, const Operands<X, W>& operands, const Threads& threads);

}  // namespace rotacube::cpu
