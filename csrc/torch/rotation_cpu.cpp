// The schemas of the rotation-invariant convolution, and its CPU kernels, against PyTorch's stable ABI.
#include <tuple>

#include "../cpu/rotation_conv2d.h"
#include "../cpu/rotation_mean.h"
#include "cpu_threads.h"
#include "cpu_types.h"
#include "rotation_checks.h"

namespace rotacube {
namespace {

std::tuple<Tensor, Tensor> rotation_conv2d(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias,
                                           int64_t rotations, int64_t padding, bool want_index,
                                           const std::string& algorithm) {
  const RotationShape shape = check_rotation_conv2d(x, weight, bias, rotations, padding);
  require(algorithm == "scatter",
          "The compiled rotation convolution on the CPU knows the algorithm \"scatter\", not \"", algorithm, "\".");
  const std::optional<Tensor> dense_bias = dense(bias);
  Tensor y = empty_like(x, shape.batch, shape.outputs, shape.out_height(), shape.out_width());
  Tensor index = empty_index(shape, x, want_index);
  with_types(x, weight, [&](auto x_type, auto w_type) {
    using X = decltype(x_type);
    using W = decltype(w_type);
    const void* bias_data = dense_bias.has_value() ? dense_bias->const_data_ptr() : nullptr;
    cpu::rotation_conv2d(shape, static_cast<const X*>(x.const_data_ptr()), strides_of(x),
                         static_cast<const W*>(weight.const_data_ptr()), strides_of(weight),
                         static_cast<const W*>(bias_data), static_cast<X*>(y.mutable_data_ptr()), strides_of(y),
                         index.dim() == 4 ? index.mutable_data_ptr<int32_t>() : nullptr, torch_threads());
  });
  return {y, index};
}

std::tuple<Tensor, Tensor> rotation_conv2d_backward(const Tensor& grad, const Tensor& index, const Tensor& x,
                                                    const Tensor& weight, int64_t rotations, int64_t padding,
                                                    bool want_x, bool want_weight) {
  const RotationShape shape = check_rotation_conv2d(x, weight, std::nullopt, rotations, padding);
  check_rotation_grad(shape, grad, index, x);
  Tensor grad_x = map_gradient(x, x, want_x), grad_weight = dense_gradient(weight, want_weight);
  if (!want_x && !want_weight) return {grad_x, grad_weight};
  with_types(x, weight, [&](auto x_type, auto w_type) {
    using X = decltype(x_type);
    using W = decltype(w_type);
    cpu::rotation_conv2d_backward(
        shape, static_cast<const X*>(grad.const_data_ptr()), strides_of(grad),
        rotations > 1 ? index.const_data_ptr<int32_t>() : nullptr, static_cast<const X*>(x.const_data_ptr()),
        strides_of(x), static_cast<const W*>(weight.const_data_ptr()), strides_of(weight),
        want_x ? static_cast<X*>(grad_x.mutable_data_ptr()) : nullptr, want_x ? strides_of(grad_x) : Strides{},
        want_weight ? static_cast<W*>(grad_weight.mutable_data_ptr()) : nullptr, torch_threads());
  });
  return {grad_x, grad_weight};
}

RotationShape check_mean(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias, int64_t padding) {
  const RotationShape shape = check_rotation_conv2d(x, weight, bias, 4, padding);
  require(shape.kernel == 3 && padding <= 2,
          "The compiled mean over rotations has a kernel of 3 x 3 and a padding of at most 2, not ", shape.kernel,
          " and ", padding, ".");
  return shape;
}

Tensor rotation_mean(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias, int64_t padding) {
  const RotationShape shape = check_mean(x, weight, bias, padding);
  const std::optional<Tensor> dense_bias = dense(bias);
  Tensor y = empty_like(x, shape.batch, shape.outputs, shape.out_height(), shape.out_width());
  with_types(x, weight, [&](auto x_type, auto w_type) {
    using X = decltype(x_type);
    using W = decltype(w_type);
    const void* bias_data = dense_bias.has_value() ? dense_bias->const_data_ptr() : nullptr;
    cpu::rotation_mean(shape, static_cast<const X*>(x.const_data_ptr()), strides_of(x),
                       static_cast<const W*>(weight.const_data_ptr()), strides_of(weight),
                       static_cast<const W*>(bias_data), static_cast<X*>(y.mutable_data_ptr()), strides_of(y),
                       torch_threads());
  });
  return y;
}

Tensor rotation_mean_backward_weight(const Tensor& grad, const Tensor& x, const Tensor& weight, int64_t padding) {
  const RotationShape shape = check_mean(x, weight, std::nullopt, padding);
  check_rotation_grad({shape.batch, shape.channels, shape.height, shape.width, shape.outputs, 3, padding, 1}, grad, x,
                      x);
  Tensor grad_weight = dense_gradient(weight, true);
  with_types(x, weight, [&](auto x_type, auto w_type) {
    using X = decltype(x_type);
    using W = decltype(w_type);
    cpu::rotation_mean_backward_weight(shape, static_cast<const X*>(grad.const_data_ptr()), strides_of(grad),
                                       static_cast<const X*>(x.const_data_ptr()), strides_of(x),
                                       static_cast<W*>(grad_weight.mutable_data_ptr()), torch_threads());
  });
  return grad_weight;
}

}  // namespace
}  // namespace rotacube

STABLE_TORCH_LIBRARY_FRAGMENT(rotacube, m) {
  m.def(
      "rotation_conv2d(Tensor x, Tensor weight, Tensor? bias, int rotations, int padding, bool want_index, "
      "str algorithm) -> (Tensor, Tensor)");
  m.def(
      "rotation_conv2d_backward(Tensor grad, Tensor index, Tensor x, Tensor weight, int rotations, int padding, "
      "bool want_x, bool want_weight) -> (Tensor, Tensor)");
  m.def("rotation_mean(Tensor x, Tensor weight, Tensor? bias, int padding) -> Tensor");
  m.def("rotation_mean_backward_weight(Tensor grad, Tensor x, Tensor weight, int padding) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(rotacube, CPU, m) {
  m.impl("rotation_conv2d", TORCH_BOX(&rotacube::rotation_conv2d));
  m.impl("rotation_conv2d_backward", TORCH_BOX(&rotacube::rotation_conv2d_backward));
  m.impl("rotation_mean", TORCH_BOX(&rotacube::rotation_mean));
  m.impl("rotation_mean_backward_weight", TORCH_BOX(&rotacube::rotation_mean_backward_weight));
}
