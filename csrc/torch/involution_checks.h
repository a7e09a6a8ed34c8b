// What both registrations of involution check.
#pragma once

#include "../include/involution.h"
#include "checks.h"

namespace rotacube {

// Input (B, C, H, W) float32, bfloat16 or float16, kernel (B, G*K*K, H, W) of its type, K = 3, 5 or 7.
inline InvolutionShape check_involution2d(const Tensor& x, const Tensor& kernel, int64_t groups) {
  require(x.dim() == 4, "An involution takes an input of shape (B, C, H, W), not ", shape_of(x), ".");
  require(groups > 0 && x.size(1) > 0 && x.size(1) % groups == 0,
          "An involution divides its channels into groups: ", x.size(1), " channels are no multiple of ", groups, ".");
  require(
      kernel.dim() == 4 && kernel.size(0) == x.size(0) && kernel.size(2) == x.size(2) && kernel.size(3) == x.size(3),
      "The kernel of an involution over ", shape_of(x), " with ", groups, " groups has the shape (", x.size(0), ", ",
      groups, " * K * K, ", x.size(2), ", ", x.size(3), "), not ", shape_of(kernel), ".");
  int64_t size = 3;
  while (size < 7 && kernel.size(1) != groups * size * size) size += 2;
  require(kernel.size(1) == groups * size * size, "The compiled involution with ", groups, " groups takes kernels of ",
          groups, " * K * K channels with K = 3, 5 or 7, not ", kernel.size(1), " channels.");
  const ScalarType kind = x.scalar_type();
  require((kind == ScalarType::Float || kind == ScalarType::BFloat16 || kind == ScalarType::Half) &&
              kernel.scalar_type() == kind,
          "The compiled involution takes a float32, bfloat16 or float16 input, and a kernel of its type; other types "
          "take the reference path.");
  require(kernel.device() == x.device(), "Input and kernel of an involution must be on the same device.");
  return {x.size(0), x.size(1), x.size(2), x.size(3), groups, size, lies_channels_last(x)};
}

inline void check_involution_grad(const Tensor& grad, const Tensor& x) {
  require(shape_of(grad) == shape_of(x), "The gradient of this involution has the shape ", shape_of(x), ", not ",
          shape_of(grad), ".");
  require(grad.scalar_type() == x.scalar_type() && grad.device() == x.device(),
          "The gradient of a compiled involution has the input's type and device.");
}

// A tensor in the input's memory format: itself, or a copy.
inline Tensor lying_as(const Tensor& x, const Tensor& tensor) {
  return torch::stable::contiguous(tensor, format_of(x));
}

}  // namespace rotacube
