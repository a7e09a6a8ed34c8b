// What an instruction set offers to the CPU Cube convolution, as pointers to functions.
//
// X is the type of input and output, W that of weight and bias. Where X is bfloat16 and W float32, the weights are
// rounded while they are packed. The reordered input and the packed weights are words of four bytes: floats, or where
// the processor multiplies those (AVX512_BF16) pairs of bfloat16 from two neighbouring groups of channels. Sums are
// float32.
#pragma once

#include <cstdint>

#include "cube_conv2d_plan.h"
#include "half.h"

namespace rotacube::cpu {

template <typename Word>
struct Words {
  using Lane = float;
  static constexpr int64_t kLanes = 1;
};

template <>
struct Words<Pair> {
  using Lane = BFloat16;
  static constexpr int64_t kLanes = 2;
};

// Writes one lane of a word; lane 0 also clears the other.
inline void put(float& word, int64_t, float value) { word = value; }
inline void put(Pair& word, int64_t lane, BFloat16 value) {
  if (lane == 0) {
    word = {value, {0}};
  } else {
    word.second = value;
  }
}

// A run of words that one output pixel reads, from `offset` words after its own first on.
struct Segment {
  int64_t offset;
  int64_t length;
};

// Computes some neighbouring pixels times some vectors of outputs.
template <typename X, typename Word>
using RegisterTile = void(const Segment* segments, int64_t segment_count, const Word* a, int64_t pixel_stride,
                          const Word* b, const float* bias, X* c, int64_t c_stride);

// Reorders one pixel's channels from interleaved phases to a run of `groups` lanes for each, filled up to whole words.
template <typename X, typename Word>
using SplitPhases = void(const X* from, int64_t groups, bool bottom_right, Word* to);

// Packs as many weights as a vector has lanes, side by side in memory, of as many outputs.
template <typename W, typename Word>
using PackBlock = void(const W* from, int64_t output_stride, const WeightPlace* places, int64_t width, Word* to);

template <typename X, typename W, typename Word>
struct Instructions {
  int64_t lanes;
  int64_t pixels;   // most pixels of a register tile
  int64_t vectors;  // most vectors of outputs of a register tile
  RegisterTile<X, Word>* (*find_tile)(int64_t pixels, int64_t vectors);
  SplitPhases<X, Word>* split_phases;
  PackBlock<W, Word>* pack_block;  // null where the compiler has no vector shuffles
};

}  // namespace rotacube::cpu
