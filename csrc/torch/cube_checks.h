// What both registrations of the Cube convolution check.
#pragma once

#include "../include/cube_conv2d.h"
#include "checks.h"

namespace rotacube {

// Input float32, bfloat16 or float16; weight and bias both of its type, or both float32.
inline CubeShape check_cube_conv2d(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias,
                                   const std::optional<Tensor>& order, const std::optional<Tensor>& mask,
                                   const std::string& anchor) {
  require(anchor == "tl" || anchor == "br", "The anchor of a Cube convolution is \"tl\" or \"br\", not \"", anchor,
          "\".");
  require(x.dim() == 4, "A Cube convolution takes an input of shape (B, C, H, W), not ", shape_of(x), ".");
  const int64_t channels = x.size(1);
  require(channels > 0 && channels % 4 == 0, "A Cube convolution takes a multiple of 4 channels, the input has ",
          channels, ".");
  require(weight.dim() == 4 && weight.size(1) * 4 == channels, "The weight of a Cube convolution over ", channels,
          " channels has the shape (O, ", channels / 4, ", K, K), not ", shape_of(weight), ".");
  require(weight.size(2) == weight.size(3) && weight.size(2) % 2 == 1,
          "The kernel of a Cube convolution is square and odd, not ", weight.size(2), " x ", weight.size(3), ".");
  check_types("Cube convolution", x, weight, bias);
  if (bias.has_value()) {
    require(bias->dim() == 1 && bias->size(0) == weight.size(0), "The bias of a Cube convolution with ", weight.size(0),
            " outputs has the shape (", weight.size(0), ",), not ", shape_of(*bias), ".");
  }
  if (order.has_value()) {
    require(order->dim() == 1 && order->size(0) == channels && order->scalar_type() == ScalarType::Long &&
                order->device() == x.device(),
            "The order of a Cube convolution over ", channels, " channels is an int64 tensor of the shape (", channels,
            ",) on the input's device.");
  }
  if (mask.has_value()) {
    require(mask->dim() == 4 && mask->size(0) == x.size(0) && mask->size(1) == 1 && mask->size(2) == 2 * x.size(2) &&
                mask->size(3) == 2 * x.size(3),
            "The mask of a Cube convolution over ", shape_of(x), " has the shape (", x.size(0), ", 1, ", 2 * x.size(2),
            ", ", 2 * x.size(3), "), not ", shape_of(*mask), ".");
    require(mask->scalar_type() == x.scalar_type() && mask->device() == x.device(),
            "The mask of a compiled Cube convolution has the input's type and device.");
  }
  return {x.size(0), channels, x.size(2), x.size(3), weight.size(0), weight.size(2), anchor == "br"};
}

inline void check_cube_grad(const CubeShape& shape, const Tensor& grad, const Tensor& x) {
  require(grad.dim() == 4 && grad.size(0) == shape.batch && grad.size(1) == shape.outputs &&
              grad.size(2) == shape.height && grad.size(3) == shape.width,
          "The gradient of this Cube convolution has the shape (", shape.batch, ", ", shape.outputs, ", ", shape.height,
          ", ", shape.width, "), not ", shape_of(grad), ".");
  require(grad.scalar_type() == x.scalar_type() && grad.device() == x.device(),
          "The gradient of a compiled Cube convolution has the input's type and device.");
}

}  // namespace rotacube
