// The mean over four rotations of a 3 x 3 convolution on the CPU: raw pointers and sizes, no PyTorch.
//
// The mean over rotations is one convolution with a kernel of three values: centre, edge and corner. The four edge and
// the four corner neighbours are added up first, so that it takes 3 products a pixel and pair of channels, not 9.
#pragma once

#include "../include/rotation_conv2d.h"
#include "half.h"
#include "threads.h"

namespace rotacube::cpu {

// y from x, weight (O, C, 3, 3) and bias (O,). The mean of the weight is rounded to X, the bias too; it lies dense, and
// may be null. shape.kernel is 3; the others may lie in any strides.
template <typename X, typename W>
void rotation_mean(const RotationShape& shape, const X* x, const Strides& x_strides, const W* weight,
                   const Strides& weight_strides, const W* bias, X* y, const Strides& y_strides,
                   const Threads& threads);

// The gradient of the weight (O, C, 3, 3), dense. Its sums depend on the number of threads, by rounding.
template <typename X, typename W>
void rotation_mean_backward_weight(const RotationShape& shape, const X* grad, const Strides& grad_strides, const X* x,
                                   const Strides& x_strides, W* grad_weight, const Threads& threads);

}  // namespace rotacube::cpu
