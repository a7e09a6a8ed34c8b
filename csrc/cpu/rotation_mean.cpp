#include "rotation_mean.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "level.h"
#include "matrix.h"

#define ROTACUBE_KERNELS "rotation_mean_kernels.h"
#include "each_isa.h"

namespace rotacube::cpu {

template <typename X, typename W>
void rotation_mean(const RotationShape& shape, const X* x, const Strides& x_strides, const W* weight, const W* bias,
                   X* y, const Strides& y_strides, const Threads& threads) {
  if (shape.batch * shape.out_height() * shape.out_width() * shape.outputs == 0) return;
  ROTACUBE_RUN(mean_forward, shape, x, x_strides, weight, bias, y, y_strides, threads);
}

template <typename X, typename W>
void rotation_mean_backward_weight(const RotationShape& shape, const X* grad, const Strides& grad_strides, const X* x,
                                   const Strides& x_strides, W* grad_weight, const Threads& threads) {
  if (shape.batch * shape.out_height() * shape.out_width() == 0) {
    std::memset(grad_weight, 0, sizeof(W) * shape.outputs * shape.channels * 3);
    return;
  }
  ROTACUBE_RUN(mean_backward_weight, shape, grad, grad_strides, x, x_strides, grad_weight, threads);
}

#define ROTACUBE_INSTANTIATE(X, W)                                                                                    \
  template void rotation_mean(const RotationShape&, const X*, const Strides&, const W*, const W*, X*, const Strides&, \
                              const Threads&);                                                                        \
  template void rotation_mean_backward_weight(const RotationShape&, const X*, const Strides&, const X*,               \
                                              const Strides&, W*, const Threads&);
ROTACUBE_INSTANTIATE(float, float)
ROTACUBE_INSTANTIATE(BFloat16, BFloat16)
ROTACUBE_INSTANTIATE(BFloat16, float)
ROTACUBE_INSTANTIATE(Float16, Float16)
ROTACUBE_INSTANTIATE(Float16, float)
#undef ROTACUBE_INSTANTIATE

}  // namespace rotacube::cpu
