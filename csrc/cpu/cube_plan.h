// What of the CPU Cube convolution depends on the kernel size and the anchor alone.
//
// Seen from the coarse grid each output pixel reads, for K = 3, all C channels of its own pixel, C/2 of one neighbour
// in the row, C/2 of one in the column and C/4 of one across. Within a pixel the channels are put in an order of phases
// in which each of these is one run: 0 2 3 1 for anchor "tl" (own, then rows 2 3, columns 3 1, corner 3) and its mirror
// 3 1 0 2 for "br". So a tile of the image, reordered once with a rim of zeros, is the left matrix as it lies: no
// im2col. Other K only have more runs.
#pragma once

#include <cstdint>
#include <vector>

#include "../include/cube_conv2d.h"

namespace rotacube::cpu {

// The order of phases within a reordered pixel.
constexpr int kPhaseOrder[2][4] = {{0, 2, 3, 1}, {3, 1, 0, 2}};  // by anchor: "tl", "br"

struct CubePlan {
  int64_t before;  // rim: coarse pixels that the taps reach to the left and up
  int64_t after;   // and to the right and down
  struct Run {
    int64_t down, right;    // coarse offset
    int64_t place;          // first position in the order of phases
    std::vector<int> taps;  // one for each position: row * K + column
    int64_t places() const { return static_cast<int64_t>(taps.size()); }
  };
  std::vector<Run> runs;
};

CubePlan make_cube_plan(const CubeShape& shape);

}  // namespace rotacube::cpu
