// The Cube convolution on NVIDIA GPUs, in its plain form: one thread an output element, straight from the definition.
#include <algorithm>

#include "cube_conv2d.h"

namespace rotacube::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostBlocks = 1 << 20;

// Neighbouring threads write neighbouring elements: outputs of a pixel where y lies channels_last, else pixels of a
// row.
__global__ void __launch_bounds__(kThreads)
    cube_conv2d_kernel(CubeShape shape, const float* __restrict__ x, Strides x_strides,
                       const float* __restrict__ weight, Strides weight_strides, const float* __restrict__ bias,
                       float* __restrict__ y, Strides y_strides) {
  const int64_t count = shape.batch * shape.outputs * shape.height * shape.width;
  const int64_t groups = shape.channels / 4;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
    int64_t rest = i, output, row, column;
    if (y_strides.channel == 1) {
      output = rest % shape.outputs;
      rest /= shape.outputs;
      column = rest % shape.width;
      rest /= shape.width;
      row = rest % shape.height;
      rest /= shape.height;
    } else {
      column = rest % shape.width;
      rest /= shape.width;
      row = rest % shape.height;
      rest /= shape.height;
      output = rest % shape.outputs;
      rest /= shape.outputs;
    }
    const int64_t image = rest;

    float sum = bias != nullptr ? bias[output] : 0.0f;
    for (int64_t u = 0; u < shape.kernel; ++u) {
      const TapPlace down = tap_place(u, shape.kernel, shape.bottom_right);
      const int64_t from_row = row + down.coarse;
      if (from_row < 0 || from_row >= shape.height) continue;
      for (int64_t v = 0; v < shape.kernel; ++v) {
        const TapPlace right = tap_place(v, shape.kernel, shape.bottom_right);
        const int64_t from_column = column + right.coarse;
        if (from_column < 0 || from_column >= shape.width) continue;
        const float* from = x + image * x_strides.batch + (2 * down.half + right.half) * x_strides.channel +
                            from_row * x_strides.row + from_column * x_strides.column;
        const float* tap = weight + output * weight_strides.batch + u * weight_strides.row + v * weight_strides.column;
        for (int64_t g = 0; g < groups; ++g) {
          sum = fmaf(from[4 * g * x_strides.channel], tap[g * weight_strides.channel], sum);
        }
      }
    }
    y[image * y_strides.batch + output * y_strides.channel + row * y_strides.row + column * y_strides.column] = sum;
  }
}

}  // namespace

cudaError_t cube_conv2d(const CubeShape& shape, const float* x, const Strides& x_strides, const float* weight,
                        const Strides& weight_strides, const float* bias, float* y, const Strides& y_strides,
                        cudaStream_t stream) {
  const int64_t count = shape.batch * shape.outputs * shape.height * shape.width;
  if (count == 0) return cudaSuccess;
  const int64_t blocks = std::min((count + kThreads - 1) / kThreads, kMostBlocks);
  cube_conv2d_kernel<<<static_cast<unsigned int>(blocks), kThreads, 0, stream>>>(shape, x, x_strides, weight,
                                                                                 weight_strides, bias, y, y_strides);
  return cudaGetLastError();
}

}  // namespace rotacube::cuda
