// The Cube convolution on the CPU, forward and backward: raw pointers and sizes, no PyTorch.
#pragma once

#include "../include/cube_conv2d.h"
#include "half.h"
#include "threads.h"

namespace rotacube::cpu {

// x as the lattice is made of it. X is float, BFloat16 or Float16; any strides.
template <typename X>
struct CubeInput {
  const X* x;
  Strides strides;
  const int64_t* order;  // C channels: lattice channel i is x's channel order[i]; null for the natural order
  const X* mask;         // (B, 1, 2H, 2W), multiplied into the lattice; may be null
  Strides mask_strides;
};

// y from x, weight and bias (dense, may be null), both rounded to X. y must not overlap the others.
template <typename X, typename W>
void cube_conv2d(const CubeShape& shape, const CubeInput<X>& input, const W* weight, const Strides& weight_strides,
                 const W* bias, X* y, const Strides& y_strides, const Threads& threads);

// The gradients of x and of the mask; either may be null where it is not wanted. x's own order is undone.
template <typename X, typename W>
void cube_conv2d_backward_input(const CubeShape& shape, const CubeInput<X>& input, const X* grad,
                                const Strides& grad_strides, const W* weight, const Strides& weight_strides, X* grad_x,
                                const Strides& grad_x_strides, X* grad_mask, const Threads& threads);

// The gradient of the weight (O, C/4, K, K), dense. Sums depend on the number of threads, by rounding.
template <typename X, typename W>
void cube_conv2d_backward_weight(const CubeShape& shape, const CubeInput<X>& input, const X* grad,
                                 const Strides& grad_strides, W* grad_weight, const Threads& threads);

}  // namespace rotacube::cpu
