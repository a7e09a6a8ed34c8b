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
namespace {

// Which of the kernel's three values a tap belongs to: 0 the centre, 1 an edge, 2 a corner; and how many share it.
constexpr int kRing[9] = {2, 1, 2, 1, 0, 1, 2, 1, 2};
constexpr float kShare[3] = {1.0f, 0.25f, 0.25f};

}  // namespace

template <typename X, typename W>
void rotation_mean(const RotationShape& shape, const X* x, const Strides& x_strides, const W* weight,
                   const Strides& weight_strides, const W* bias, X* y, const Strides& y_strides,
                   const Threads& threads) {
  if (shape.batch * shape.out_height() * shape.out_width() * shape.outputs == 0) return;
  const Buffer<float> rings = allocate<float>(shape.outputs * shape.channels * 3);
  threads.for_each(shape.outputs, [&](int64_t o) {
    for (int64_t c = 0; c < shape.channels; ++c) {
      const W* const from = weight + o * weight_strides.batch + c * weight_strides.channel;
      float sums[3] = {};
      for (int tap = 0; tap < 9; ++tap) {
        sums[kRing[tap]] += widen(from[tap_offset(weight_strides, tap, 3)]);
      }
      for (int ring = 0; ring < 3; ++ring) {
        rings[(o * shape.channels + c) * 3 + ring] = widen(convert<X>(sums[ring] * kShare[ring]));
      }
    }
  });
  const Buffer<float> start = allocate<float>(shape.outputs);
  for (int64_t o = 0; o < shape.outputs; ++o) start[o] = bias != nullptr ? widen(convert<X>(bias[o])) : 0.0f;
  ROTACUBE_RUN(mean_forward, shape, x, x_strides, rings.get(), start.get(), y, y_strides, threads);
}

template <typename X, typename W>
void rotation_mean_backward_weight(const RotationShape& shape, const X* grad, const Strides& grad_strides, const X* x,
                                   const Strides& x_strides, W* grad_weight, const Threads& threads) {
  const int64_t pairs = shape.outputs * shape.channels;
  const Buffer<float> rings = allocate<float>(pairs * 3);
  if (shape.batch * shape.out_height() * shape.out_width() == 0) {
    std::memset(rings.get(), 0, sizeof(float) * pairs * 3);
  } else {
    ROTACUBE_RUN(mean_backward_weight, shape, grad, grad_strides, x, x_strides, rings.get(), threads);
  }
  threads.for_each(shape.outputs, [&](int64_t o) {
    for (int64_t pair = o * shape.channels; pair < (o + 1) * shape.channels; ++pair) {
      for (int tap = 0; tap < 9; ++tap) {
        grad_weight[pair * 9 + tap] = convert<W>(rings[pair * 3 + kRing[tap]] * kShare[kRing[tap]]);
      }
    }
  });
}

#define ROTACUBE_INSTANTIATE(X, W)                                                                                    \
  template void rotation_mean(const RotationShape&, const X*, const Strides&, const W*, const Strides&, const W*, X*, \
                              const Strides&, const Threads&);                                                        \
  template void rotation_mean_backward_weight(const RotationShape&, const X*, const Strides&, const X*,               \
                                              const Strides&, W*, const Threads&);
ROTACUBE_EACH_PAIR(ROTACUBE_INSTANTIATE)
#undef ROTACUBE_INSTANTIATE

}  // namespace rotacube::cpu
