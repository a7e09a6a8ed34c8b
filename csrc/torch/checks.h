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

inline torch::headeronly::MemoryFormat format_of(const Tensor& x) {
  return lies_channels_last(x) ? torch::headeronly::MemoryFormat::ChannelsLast
                               : torch::headeronly::MemoryFormat::Contiguous;
}

// A new tensor (batch, channels, height, width) of the type of x, on its device, lying as x does.
inline Tensor empty_like(const Tensor& x, int64_t batch, int64_t channels, int64_t height, int64_t width) {
  const int64_t sizes[4] = {batch, channels, height, width};
  return torch::stable::empty({sizes, 4}, x.scalar_type(), std::nullopt, x.device(), std::nullopt, format_of(x));
}

}  // namespace rotacube
