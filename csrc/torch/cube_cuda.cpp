// The CUDA kernel of the Cube convolution, whose schema cube_cpu.cpp defines, against PyTorch's stable ABI.
#include <torch/csrc/stable/accelerator.h>

#include "../cuda/cube_conv2d.h"
#include "cube_checks.h"

namespace rotacube {
namespace {

Tensor cube_conv2d(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias,
                   const std::optional<Tensor>& order, const std::optional<Tensor>& mask, const std::string& anchor) {
  const CubeShape shape = check_cube_conv2d(x, weight, bias, order, mask, anchor);
  require(x.scalar_type() == ScalarType::Float && !order.has_value() && !mask.has_value(),
          "The CUDA Cube convolution takes float32 without order and mask.");
  const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
  std::optional<Tensor> dense_bias;
  if (bias.has_value()) dense_bias = torch::stable::contiguous(*bias);
  Tensor y = empty_like(x, shape.batch, shape.outputs, shape.height, shape.width);
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(x.get_device_index(), &stream));
  STD_CUDA_CHECK(cuda::cube_conv2d(shape, x.const_data_ptr<float>(), strides_of(x), weight.const_data_ptr<float>(),
                                   strides_of(weight),
                                   dense_bias.has_value() ? dense_bias->const_data_ptr<float>() : nullptr,
                                   y.mutable_data_ptr<float>(), strides_of(y), static_cast<cudaStream_t>(stream)));
  return y;
}

}  // namespace
}  // namespace rotacube

STABLE_TORCH_LIBRARY_IMPL(rotacube, CUDA, m) { m.impl("cube_conv2d", TORCH_BOX(&rotacube::cube_conv2d)); }
