// What the matrix products on the GPU do not take.
#pragma once

#include <cstdint>

namespace rotacube::cuda {

constexpr int64_t kMostPixels = int64_t{1} << 30;  // pixels and channels are counted in 32 bits

}  // namespace rotacube::cuda
