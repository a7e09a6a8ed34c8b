// What both registrations of the rotation-invariant convolution check.
#pragma once

#include "../include/rotation_conv2d.h"
#include "checks.h"

namespace rotacube {

inline RotationShape check_rotation_conv2d(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias,
                                           int64_t rotations, int64_t padding) {
  require(x.dim() == 4, "A rotation convolution takes an input of shape (B, C, H, W), not ", shape_of(x), ".");
  require(weight.dim() == 4 && weight.size(1) == x.size(1), "The weight of a rotation convolution over ", x.size(1),
          " channels has the shape (O, ", x.size(1), ", K, K), not ", shape_of(weight), ".");
  const int64_t kernel = weight.size(2);
  require(kernel == weight.size(3) && kernel % 2 == 1 && kernel >= 3 && kernel <= 7,
          "The kernel of a compiled rotation convolution is 3 x 3, 5 x 5 or 7 x 7, not ", kernel, " x ", weight.size(3),
          ".");
  require(rotations == 1 || rotations == 4, "A rotation convolution has 1 or 4 rotations, not ", rotations, ".");
  require(padding >= 0, "The padding of a rotation convolution is not negative.");
  const RotationShape shape = {x.size(0), x.size(1), x.size(2), x.size(3), weight.size(0), kernel, padding, rotations};
  require(shape.out_height() >= 0 && shape.out_width() >= 0, "A rotation convolution of ", kernel, " x ", kernel,
          " with padding ", padding, " needs a larger input than ", shape_of(x), ".");
  check_types("rotation convolution", x, weight, bias);
  if (bias.has_value()) {
    require(bias->dim() == 1 && bias->size(0) == shape.outputs, "The bias of a rotation convolution with ",
            shape.outputs, " outputs has the shape (", shape.outputs, ",), not ", shape_of(*bias), ".");
  }
  return shape;
}

inline int64_t index_words(const RotationShape& shape) { return (shape.outputs + kIndexOutputs - 1) / kIndexOutputs; }

inline void check_rotation_grad(const RotationShape& shape, const Tensor& grad, const Tensor& index, const Tensor& x) {
  require(grad.dim() == 4 && grad.size(0) == shape.batch && grad.size(1) == shape.outputs &&
              grad.size(2) == shape.out_height() && grad.size(3) == shape.out_width(),
          "The gradient of this rotation convolution has the shape (", shape.batch, ", ", shape.outputs, ", ",
          shape.out_height(), ", ", shape.out_width(), "), not ", shape_of(grad), ".");
  require(grad.scalar_type() == x.scalar_type() && grad.device() == x.device(),
          "The gradient of a compiled rotation convolution has the input's type and device.");
  if (shape.rotations == 1) return;
  require(index.dim() == 4 && index.size(0) == shape.batch && index.size(1) == shape.out_height() &&
              index.size(2) == shape.out_width() && index.size(3) == index_words(shape) && index.is_contiguous() &&
              index.scalar_type() == ScalarType::Int && index.device() == x.device(),
          "The index of a rotation convolution is what the forward pass left: int32, (", shape.batch, ", ",
          shape.out_height(), ", ", shape.out_width(), ", ", index_words(shape), "), contiguous.");
}

// The index that the forward pass fills, or an empty tensor where none is wanted.
inline Tensor empty_index(const RotationShape& shape, const Tensor& x, bool wanted) {
  const int64_t sizes[4] = {shape.batch, shape.out_height(), shape.out_width(), index_words(shape)};
  const int64_t none[1] = {0};
  const bool some = wanted && shape.rotations > 1;
  return torch::stable::empty(
      some ? torch::headeronly::IntHeaderOnlyArrayRef(sizes, 4) : torch::headeronly::IntHeaderOnlyArrayRef(none, 1),
      ScalarType::Int, std::nullopt, x.device());
}

}  // namespace rotacube
