// The rotation-invariant convolution on NVIDIA GPUs: raw device pointers, sizes and a stream, no PyTorch.
#pragma once

#include <cuda_runtime_api.h>

#include "../include/rotation_conv2d.h"
#include "element.h"
#include "gemm_limits.h"

namespace rotacube::cuda {

// What both passes read. Weights are float32 where `wide_weight` says so, else of the input's type.
struct RotationTensors {
  Element element;
  const void* x;
  Strides x_strides;
  const void* weight;
  Strides weight_strides;
  bool wide_weight;
};

// Each pass needs device memory to work in: `workspace`, of at least so many bytes, aligned to 256.
int64_t rotation_scatter_workspace(const RotationShape& shape, Element element);
int64_t rotation_fourier_workspace(const RotationShape& shape, Element element);
int64_t rotation_backward_input_workspace(const RotationShape& shape, Element element);
int64_t rotation_backward_weight_workspace(const RotationShape& shape, Element element);

// Each starts its pass on `stream`, on the current device, and returns what the launches returned. Any strides; outputs
// overlap nothing. Empty sizes are fine. `bias` is dense, of the weight's type, or null; `index` may be null.
//
// By products of each tap, which serve all rotations and are scattered in shared memory: K = 3, 5, 7; 1 or 4 rotations.
cudaError_t rotation_scatter(const RotationShape& shape, const RotationTensors& in, const void* bias, void* y,
                             const Strides& y_strides, int32_t* index, void* workspace, cudaStream_t stream);

// By the Fourier transform over the four rotations, with 11 products: K = 3 and 4 rotations.
cudaError_t rotation_fourier(const RotationShape& shape, const RotationTensors& in, const void* bias, void* y,
                             const Strides& y_strides, int32_t* index, void* workspace, cudaStream_t stream);

// Backward, K * K products, K = 3, 5, 7. `index` is null with one rotation.
cudaError_t rotation_backward_input(const RotationShape& shape, const RotationTensors& in, const void* grad,
                                    const Strides& grad_strides, const int32_t* index, void* grad_x,
                                    const Strides& grad_x_strides, void* workspace, cudaStream_t stream);

// Writes grad_weight (dense, of the weight's type). The same result in each run: sums over pixels have a fixed order.
cudaError_t rotation_backward_weight(const RotationShape& shape, const RotationTensors& in, const void* grad,
                                     const Strides& grad_strides, const int32_t* index, void* grad_weight,
                                     void* workspace, cudaStream_t stream);

}  // namespace rotacube::cuda
