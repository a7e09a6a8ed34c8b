// Schemas of all operators, and their CPU kernels, against PyTorch's stable ABI.
#include "cpu/cube_conv2d.h"
#include "include/op_checks.h"

namespace rotacube {
namespace {

void run_on_torch_threads(int64_t count, void (*body)(int64_t, int64_t, void*), void* context) {
  torch::stable::parallel_for(0, count, 1, [&](int64_t first, int64_t last) { body(first, last, context); });
}

Tensor cube_conv2d(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias,
                   const std::string& anchor) {
  const CubeShape shape = check_cube_conv2d(x, weight, bias, anchor);
  std::optional<Tensor> dense_bias;
  if (bias.has_value()) dense_bias = torch::stable::contiguous(*bias);
  Tensor y = empty_output(shape, x);
  cpu::cube_conv2d(shape, x.const_data_ptr<float>(), strides_of(x), weight.const_data_ptr<float>(), strides_of(weight),
                   dense_bias.has_value() ? dense_bias->const_data_ptr<float>() : nullptr, y.mutable_data_ptr<float>(),
                   strides_of(y), {torch::stable::get_num_threads(), run_on_torch_threads});
  return y;
}

}  // namespace
}  // namespace rotacube

STABLE_TORCH_LIBRARY(rotacube, m) { m.def("cube_conv2d(Tensor x, Tensor weight, Tensor? bias, str anchor) -> Tensor"); }

STABLE_TORCH_LIBRARY_IMPL(rotacube, CPU, m) { m.impl("cube_conv2d", TORCH_BOX(&rotacube::cube_conv2d)); }
