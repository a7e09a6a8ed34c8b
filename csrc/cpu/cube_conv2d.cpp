#include "cube_conv2d.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "cube_plan.h"
#include "level.h"
#include "matrix.h"

#define ROTACUBE_KERNELS "cube_kernels.h"
#include "each_isa.h"

namespace rotacube::cpu {

template <typename X, typename W>
void cube_conv2d(const CubeShape& shape, const CubeInput<X>& input, const W* weight, const Strides& weight_strides,
                 const W* bias, X* y, const Strides& y_strides, const Threads& threads) {
  if (shape.batch * shape.height * shape.width * shape.outputs == 0) return;
  ROTACUBE_RUN(cube_forward, shape, input, weight, weight_strides, bias, y, y_strides, threads);
}

template <typename X, typename W>
void cube_conv2d_backward_input(const CubeShape& shape, const CubeInput<X>& input, const X* grad,
                                const Strides& grad_strides, const W* weight, const Strides& weight_strides, X* grad_x,
                                const Strides& grad_x_strides, X* grad_mask, const Threads& threads) {
  if (shape.batch * shape.height * shape.width == 0) return;
  ROTACUBE_RUN(cube_backward_input, shape, input, grad, grad_strides, weight, weight_strides, grad_x, grad_x_strides,
               grad_mask, threads);
}

template <typename X, typename W>
void cube_conv2d_backward_weight(const CubeShape& shape, const CubeInput<X>& input, const X* grad,
                                 const Strides& grad_strides, W* grad_weight, const Threads& threads) {
  if (shape.batch * shape.height * shape.width == 0) {
    std::memset(grad_weight, 0, sizeof(W) * shape.outputs * (shape.channels / 4) * shape.kernel * shape.kernel);
    return;
  }
  ROTACUBE_RUN(cube_backward_weight, shape, input, grad, grad_strides, grad_weight, threads);
}

#define ROTACUBE_INSTANTIATE(X, W)                                                                                    \
  template void cube_conv2d(const CubeShape&, const CubeInput<X>&, const W*, const Strides&, const W*, X*,            \
                            const Strides&, const Threads&);                                                          \
  template void cube_conv2d_backward_input(const CubeShape&, const CubeInput<X>&, const X*, const Strides&, const W*, \
                                           const Strides&, X*, const Strides&, X*, const Threads&);                   \
  template void cube_conv2d_backward_weight(const CubeShape&, const CubeInput<X>&, const X*, const Strides&, W*,      \
                                            const Threads&);
ROTACUBE_EACH_PAIR(ROTACUBE_INSTANTIATE)
#undef ROTACUBE_INSTANTIATE

}  // namespace rotacube::cpu
