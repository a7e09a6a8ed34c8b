// Involution on NVIDIA GPUs: raw device pointers, sizes and a stream, no PyTorch.
#pragma once

#include <cuda_runtime_api.h>

#include "../include/involution.h"
#include "element.h"

namespace rotacube::cuda {

// Starts the computation of y from x and kernel, all of type `element`, on `stream`, on the current device. Sums are
// float32. Empty sizes are fine. Returns what the launch returned.
cudaError_t involution2d(const InvolutionShape& shape, Element element, const void* x, const void* kernel, void* y,
                         cudaStream_t stream);

// The gradients of x and kernel; either may be null where it is not wanted. Each is summed in one order.
cudaError_t involution2d_backward(const InvolutionShape& shape, Element element, const void* grad, const void* x,
                                  const void* kernel, void* grad_x, void* grad_kernel, cudaStream_t stream);

}  // namespace rotacube::cuda
