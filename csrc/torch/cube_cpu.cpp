// The schema of the Cube convolution, and its CPU kernel, against PyTorch's stable ABI.
#include "../cpu/cube_conv2d.h"
#include "cpu_threads.h"
#include "cube_checks.h"

namespace rotacube {
namespace {

template <typename X, typename W>
void run_cube_conv2d(const CubeShape& shape, const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias,
                     Tensor& y) {
  std::optional<Tensor> dense_bias;
  if (bias.has_value()) dense_bias = torch::stable::contiguous(*bias);
  const void* bias_data = dense_bias.has_value() ? dense_bias->const_data_ptr() : nullptr;
  const cpu::Operands<X, W> operands = {static_cast<const X*>(x.const_data_ptr()),
                                        strides_of(x),
                                        static_cast<const W*>(weight.const_data_ptr()),
                                        strides_of(weight),
                                        static_cast<const W*>(bias_data),
                                        static_cast<X*>(y.mutable_data_ptr()),
                                        strides_of(y)};
  cpu::cube_conv2d(shape, operands, torch_threads());
}

Tensor cube_conv2d(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias,
                   const std::string& anchor) {
  const CubeShape shape = check_cube_conv2d(x, weight, bias, anchor, true);
  Tensor y = empty_like(x, shape.batch, shape.outputs, shape.height, shape.width);
  if (x.scalar_type() == ScalarType::Float) {
    run_cube_conv2d<float, float>(shape, x, weight, bias, y);
  } else if (weight.scalar_type() == ScalarType::Float) {
    run_cube_conv2d<cpu::BFloat16, float>(shape, x, weight, bias, y);
  } else {
    run_cube_conv2d<cpu::BFloat16, cpu::BFloat16>(shape, x, weight, bias, y);
  }
  return y;
}

}  // namespace
}  // namespace rotacube

STABLE_TORCH_LIBRARY_FRAGMENT(rotacube, m) {
  m.def("cube_conv2d(Tensor x, Tensor weight, Tensor? bias, str anchor) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(rotacube, CPU, m) { m.impl("cube_conv2d", TORCH_BOX(&rotacube::cube_conv2d)); }
