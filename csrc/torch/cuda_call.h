// What the CUDA registrations say to the kernels' launchers.
#pragma once

#include <torch/csrc/stable/accelerator.h>

#include "../cuda/element.h"
#include "checks.h"

namespace rotacube {

// The type of a float32, bfloat16 or float16 tensor.
inline cuda::Element element_of(const Tensor& x) {
  if (x.scalar_type() == ScalarType::Float) return cuda::Element::kFloat;
  return x.scalar_type() == ScalarType::BFloat16 ? cuda::Element::kBFloat16 : cuda::Element::kFloat16;
}

// PyTorch's current stream on the tensor's device, a cudaStream_t.
inline void* stream_of(const Tensor& x) {
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(x.get_device_index(), &stream));
  return stream;
}

}  // namespace rotacube
