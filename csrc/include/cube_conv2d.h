// The Cube convolution, device-independent: what it computes, and where its taps fall.
//
// Input x (B, C, H, W) with C = 4G; weight w (O, G, K, K), K odd; output y (B, O, H, W). The channels 4g + 2i + j of a
// coarse pixel (row, column) are the fine pixels (2 row + i, 2 column + j) of group g; (i, j) is the phase. With
// anchor "tl" the output samples the fine lattice at (2 row, 2 column), with "br" at (2 row + 1, 2 column + 1):
//
//   y[b, o, r, c] = bias[o] + sum over g, u, v of w[o, g, u, v] * fine[b, g, 2r + a + u - K/2, 2c + a + v - K/2]
//
// with a = 0 for "tl", 1 for "br", and zeros outside. The fine lattice is never written to memory.
#pragma once

#include <cstdint>

#include "strides.h"

namespace rotacube {

struct CubeShape {
  int64_t batch;
  int64_t channels;  // C, a multiple of 4
  int64_t height;
  int64_t width;
  int64_t outputs;    // O
  int64_t kernel;     // K, odd
  bool bottom_right;  // anchor "br"
};

// Where one tap falls along one axis: so many coarse pixels away, and in which half of that pixel (0 or 1).
struct TapPlace {
  int64_t coarse;
  int64_t half;
};

ROTACUBE_HOST_DEVICE inline TapPlace tap_place(int64_t tap, int64_t kernel, bool bottom_right) {
  const int64_t fine = tap - kernel / 2 + (bottom_right ? 1 : 0);
  const int64_t half = fine & 1;  // of a negative number too: two's complement
  return {(fine - half) / 2, half};
}

}  // namespace rotacube
