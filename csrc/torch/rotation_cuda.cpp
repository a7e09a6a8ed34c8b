// The CUDA kernels of the rotation-invariant convolution, whose schemas rotation_cpu.cpp defines, against PyTorch's
// stable ABI.
#include <tuple>

#include "../cuda/rotation_conv2d.h"
#include "cuda_call.h"
#include "rotation_checks.h"

namespace rotacube {
namespace {

void check_size(const RotationShape& shape) {
  require(shape.batch * shape.height * shape.width < cuda::kMostPixels &&
              shape.batch * shape.out_height() * shape.out_width() < cuda::kMostPixels &&
              shape.channels < cuda::kMostPixels && shape.outputs < cuda::kMostPixels,
          "The CUDA rotation convolution takes less than 2^30 pixels at a time; split the batch.");
}

cuda::RotationTensors rotation_tensors(const Tensor& x, const Tensor& weight) {
  return {element_of(x),           x.const_data_ptr(), strides_of(x),
          weight.const_data_ptr(), strides_of(weight), weight.scalar_type() == ScalarType::Float};
}

std::tuple<Tensor, Tensor> rotation_conv2d(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias,
                                           int64_t rotations, int64_t padding, bool want_index,
                                           const std::string& algorithm) {
  const RotationShape shape = check_rotation_conv2d(x, weight, bias, rotations, padding);
  check_size(shape);
  require(algorithm == "scatter" || algorithm == "fourier",
          "The CUDA rotation convolution knows the algorithms \"scatter\" and \"fourier\", not \"", algorithm, "\".");
  const bool fourier = algorithm == "fourier";
  require(!fourier || (shape.kernel == 3 && rotations == 4),
          "The algorithm \"fourier\" is for kernels of 3 x 3 and 4 rotations, not for ", shape.kernel, " x ",
          shape.kernel, " and ", rotations, "; \"scatter\" covers 3 x 3, 5 x 5 and 7 x 7 with 1 or 4 rotations.");
  const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
  const std::optional<Tensor> dense_bias = dense(bias);
  Tensor y = empty_like(x, shape.batch, shape.outputs, shape.out_height(), shape.out_width());
  Tensor index = empty_index(shape, x, want_index);
  const cuda::RotationTensors in = rotation_tensors(x, weight);
  const Tensor workspace = workspace_on(x, fourier ? cuda::rotation_fourier_workspace(shape, in.element)
                                                   : cuda::rotation_scatter_workspace(shape, in.element));
  const auto run = fourier ? cuda::rotation_fourier : cuda::rotation_scatter;
  STD_CUDA_CHECK(run(shape, in, dense_bias.has_value() ? dense_bias->const_data_ptr() : nullptr, y.mutable_data_ptr(),
                     strides_of(y), index.dim() == 4 ? index.mutable_data_ptr<int32_t>() : nullptr,
                     workspace.mutable_data_ptr(), cuda_stream(x)));
  return {y, index};
}

std::tuple<Tensor, Tensor> rotation_conv2d_backward(const Tensor& grad, const Tensor& index, const Tensor& x,
                                                    const Tensor& weight, int64_t rotations, int64_t padding,
                                                    bool want_x, bool want_weight) {
  const RotationShape shape = check_rotation_conv2d(x, weight, std::nullopt, rotations, padding);
  check_size(shape);
  check_rotation_grad(shape, grad, index, x);
  const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
  Tensor grad_x = map_gradient(x, x, want_x), grad_weight = dense_gradient(weight, want_weight);
  const cuda::RotationTensors in = rotation_tensors(x, weight);
  const int32_t* const words = rotations > 1 ? index.const_data_ptr<int32_t>() : nullptr;
  if (want_x) {
    const Tensor workspace = workspace_on(x, cuda::rotation_backward_input_workspace(shape, in.element));
    STD_CUDA_CHECK(cuda::rotation_backward_input(shape, in, grad.const_data_ptr(), strides_of(grad), words,
                                                 grad_x.mutable_data_ptr(), strides_of(grad_x),
                                                 workspace.mutable_data_ptr(), cuda_stream(x)));
  }
  if (want_weight) {
    const Tensor workspace = workspace_on(x, cuda::rotation_backward_weight_workspace(shape, in.element));
    STD_CUDA_CHECK(cuda::rotation_backward_weight(shape, in, grad.const_data_ptr(), strides_of(grad), words,
                                                  grad_weight.mutable_data_ptr(), workspace.mutable_data_ptr(),
                                                  cuda_stream(x)));
  }
  return {grad_x, grad_weight};
}

}  // namespace
}  // namespace rotacube

STABLE_TORCH_LIBRARY_IMPL(rotacube, CUDA, m) {
  m.impl("rotation_conv2d", TORCH_BOX(&rotacube::rotation_conv2d));
  m.impl("rotation_conv2d_backward", TORCH_BOX(&rotacube::rotation_conv2d_backward));
}
