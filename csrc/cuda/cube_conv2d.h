// The Cube convolution on NVIDIA GPUs, in float32: raw device pointers, sizes and a stream, no PyTorch.
#pragma once

#include <cuda_runtime_api.h>

#include "../include/cube_conv2d.h"

namespace rotacube::cuda {

// Starts the computation of y from x, weight and bias (which may be null) on `stream`, on the current device. Any
// strides; y must not overlap the others. Empty sizes are fine. Returns what the launch returned.
cudaError_t cube_conv2d(const CubeShape& shape, const float* x, const Strides& x_strides, const float* weight,
                        const Strides& weight_strides, const float* bias, float* y, const Strides& y_strides,
                        cudaStream_t stream);

}  // namespace rotacube::cuda
