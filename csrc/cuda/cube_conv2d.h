// The Cube convolution on NVIDIA GPUs: raw device pointers, sizes and a stream, no PyTorch.
#pragma once

#include <cuda_runtime_api.h>

#include "../include/cube_conv2d.h"
#include "element.h"
#include "gemm_limits.h"

namespace rotacube::cuda {

// What both passes read. Weights are float32 where `wide_weight` says so, else of the input's type.
struct CubeTensors {
  Element element;
  const void* x;
  Strides x_strides;
  const void* weight;
  Strides weight_strides;
  bool wide_weight;
  const int64_t* order;  // dense, or null
  const void* mask;      // or null
  Strides mask_strides;
};

// Each pass needs device memory to work in: `workspace`, of at least so many bytes, aligned to 256.
int64_t cube_conv2d_workspace(const CubeShape& shape, Element element);
int64_t cube_conv2d_backward_input_workspace(const CubeShape& shape, Element element, bool want_mask);
int64_t cube_conv2d_backward_weight_workspace(const CubeShape& shape, Element element);

// Each starts its pass on `stream`, on the current device, and returns what the launches returned. Any strides; outputs
// overlap nothing. Empty sizes are fine. `bias` is dense, of the weight's type, or null.
cudaError_t cube_conv2d(const CubeShape& shape, const CubeTensors& in, const void* bias, void* y,
                        const Strides& y_strides, void* workspace, cudaStream_t stream);

// Writes grad_x and grad_mask (dense); either may be null.
cudaError_t cube_conv2d_backward_input(const CubeShape& shape, const CubeTensors& in, const void* grad,
                                       const Strides& grad_strides, void* grad_x, const Strides& grad_x_strides,
                                       void* grad_mask, void* workspace, cudaStream_t stream);

// Writes grad_weight (dense, of the weight's type). The same result in each run: sums over pixels have a fixed order.
cudaError_t cube_conv2d_backward_weight(const CubeShape& shape, const CubeTensors& in, const void* grad,
                                        const Strides& grad_strides, void* grad_weight, void* workspace,
                                        cudaStream_t stream);

}  // namespace rotacube::cuda
