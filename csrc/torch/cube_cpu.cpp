// The schemas of the Cube convolution, and its CPU kernels, against PyTorch's stable ABI.
#include <tuple>
#include <vector>

#include "../cpu/cube_conv2d.h"
#include "cpu_threads.h"
#include "cpu_types.h"
#include "cube_checks.h"

namespace rotacube {
namespace {

template <typename X>
cpu::CubeInput<X> cube_input(const Tensor& x, const std::optional<Tensor>& order, const std::optional<Tensor>& mask) {
  return {static_cast<const X*>(x.const_data_ptr()), strides_of(x),
          order.has_value() ? order->const_data_ptr<int64_t>() : nullptr,
          mask.has_value() ? static_cast<const X*>(mask->const_data_ptr()) : nullptr,
          mask.has_value() ? strides_of(*mask) : Strides{}};
}

// Dense, and each channel once: the kernels read and write where it points.
std::optional<Tensor> check_order(const std::optional<Tensor>& order) {
  const std::optional<Tensor> table = dense(order);
  if (!table.has_value()) return table;
  std::vector<bool> seen(static_cast<std::size_t>(table->numel()));
  for (int64_t i = 0; i < table->numel(); ++i) {
    const int64_t channel = table->const_data_ptr<int64_t>()[i];
    require(channel >= 0 && channel < table->numel() && !seen[channel],
            "The order of a Cube convolution names each channel once.");
    seen[channel] = true;
  }
  return table;
}

Tensor cube_conv2d(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias,
                   const std::optional<Tensor>& order, const std::optional<Tensor>& mask, const std::string& anchor) {
  const CubeShape shape = check_cube_conv2d(x, weight, bias, order, mask, anchor);
  const std::optional<Tensor> dense_bias = dense(bias), dense_order = check_order(order);
  Tensor y = empty_like(x, shape.batch, shape.outputs, shape.height, shape.width);
  with_types(x, weight, [&](auto x_type, auto w_type) {
    using X = decltype(x_type);
    using W = decltype(w_type);
    const void* bias_data = dense_bias.has_value() ? dense_bias->const_data_ptr() : nullptr;
    cpu::cube_conv2d(shape, cube_input<X>(x, dense_order, mask), static_cast<const W*>(weight.const_data_ptr()),
                     strides_of(weight), static_cast<const W*>(bias_data), static_cast<X*>(y.mutable_data_ptr()),
                     strides_of(y), torch_threads());
  });
  return y;
}

std::tuple<Tensor, Tensor, Tensor> cube_conv2d_backward(const Tensor& grad, const Tensor& x, const Tensor& weight,
                                                        const std::optional<Tensor>& order,
                                                        const std::optional<Tensor>& mask, const std::string& anchor,
                                                        bool want_x, bool want_weight, bool want_mask) {
  const CubeShape shape = check_cube_conv2d(x, weight, std::nullopt, order, mask, anchor);
  check_cube_grad(shape, grad, x);
  require(mask.has_value() || !want_mask, "A Cube convolution without a mask has no gradient of one.");
  const std::optional<Tensor> dense_order = check_order(order);
  Tensor grad_x = map_gradient(x, x, want_x), grad_weight = dense_gradient(weight, want_weight);
  Tensor grad_mask = mask.has_value() ? dense_gradient(*mask, want_mask) : nothing_like(x);
  with_types(x, weight, [&](auto x_type, auto w_type) {
    using X = decltype(x_type);
    using W = decltype(w_type);
    const cpu::CubeInput<X> input = cube_input<X>(x, dense_order, mask);
    const X* const pull = static_cast<const X*>(grad.const_data_ptr());
    if (want_x || want_mask) {
      cpu::cube_conv2d_backward_input(
          shape, input, pull, strides_of(grad), static_cast<const W*>(weight.const_data_ptr()), strides_of(weight),
          want_x ? static_cast<X*>(grad_x.mutable_data_ptr()) : nullptr, want_x ? strides_of(grad_x) : Strides{},
          want_mask ? static_cast<X*>(grad_mask.mutable_data_ptr()) : nullptr, torch_threads());
    }
    if (want_weight) {
      cpu::cube_conv2d_backward_weight(shape, input, pull, strides_of(grad),
                                       static_cast<W*>(grad_weight.mutable_data_ptr()), torch_threads());
    }
  });
  return {grad_x, grad_weight, grad_mask};
}

}  // namespace
}  // namespace rotacube

STABLE_TORCH_LIBRARY_FRAGMENT(rotacube, m) {
  m.def("cube_conv2d(Tensor x, Tensor weight, Tensor? bias, Tensor? order, Tensor? mask, str anchor) -> Tensor");
  m.def(
      "cube_conv2d_backward(Tensor grad, Tensor x, Tensor weight, Tensor? order, Tensor? mask, str anchor, "
      "bool want_x, bool want_weight, bool want_mask) -> (Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(rotacube, CPU, m) {
  m.impl("cube_conv2d", TORCH_BOX(&rotacube::cube_conv2d));
  m.impl("cube_conv2d_backward", TORCH_BOX(&rotacube::cube_conv2d_backward));
}
