// The rotation-invariant convolution on the CPU, max over rotations, forward and backward: raw pointers and sizes.
#pragma once

#include "../include/rotation_conv2d.h"
#include "half.h"
#include "threads.h"

namespace rotacube::cpu {

// y from x, weight and bias (dense, may be null), both rounded to X; any strides. `index` (B, Ho, Wo, O / 16 rounded
// up), dense, gets the rotation of each maximum; it may be null. Scatter form: the products of a pixel's channels with
// each tap are computed once, into a ring of rows in the cache, and every rotation adds them up at its own places.
template <typename X, typename W>
void rotation_conv2d(const RotationShape& shape, const X* x, const Strides& x_strides, const W* weight,
                     const Strides& weight_strides, const W* bias, X* y, const Strides& y_strides, int32_t* index,
                     const Threads& threads);

// The gradients of x and of the weight (dense); either may be null where it is not wanted. `index` as the forward pass
// left it, null for one rotation. Each tap's gradient is gathered from all rotations first (sums only), so that the
// products are those of one ordinary convolution. The weight's sums depend on the number of threads, by rounding.
template <typename X, typename W>
void rotation_conv2d_backward(const RotationShape& shape, const X* grad, const Strides& grad_strides,
                              const int32_t* index, const X* x, const Strides& x_strides, const W* weight,
                              const Strides& weight_strides, X* grad_x, const Strides& grad_x_strides, W* grad_weight,
                              const Threads& threads);

}  // namespace rotacube::cpu
