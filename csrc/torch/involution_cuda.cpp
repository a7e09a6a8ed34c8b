// The CUDA kernels of involution, whose schemas involution_cpu.cpp defines, against PyTorch's stable ABI.
#include <tuple>

#include "../cuda/involution.h"
#include "cuda_call.h"
#include "involution_checks.h"

namespace rotacube {
namespace {

Tensor involution2d(const Tensor& x, const Tensor& kernel, int64_t groups) {
  const InvolutionShape shape = check_involution2d(x, kernel, groups);
  const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
  const Tensor input = lying_as(x, x), own = lying_as(x, kernel);
  Tensor y = new_as(x, x);
  STD_CUDA_CHECK(cuda::involution2d(shape, element_of(x), input.const_data_ptr(), own.const_data_ptr(),
                                    y.mutable_data_ptr(), cuda_stream(x)));
  return y;
}

std::tuple<Tensor, Tensor> involution2d_backward(const Tensor& grad, const Tensor& x, const Tensor& kernel,
                                                 int64_t groups, bool want_x, bool want_kernel) {
  const InvolutionShape shape = check_involution2d(x, kernel, groups);
  check_involution_grad(grad, x);
  const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
  const Tensor pull = lying_as(x, grad), input = lying_as(x, x), own = lying_as(x, kernel);
  Tensor grad_x = map_gradient(x, x, want_x), grad_kernel = map_gradient(x, kernel, want_kernel);
  STD_CUDA_CHECK(cuda::involution2d_backward(shape, element_of(x), pull.const_data_ptr(), input.const_data_ptr(),
                                             own.const_data_ptr(), want_x ? grad_x.mutable_data_ptr() : nullptr,
                                             want_kernel ? grad_kernel.mutable_data_ptr() : nullptr, cuda_stream(x)));
  return {grad_x, grad_kernel};
}

}  // namespace
}  // namespace rotacube

STABLE_TORCH_LIBRARY_IMPL(rotacube, CUDA, m) {
  m.impl("involution2d", TORCH_BOX(&rotacube::involution2d));
  m.impl("involution2d_backward", TORCH_BOX(&rotacube::involution2d_backward));
}
