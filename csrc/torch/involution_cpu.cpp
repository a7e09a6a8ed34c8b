// The schemas of involution, and its CPU kernels, against PyTorch's stable ABI.
#include <tuple>

#include "../cpu/involution.h"
#include "cpu_threads.h"
#include "cpu_types.h"
#include "involution_checks.h"

namespace rotacube {
namespace {

Tensor involution2d(const Tensor& x, const Tensor& kernel, int64_t groups) {
  const InvolutionShape shape = check_involution2d(x, kernel, groups);
  const Tensor input = lying_as(x, x), own = lying_as(x, kernel);
  Tensor y = new_as(x, x);
  with_type(x, [&](auto type) {
    using X = decltype(type);
    cpu::involution2d(shape, static_cast<const X*>(input.const_data_ptr()), static_cast<const X*>(own.const_data_ptr()),
                      static_cast<X*>(y.mutable_data_ptr()), torch_threads());
  });
  return y;
}

std::tuple<Tensor, Tensor> involution2d_backward(const Tensor& grad, const Tensor& x, const Tensor& kernel,
                                                 int64_t groups, bool want_x, bool want_kernel) {
  const InvolutionShape shape = check_involution2d(x, kernel, groups);
  check_involution_grad(grad, x);
  const Tensor pull = lying_as(x, grad), input = lying_as(x, x), own = lying_as(x, kernel);
  Tensor grad_x = map_gradient(x, x, want_x), grad_kernel = map_gradient(x, kernel, want_kernel);
  with_type(x, [&](auto type) {
    using X = decltype(type);
    cpu::involution2d_backward(
        shape, static_cast<const X*>(pull.const_data_ptr()), static_cast<const X*>(input.const_data_ptr()),
        static_cast<const X*>(own.const_data_ptr()), want_x ? static_cast<X*>(grad_x.mutable_data_ptr()) : nullptr,
        want_kernel ? static_cast<X*>(grad_kernel.mutable_data_ptr()) : nullptr, torch_threads());
  });
  return {grad_x, grad_kernel};
}

}  // namespace
}  // namespace rotacube

STABLE_TORCH_LIBRARY_FRAGMENT(rotacube, m) {
  m.def("involution2d(Tensor x, Tensor kernel, int groups) -> Tensor");
  m.def(
      "involution2d_backward(Tensor grad, Tensor x, Tensor kernel, int groups, bool want_x, bool want_kernel) "
      "-> (Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(rotacube, CPU, m) {
  m.impl("involution2d", TORCH_BOX(&rotacube::involution2d));
  m.impl("involution2d_backward", TORCH_BOX(&rotacube::involution2d_backward));
}
