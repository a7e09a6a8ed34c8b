// The device memory and the stream that the matrix products on the GPU run with.
#pragma once

#include <cuda_runtime_api.h>

#include "cuda_call.h"

namespace rotacube {

inline cudaStream_t cuda_stream(const Tensor& x) { return static_cast<cudaStream_t>(stream_of(x)); }

// Memory to work in. PyTorch hands it out again in the order of the stream, so it may be let go once the work started.
inline Tensor workspace_on(const Tensor& x, int64_t bytes) {
  return torch::stable::empty({&bytes, 1}, ScalarType::Byte, std::nullopt, x.device());
}

}  // namespace rotacube
