// Involution on the CPU, forward and backward: raw pointers and sizes, no PyTorch.
#pragma once

#include "../include/involution.h"
#include "half.h"
#include "threads.h"

namespace rotacube::cpu {

// y from x and kernel. X is float, BFloat16 or Float16; sums are float32, and do not depend on the threads.
template <typename X>
void involution2d(const InvolutionShape& shape, const X* x, const X* kernel, X* y, const Threads& threads);

// The gradients of x and kernel; either may be null where it is not wanted.
template <typename X>
void involution2d_backward(const InvolutionShape& shape, const X* grad, const X* x, const X* kernel, X* grad_x,
                           X* grad_kernel, const Threads& threads);

}  // namespace rotacube::cpu
