// Kronecker feature fusion on NVIDIA GPUs: raw device pointers, sizes and a stream, no PyTorch.
#pragma once

#include <cuda_runtime_api.h>

#include "../include/kronecker.h"
#include "element.h"

namespace rotacube::cuda {

// Device pointers to the maps; those past shape.maps are not used.
struct KroneckerMaps {
  const void* at[kMostKroneckerMaps];
};

struct KroneckerGrads {
  void* at[kMostKroneckerMaps];
};

// Starts the computation of y from the maps, all of type `element`, and weight (n, n), of that type or float32, on
// `stream`, on the current device. Sums are float32. Empty sizes are fine. Returns what the launch returned.
cudaError_t kronecker_fusion(const KroneckerShape& shape, Element element, const KroneckerMaps& xs, const void* weight,
                             bool wide_weight, void* y, cudaStream_t stream);

// The floats that kronecker_fusion_backward needs in `partials`.
int64_t kronecker_partials(const KroneckerShape& shape);

// The gradients of the maps (grad_xs.at[0] null where they are not wanted) and of weight (grad_weight null where it is
// not wanted), in one pass over grad and maps. The sums of grad_weight are always taken in the same order.
cudaError_t kronecker_fusion_backward(const KroneckerShape& shape, Element element, const void* grad,
                                      const KroneckerMaps& xs, const void* weight, bool wide_weight,
                                      const KroneckerGrads& grad_xs, void* grad_weight, float* partials,
                                      cudaStream_t stream);

}  // namespace rotacube::cuda
