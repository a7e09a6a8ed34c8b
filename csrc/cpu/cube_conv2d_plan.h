// What of the CPU Cube convolution depends on sizes alone: which channels an output pixel reads, and in which order
// the weights are packed.
#pragma once

#include <cstdint>
#include <vector>

#include "../include/cube_conv2d.h"

namespace rotacube::cpu {

// The order of phases within a reordered pixel.
constexpr int kPhaseOrder[2][4] = {{0, 2, 3, 1}, {3, 1, 0, 2}};  // by anchor: "tl", "br"

// Where a weight lies in memory (beside its output channel), and which row of the packed panels it belongs to.
struct WeightPlace {
  int64_t from;
  int64_t row;
};

// What the kernel size and the anchor decide.
struct Plan {
  int64_t before;  // rim: coarse pixels that the taps reach to the left and up
  int64_t after;   // and to the right and down
  struct Run {
    int64_t down, right;    // coarse offset
    int64_t place;          // first position in the order of phases
    std::vector<int> taps;  // one for each position: row * K + column
  };
  std::vector<Run> runs;
};

Plan make_plan(const CubeShape& shape);

// All weights of an output, in the order in which they lie, so that each cache line is read once; a tap's weights also
// in the order of their groups. The rows of a tap's groups follow each other, `spacing` of them from tap to tap.
std::vector<WeightPlace> place_weights(const CubeShape& shape, const Plan& plan, const Strides& strides,
                                       int64_t spacing);

// The outputs in panels of at most so many vectors, as even as can be.
struct Panels {
  int64_t lanes;
  int64_t total;  // vectors
  int64_t count;

  int64_t first(int64_t panel) const { return panel * total / count; }
  int64_t vectors(int64_t panel) const { return first(panel + 1) - first(panel); }
};

}  // namespace rotacube::cpu
