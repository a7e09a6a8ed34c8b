// From PyTorch's types to those of the CPU kernels.
#pragma once

#include "../cpu/half.h"
#include "checks.h"

namespace rotacube {

constexpr ScalarType scalar_type_of(float) { return ScalarType::Float; }
constexpr ScalarType scalar_type_of(cpu::BFloat16) { return ScalarType::BFloat16; }
constexpr ScalarType scalar_type_of(cpu::Float16) { return ScalarType::Half; }

// Calls run(X{}) with a tensor's type.
template <typename Run>
void with_type(const Tensor& tensor, const Run& run) {
  using namespace cpu;  // the list names its types
#define ROTACUBE_CASE(X) \
  if (tensor.scalar_type() == scalar_type_of(X())) return run(X());
  ROTACUBE_EACH_TYPE(ROTACUBE_CASE)
#undef ROTACUBE_CASE
  require(false, "The compiled operators have no kernels for this type.");
}

// Calls run(X{}, W{}) with the types of input and weight.
template <typename Run>
void with_types(const Tensor& x, const Tensor& weight, const Run& run) {
  using namespace cpu;
#define ROTACUBE_CASE(X, W) \
  if (x.scalar_type() == scalar_type_of(X()) && weight.scalar_type() == scalar_type_of(W())) return run(X(), W());
  ROTACUBE_EACH_PAIR(ROTACUBE_CASE)
#undef ROTACUBE_CASE
  require(false, "The compiled operators have no kernels for these types.");
}

}  // namespace rotacube
