// What both registrations of Kronecker feature fusion check and prepare.
#pragma once

#include <vector>

#include "../include/kronecker.h"
#include "checks.h"

namespace rotacube {

// n maps of one shape (B, r, H, W), float32, bfloat16 or float16; weight (n, n) of their type, or float32.
inline void check_kronecker_fusion(const std::vector<Tensor>& xs, const Tensor& weight) {
  const int64_t maps = static_cast<int64_t>(xs.size());
  require(maps >= 1 && maps <= kMostKroneckerMaps, "The compiled Kronecker fusion takes 1 to ", kMostKroneckerMaps,
          " maps, not ", maps, "; more take the reference path.");
  for (const Tensor& x : xs) {
    require(x.dim() == 4, "A Kronecker fusion takes maps of shape (B, C, H, W), not ", shape_of(x), ".");
    require(shape_of(x) == shape_of(xs[0]), "A Kronecker fusion takes maps of one shape, not ", shape_of(xs[0]),
            " and ", shape_of(x), ".");
    require(x.scalar_type() == xs[0].scalar_type() && x.device() == xs[0].device(),
            "The compiled Kronecker fusion takes maps of one type, on one device.");
  }
  require(weight.dim() == 2 && weight.size(0) == maps && weight.size(1) == maps, "The weight of a Kronecker fusion of ",
          maps, " maps has the shape (", maps, ", ", maps, "), not ", shape_of(weight), ".");
  check_types("Kronecker fusion", xs[0], weight, std::nullopt);
}

inline void check_kronecker_grad(const Tensor& grad, const std::vector<Tensor>& xs) {
  const int64_t channels = static_cast<int64_t>(xs.size()) * xs[0].size(1);
  require(grad.dim() == 4 && grad.size(0) == xs[0].size(0) && grad.size(1) == channels &&
              grad.size(2) == xs[0].size(2) && grad.size(3) == xs[0].size(3),
          "The gradient of this Kronecker fusion has the shape (", xs[0].size(0), ", ", channels, ", ", xs[0].size(2),
          ", ", xs[0].size(3), "), not ", shape_of(grad), ".");
  require(grad.scalar_type() == xs[0].scalar_type() && grad.device() == xs[0].device(),
          "The gradient of a compiled Kronecker fusion has the maps' type and device.");
}

inline KroneckerShape kronecker_shape(const std::vector<Tensor>& xs) {
  const Tensor& x = xs[0];
  const int64_t maps = static_cast<int64_t>(xs.size()), channels = x.size(1), pixels = x.size(2) * x.size(3);
  if (lies_channels_last(x)) return {maps, x.size(0) * pixels, channels};
  return {maps, x.size(0), channels * pixels};
}

// The maps in the memory format of the first: those that lie so already, copies of the others.
inline std::vector<Tensor> alike(const std::vector<Tensor>& xs) {
  std::vector<Tensor> dense;
  for (const Tensor& x : xs) dense.push_back(torch::stable::contiguous(x, format_of(xs[0])));
  return dense;
}

// A gradient of each map, or none.
inline std::vector<Tensor> map_gradients(const std::vector<Tensor>& xs, bool wanted) {
  std::vector<Tensor> gradients;
  for (std::size_t j = 0; wanted && j < xs.size(); ++j) gradients.push_back(new_as(xs[0], xs[0]));
  return gradients;
}

template <typename X>
std::vector<const X*> pointers_of(const std::vector<Tensor>& tensors) {
  std::vector<const X*> pointers;
  for (const Tensor& tensor : tensors) pointers.push_back(static_cast<const X*>(tensor.const_data_ptr()));
  return pointers;
}

template <typename X>
std::vector<X*> mutable_pointers_of(const std::vector<Tensor>& tensors) {
  std::vector<X*> pointers;
  for (const Tensor& tensor : tensors) pointers.push_back(static_cast<X*>(tensor.mutable_data_ptr()));
  return pointers;
}

}  // namespace rotacube
