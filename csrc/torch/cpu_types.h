// From PyTorch's types to those of the CPU kernels.
#pragma once

#include "../cpu/half.h"
#include "checks.h"

namespace rotacube {

// Calls run(X{}, W{}) with the types of input and weight.
template <typename Run>
void with_types(const Tensor& x, const Tensor& weight, const Run& run) {
  const bool wide = weight.scalar_type() == ScalarType::Float;
  if (x.scalar_type() == ScalarType::Float) return run(float(), float());
  if (x.scalar_type() == ScalarType::BFloat16) {
    return wide ? run(cpu::BFloat16(), float()) : run(cpu::BFloat16(), cpu::BFloat16());
  }
  wide ? run(cpu::Float16(), float()) : run(cpu::Float16(), cpu::Float16());
}

}  // namespace rotacube
