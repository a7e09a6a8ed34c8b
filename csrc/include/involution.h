// Involution, device-independent: what it computes.
//
// Input x (B, C, H, W); kernel (B, G*K*K, H, W), K odd, one K x K kernel for each pixel and group; output y (B, C, H,
// W):
//
//   y[b, c, h, w] = sum over u, v of kernel[b, (g*K + u)*K + v, h, w] * x[b, c, h + u - K/2, w + v - K/2]
//
// with g = c / (C/G) and zeros outside (Li et al., Involution, CVPR 2021, equation 4). All tensors lie dense, either
// contiguous or channels_last.
#pragma once

#include <cstdint>

namespace rotacube {

struct InvolutionShape {
  int64_t batch;
  int64_t channels;  // C
  int64_t height;
  int64_t width;
  int64_t groups;  // G, divides C
  int64_t kernel;  // K: 3, 5 or 7
  bool channels_last;
};

}  // namespace rotacube
