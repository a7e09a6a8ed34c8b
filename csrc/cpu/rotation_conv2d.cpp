#include "rotation_conv2d.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "level.h"
#include "matrix.h"

#define ROTACUBE_KERNELS "rotation_kernels.h"
#include "each_isa.h"

namespace rotacube::cpu {

template <typename X, typename W>
void rotation_conv2d(const RotationShape& shape, const X* x, const Strides& x_strides, const W* weight,
                     const Strides& weight_strides, const W* bias, X* y, const Strides& y_strides, int32_t* index,
                     const Threads& threads) {
  if (shape.batch * shape.out_height() * shape.out_width() * shape.outputs == 0) return;
  ROTACUBE_RUN(rotation_forward, shape, x, x_strides, weight, weight_strides, bias, y, y_strides, index, threads);
}

template <typename X, typename W>
void rotation_conv2d_backward(const RotationShape& shape, const X* grad, const Strides& grad_strides,
                              const int32_t* index, const X* x, const Strides& x_strides, const W* weight,
                              const Strides& weight_strides, X* grad_x, const Strides& grad_x_strides, W* grad_weight,
                              const Threads& threads) {
  if (shape.batch * shape.height * shape.width == 0) {
    if (grad_weight == nullptr) return;
    std::memset(grad_weight, 0, sizeof(W) * shape.outputs * shape.channels * shape.kernel * shape.kernel);
    return;
  }
  ROTACUBE_RUN(rotation_backward, shape, grad, grad_strides, index, x, x_strides, weight, weight_strides, grad_x,
               grad_x_strides, grad_weight, threads);
}

#define ROTACUBE_INSTANTIATE(X, W)                                                                                  \
  template void rotation_conv2d(const RotationShape&, const X*, const Strides&, const W*, const Strides&, const W*, \
                                X*, const Strides&, int32_t*, const Threads&);                                      \
  template void rotation_conv2d_backward(const RotationShape&, const X*, const Strides&, const int32_t*, const X*,  \
                                         const Strides&, const W*, const Strides&, X*, const Strides&, W*,          \
                                         const Threads&);
ROTACUBE_EACH_PAIR(ROTACUBE_INSTANTIATE)
#undef ROTACUBE_INSTANTIATE

}  // namespace rotacube::cpu
