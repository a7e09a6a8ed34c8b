// The CUDA kernels of Kronecker feature fusion, whose schemas kronecker_cpu.cpp defines, against PyTorch's stable ABI.
#include <tuple>
#include <vector>

#include "../cuda/kronecker.h"
#include "cuda_call.h"
#include "kronecker_checks.h"

namespace rotacube {
namespace {

cuda::KroneckerMaps pointers_to(const std::vector<Tensor>& maps) {
  cuda::KroneckerMaps pointers = {};
  for (std::size_t j = 0; j < maps.size(); ++j) pointers.at[j] = maps[j].const_data_ptr();
  return pointers;
}

Tensor kronecker_fusion(const std::vector<Tensor>& xs, const Tensor& weight) {
  check_kronecker_fusion(xs, weight);
  const Tensor& x = xs[0];
  const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
  const std::vector<Tensor> maps = alike(xs);
  const Tensor shares = torch::stable::contiguous(weight);
  Tensor y = empty_like(x, x.size(0), static_cast<int64_t>(xs.size()) * x.size(1), x.size(2), x.size(3));
  STD_CUDA_CHECK(cuda::kronecker_fusion(kronecker_shape(xs), element_of(x), pointers_to(maps), shares.const_data_ptr(),
                                        shares.scalar_type() == ScalarType::Float, y.mutable_data_ptr(),
                                        cuda_stream(x)));
  return y;
}

std::tuple<std::vector<Tensor>, Tensor> kronecker_fusion_backward(const Tensor& grad, const std::vector<Tensor>& xs,
                                                                  const Tensor& weight, bool want_xs,
                                                                  bool want_weight) {
  check_kronecker_fusion(xs, weight);
  check_kronecker_grad(grad, xs);
  const Tensor& x = xs[0];
  const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
  const std::vector<Tensor> maps = alike(xs);
  const Tensor shares = torch::stable::contiguous(weight), pull = torch::stable::contiguous(grad, format_of(x));
  const KroneckerShape shape = kronecker_shape(xs);
  std::vector<Tensor> grad_xs = map_gradients(xs, want_xs);
  cuda::KroneckerGrads grads = {};
  for (std::size_t j = 0; j < grad_xs.size(); ++j) grads.at[j] = grad_xs[j].mutable_data_ptr();
  Tensor grad_weight = dense_gradient(weight, want_weight);
  const int64_t partial_sizes[1] = {want_weight ? cuda::kronecker_partials(shape) : 0};
  Tensor partials = torch::stable::empty({partial_sizes, 1}, ScalarType::Float, std::nullopt, x.device());
  STD_CUDA_CHECK(cuda::kronecker_fusion_backward(shape, element_of(x), pull.const_data_ptr(), pointers_to(maps),
                                                 shares.const_data_ptr(), shares.scalar_type() == ScalarType::Float,
                                                 grads, want_weight ? grad_weight.mutable_data_ptr() : nullptr,
                                                 partials.mutable_data_ptr<float>(), cuda_stream(x)));
  return {grad_xs, grad_weight};
}

}  // namespace
}  // namespace rotacube

STABLE_TORCH_LIBRARY_IMPL(rotacube, CUDA, m) {
  m.impl("kronecker_fusion", TORCH_BOX(&rotacube::kronecker_fusion));
  m.impl("kronecker_fusion_backward", TORCH_BOX(&rotacube::kronecker_fusion_backward));
}
