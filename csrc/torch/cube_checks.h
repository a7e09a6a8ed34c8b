// What both registrations of the Cube convolution check.
#pragma once

#include "../include/cube_conv2d.h"
#include "checks.h"

namespace rotacube {

// Float32 all through; where `bfloat16_too`, also a bfloat16 input with weight and bias both in bfloat16 or float32.
inline CubeShape check_cube_conv2d(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias,
                                   const std::string& anchor, bool bfloat16_too) {
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
  const bool half = bfloat16_too && x.scalar_type() == ScalarType::BFloat16;
  require((half || x.scalar_type() == ScalarType::Float) &&
              (weight.scalar_type() == ScalarType::Float || (half && weight.scalar_type() == ScalarType::BFloat16)),
          "The compiled Cube convolution takes float32 input and weight", bfloat16_too ? ", or a bfloat16 input" : "",
          "; other types take the reference path.");
  require(weight.device() == x.device(), "Input and weight of a Cube convolution must be on the same device.");
  if (bias.has_value()) {
    require(bias->dim() == 1 && bias->size(0) == weight.size(0), "The bias of a Cube convolution with ", weight.size(0),
            " outputs has the shape (", weight.size(0), ",), not ", shape_of(*bias), ".");
    require(bias->scalar_type() == weight.scalar_type(),
            "The compiled Cube convolution takes a bias of the weight's type.");
    require(bias->device() == x.device(), "Input and bias of a Cube convolution must be on the same device.");
  }
  return {x.size(0), channels, x.size(2), x.size(3), weight.size(0), weight.size(2), anchor == "br"};
}

}  // namespace rotacube
