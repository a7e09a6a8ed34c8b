// Kronecker feature fusion on the CPU, forward and backward: raw pointers and sizes, no PyTorch.
#pragma once

#include "../include/kronecker.h"
#include "half.h"
#include "threads.h"

namespace rotacube::cpu {

// y from the maps and weight (n, n), each map read once and y written once. X is float, BFloat16 or Float16; sums are
// float32.
template <typename X>
void kronecker_fusion(const KroneckerShape& shape, const X* const* xs, const float* weight, X* y,
                      const Threads& threads);

// The gradients of the maps and of weight, in one pass over grad and maps. grad_xs may be null, or grad_weight, where
// it is not wanted. The sums of grad_weight do not depend on the threads.
template <typename X>
void kronecker_fusion_backward(const KroneckerShape& shape, const X* grad, const X* const* xs, const float* weight,
                               X* const* grad_xs, float* grad_weight, const Threads& threads);

}  // namespace rotacube::cpu
