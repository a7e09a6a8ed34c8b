// The CUDA kernels of the Cube convolution, whose schemas cube_cpu.cpp defines, against PyTorch's stable ABI.
#include <tuple>

#include "../cuda/cube_conv2d.h"
#include "cube_checks.h"
#include "cuda_call.h"

namespace rotacube {
namespace {

void check_size(const CubeShape& shape) {
  require(shape.batch * shape.height * shape.width < cuda::kMostPixels && shape.channels < cuda::kMostPixels &&
              shape.outputs < cuda::kMostPixels,
          "The CUDA Cube convolution takes less than 2^30 pixels at a time; split the batch.");
}

cuda::CubeTensors cube_tensors(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& order,
                               const std::optional<Tensor>& mask) {
  return {element_of(x),
          x.const_data_ptr(),
          strides_of(x),
          weight.const_data_ptr(),
          strides_of(weight),
          weight.scalar_type() == ScalarType::Float,
          order.has_value() ? order->const_data_ptr<int64_t>() : nullptr,
          mask.has_value() ? mask->const_data_ptr() : nullptr,
          mask.has_value() ? strides_of(*mask) : Strides{}};
}

// The order is not looked at: its values are on the GPU. Those that are no permutation are the caller's error.
Tensor cube_conv2d(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias,
                   const std::optional<Tensor>& order, const std::optional<Tensor>& mask, const std::string& anchor) {
  const CubeShape shape = check_cube_conv2d(x, weight, bias, order, mask, anchor);
  check_size(shape);
  const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
  const std::optional<Tensor> dense_bias = dense(bias), dense_order = dense(order);
  Tensor y = empty_like(x, shape.batch, shape.outputs, shape.height, shape.width);
  const cuda::CubeTensors in = cube_tensors(x, weight, dense_order, mask);
  const Tensor workspace = workspace_on(x, cuda::cube_conv2d_workspace(shape, in.element));
  STD_CUDA_CHECK(cuda::cube_conv2d(shape, in, dense_bias.has_value() ? dense_bias->const_data_ptr() : nullptr,
                                   y.mutable_data_ptr(), strides_of(y), workspace.mutable_data_ptr(), cuda_stream(x)));
  return y;
}

std::tuple<Tensor, Tensor, Tensor> cube_conv2d_backward(const Tensor& grad, const Tensor& x, const Tensor& weight,
                                                        const std::optional<Tensor>& order,
                                                        const std::optional<Tensor>& mask, const std::string& anchor,
                                                        bool want_x, bool want_weight, bool want_mask) {
  const CubeShape shape = check_cube_conv2d(x, weight, std::nullopt, order, mask, anchor);
  check_size(shape);
  check_cube_grad(shape, grad, x);
  require(mask.has_value() || !want_mask, "A Cube convolution without a mask has no gradient of one.");
  const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
  const std::optional<Tensor> dense_order = dense(order);
  Tensor grad_x = map_gradient(x, x, want_x), grad_weight = dense_gradient(weight, want_weight);
  Tensor grad_mask = mask.has_value() ? dense_gradient(*mask, want_mask) : nothing_like(x);
  const cuda::CubeTensors in = cube_tensors(x, weight, dense_order, mask);
  if (want_x || want_mask) {
    const int64_t bytes = cuda::cube_conv2d_backward_input_workspace(shape, in.element, want_mask);
    const Tensor workspace = workspace_on(x, bytes);
    STD_CUDA_CHECK(cuda::cube_conv2d_backward_input(
        shape, in, grad.const_data_ptr(), strides_of(grad), want_x ? grad_x.mutable_data_ptr() : nullptr,
        want_x ? strides_of(grad_x) : Strides{}, want_mask ? grad_mask.mutable_data_ptr() : nullptr,
        workspace.mutable_data_ptr(), cuda_stream(x)));
  }
  if (want_weight) {
    const Tensor workspace = workspace_on(x, cuda::cube_conv2d_backward_weight_workspace(shape, in.element));
    STD_CUDA_CHECK(cuda::cube_conv2d_backward_weight(shape, in, grad.const_data_ptr(), strides_of(grad),
                                                     grad_weight.mutable_data_ptr(), workspace.mutable_data_ptr(),
                                                     cuda_stream(x)));
  }
  return {grad_x, grad_weight, grad_mask};
}

}  // namespace
}  // namespace rotacube

STABLE_TORCH_LIBRARY_IMPL(rotacube, CUDA, m) {
  m.impl("cube_conv2d", TORCH_BOX(&rotacube::cube_conv2d));
  m.impl("cube_conv2d_backward", TORCH_BOX(&rotacube::cube_conv2d_backward));
}
