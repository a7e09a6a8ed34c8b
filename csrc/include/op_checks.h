// Checks and conversions that the registrations share; PyTorch's stable ABI only.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>

#include "cube_conv2d.h"

namespace rotacube {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Throws an error whose text is the sentence, and nothing else, where the condition does not hold.
template <typename... Parts>
inline void require(bool condition, const Parts&... parts) {
  if (condition) return;
  std::ostringstream sentence;
  (sentence << ... << parts);
  throw std::runtime_error(sentence.str());
}

inline std::string shape_of(const Tensor& tensor) {
  std::ostringstream text;
  text << '(';
  for (int64_t d = 0; d < tensor.dim(); ++d) text << (d == 0 ? "" : ", ") << tensor.size(d);
  text << (tensor.dim() == 1 ? ",)" : ")");
  return text.str();
}

inline Strides strides_of(const Tensor& tensor) {
  return {tensor.stride(0), tensor.stride(1), tensor.stride(2), tensor.stride(3)};
}

// The output lies channels_last where the input does; an input that is both counts as contiguous.
inline bool lies_channels_last(const Tensor& x) { return !x.is_contiguous() && x.stride(1) == 1; }

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

inline Tensor empty_output(const CubeShape& shape, const Tensor& x) {
  const int64_t sizes[4] = {shape.batch, shape.outputs, shape.height, shape.width};
  const auto format = lies_channels_last(x) ? torch::headeronly::MemoryFormat::ChannelsLast
                                            : torch::headeronly::MemoryFormat::Contiguous;
  return torch::stable::empty({sizes, 4}, x.scalar_type(), std::nullopt, x.device(), std::nullopt, format);
}

}  // namespace rotacube
