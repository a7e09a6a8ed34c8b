// What the CUDA registrations hand to the launchers of kernels: the type, the stream, memory to work in.
#pragma once

#include <cuda_runtime_api.h>
#include <torch/csrc/stable/accelerator.h>

#include "../cuda/element.h"
#include "checks.h"

namespace rotacube {

// The type of a float32, bfloat16 or float16 tensor.
inline cuda::Element element_of(const Tensor& x) {
  if (x.scalar_type() == ScalarType::Float) return cuda::Element::kFloat;
  return x.scalar_type() == ScalarType::BFloat16 ? cuda::Element::kBFloat16 : cuda::Element::kFloat16;
}

// PyTorch's current stream on the tensor's device.
inline cudaStream_t cuda_stream(const Tensor& x) {
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(x.get_device_index(), &stream));
  return static_cast<cudaStream_t>(stream);
}

// Memory to work in. PyTorch hands it out again in the order of the stream, so it may be let go once the work started.
inline Tensor workspace_on(const Tensor& x, int64_t bytes) {
  return torch::stable::empty({&bytes, 1}, ScalarType::Byte, std::nullopt, x.device());
}

}  // namespace rotacube
