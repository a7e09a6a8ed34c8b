// The schemas of Kronecker feature fusion, and its CPU kernels, against PyTorch's stable ABI.
#include <tuple>
#include <vector>

#include "../cpu/kronecker.h"
#include "cpu_threads.h"
#include "cpu_types.h"
#include "kronecker_checks.h"

namespace rotacube {
namespace {

std::vector<float> widened(const Tensor& weight) {
  const Tensor dense = torch::stable::contiguous(weight);
  std::vector<float> wide;
  with_type(dense, [&](auto type) {
    const auto* from = static_cast<const decltype(type)*>(dense.const_data_ptr());
    for (int64_t i = 0; i < dense.numel(); ++i) wide.push_back(cpu::widen(from[i]));
  });
  return wide;
}

Tensor kronecker_fusion(const std::vector<Tensor>& xs, const Tensor& weight) {
  check_kronecker_fusion(xs, weight);
  const std::vector<Tensor> maps = alike(xs);
  const Tensor& x = xs[0];
  const int64_t channels = static_cast<int64_t>(xs.size()) * x.size(1);
  Tensor y = empty_like(x, x.size(0), channels, x.size(2), x.size(3));
  const std::vector<float> wide = widened(weight);
  with_type(x, [&](auto type) {
    using X = decltype(type);
    cpu::kronecker_fusion(kronecker_shape(xs), pointers_of<X>(maps).data(), wide.data(),
                          static_cast<X*>(y.mutable_data_ptr()), torch_threads());
  });
  return y;
}

std::tuple<std::vector<Tensor>, Tensor> kronecker_fusion_backward(const Tensor& grad, const std::vector<Tensor>& xs,
                                                                  const Tensor& weight, bool want_xs,
                                                                  bool want_weight) {
  check_kronecker_fusion(xs, weight);
  check_kronecker_grad(grad, xs);
  const std::vector<Tensor> maps = alike(xs);
  const Tensor& x = xs[0];
  const Tensor pull = torch::stable::contiguous(grad, format_of(x));
  std::vector<Tensor> grad_xs = map_gradients(xs, want_xs);
  Tensor grad_weight = dense_gradient(weight, want_weight);
  const std::vector<float> wide = widened(weight);
  std::vector<float> wide_grad(want_weight ? wide.size() : 0);
  with_type(x, [&](auto type) {
    using X = decltype(type);
    cpu::kronecker_fusion_backward(kronecker_shape(xs), static_cast<const X*>(pull.const_data_ptr()),
                                   pointers_of<X>(maps).data(), wide.data(),
                                   want_xs ? mutable_pointers_of<X>(grad_xs).data() : nullptr,
                                   want_weight ? wide_grad.data() : nullptr, torch_threads());
  });
  if (want_weight) {
    with_type(weight, [&](auto type) {
      auto* to = static_cast<decltype(type)*>(grad_weight.mutable_data_ptr());
      for (std::size_t i = 0; i < wide_grad.size(); ++i) to[i] = cpu::narrow<decltype(type)>(wide_grad[i]);
    });
  }
  return {grad_xs, grad_weight};
}

}  // namespace
}  // namespace rotacube

STABLE_TORCH_LIBRARY_FRAGMENT(rotacube, m) {
  m.def("kronecker_fusion(Tensor[] xs, Tensor weight) -> Tensor");
  m.def(
      "kronecker_fusion_backward(Tensor grad, Tensor[] xs, Tensor weight, bool want_xs, bool want_weight) "
      "-> (Tensor[], Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(rotacube, CPU, m) {
  m.impl("kronecker_fusion", TORCH_BOX(&rotacube::kronecker_fusion));
  m.impl("kronecker_fusion_backward", TORCH_BOX(&rotacube::kronecker_fusion_backward));
}
