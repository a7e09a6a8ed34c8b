// Checks and conversions that the registrations share; PyTorch's stable ABI only.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>

#include "../include/strides.h"

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

// An output lies channels_last where the input does; an input that is both counts as contiguous.
inline bool lies_channels_last(const Tensor& x) { return !x.is_contiguous() && x.stride(1) == 1; }

// Input float32, bfloat16 or float16; weight and bias both of its type, or both float32; all on one device.
inline void check_types(const char* name, const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias) {
  const ScalarType kind = x.scalar_type(), weights = weight.scalar_type();
  require((kind == ScalarType::Float || kind == ScalarType::BFloat16 || kind == ScalarType::Half) &&
              (weights == ScalarType::Float || weights == kind),
          "The compiled ", name,
          " takes a float32, bfloat16 or float16 input, and a weight of its type or in float32; ",
          "other types take the reference path.");
  require(weight.device() == x.device(), "Input and weight of a ", name, " must be on the same device.");
  if (!bias.has_value()) return;
  require(bias->scalar_type() == weights, "The compiled ", name, " takes a bias of the weight's type.");
  require(bias->device() == x.device(), "Input and bias of a ", name, " must be on the same device.");
}

inline std::optional<Tensor> dense(const std::optional<Tensor>& tensor) {
  if (!tensor.has_value()) return std::nullopt;
  return torch::stable::contiguous(*tensor);
}

inline torch::headeronly::MemoryFormat format_of(const Tensor& x) {
  return lies_channels_last(x) ? torch::headeronly::MemoryFormat::ChannelsLast
                               : torch::headeronly::MemoryFormat::Contiguous;
}

// A new tensor (batch, channels, height, width) of the type of x, on its device, lying as x does.
inline Tensor empty_like(const Tensor& x, int64_t batch, int64_t channels, int64_t height, int64_t width) {
  const int64_t sizes[4] = {batch, channels, height, width};
  return torch::stable::empty({sizes, 4}, x.scalar_type(), std::nullopt, x.device(), std::nullopt, format_of(x));
}

// A dense tensor of the type of `like`, on its device.
inline Tensor empty_dense(const Tensor& like, torch::headeronly::IntHeaderOnlyArrayRef sizes) {
  return torch::stable::empty(sizes, like.scalar_type(), std::nullopt, like.device());
}

// A new tensor of a map's shape, lying as x does.
inline Tensor new_as(const Tensor& x, const Tensor& map) {
  return empty_like(x, map.size(0), map.size(1), map.size(2), map.size(3));
}

// What stands for a gradient that is not wanted.
inline Tensor nothing_like(const Tensor& like) {
  const int64_t sizes[1] = {0};
  return empty_dense(like, {sizes, 1});
}

// What the gradient of a map is written to, lying as x does, and that of a weight, dense.
inline Tensor map_gradient(const Tensor& x, const Tensor& map, bool wanted) {
  return wanted ? new_as(x, map) : nothing_like(x);
}
inline Tensor dense_gradient(const Tensor& weight, bool wanted) {
  return wanted ? empty_dense(weight, weight.sizes()) : nothing_like(weight);
}

}  // namespace rotacube
