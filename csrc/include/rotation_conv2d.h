// The rotation-invariant convolution, device-independent: what it computes.
//
// Input x (B, C, H, W); weight w (O, C, K, K), K odd; output y (B, O, H + 2P - K + 1, W + 2P - K + 1). With W_r the
// kernel turned r times by 90 degrees (counter-clockwise, as torch.rot90 does), r = 0..R-1 and R = 1 or 4:
//
//   y[b, o, p] = bias[o] + max over r of sum over c and positions d of W_r[o, c, d] * x[b, c, p + d - P]
//
// W_r at a position is W at another, its tap: the products of x with the taps serve all rotations.
#pragma once

#include <cstdint>

#include "strides.h"

namespace rotacube {

struct RotationShape {
  int64_t batch;
  int64_t channels;
  int64_t height;
  int64_t width;
  int64_t outputs;
  int64_t kernel;
  int64_t padding;
  int64_t rotations;

  ROTACUBE_HOST_DEVICE int64_t out_height() const { return height + 2 * padding - kernel + 1; }
  ROTACUBE_HOST_DEVICE int64_t out_width() const { return width + 2 * padding - kernel + 1; }
};

// The arg-max r of 16 outputs at a pixel is one word: bit i is bit 0 of the i-th, bit 16 + i its bit 1.
constexpr int64_t kIndexOutputs = 16;

// Which tap of W lies at (row, column) of W_r.
ROTACUBE_HOST_DEVICE constexpr int64_t tap_at(int64_t r, int64_t row, int64_t column, int64_t kernel) {
  const int64_t last = kernel - 1;
  return r == 0   ? row * kernel + column
         : r == 1 ? column * kernel + last - row
         : r == 2 ? (last - row) * kernel + last - column
                  : (last - column) * kernel + row;
}

}  // namespace rotacube
