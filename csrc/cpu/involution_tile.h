// A tile of the work of involution on the CPU: some rows and columns of an image, and some whole groups of channels.
#pragma once

#include <cstdint>

namespace rotacube::cpu {

struct InvolutionTile {
  int64_t image, first_group, groups;
  int64_t top, bottom;    // rows [top, bottom)
  int64_t left, columns;  // columns [left, left + columns)
};

}  // namespace rotacube::cpu
