// From a raster's pixels to a network's input in one pass: scaled, resampled along the axes, normalised. No PyTorch.
//
// The arithmetic is that of raster/resample.py in NumPy to the bit: float32, tap by tap, nothing fused.
#pragma once

#include <cstdint>

namespace rotacube::cpu {

// What each target pixel along one axis is made of; `index` is null where that is the source pixel of its own number.
// Indices and weights are (taps, count), tap by tap.
struct WindowAxis {
  const int64_t* index;
  const float* weight;
  int64_t count;
  int64_t taps;
};

// values (bands, height, width) dense; valid (height, width), or null where all is; per band the value that becomes 0,
// and how far from it the one lies that becomes 1, then mean and standard deviation. out (bands, rows, columns) with
// strides in floats; seen (rows, columns) holds where the target lies on the source, and what is left of it afterwards.
struct Window {
  const uint8_t* valid;
  int64_t bands, height, width;
  const float *low, *span, *mean, *deviation;
  WindowAxis rows, columns;
  float* out;
  int64_t out_band, out_row, out_column;
  uint8_t* seen;
  int64_t seen_row;
};

}  // namespace rotacube::cpu
