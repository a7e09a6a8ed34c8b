// The types of elements that the CUDA kernels take.
#pragma once

namespace rotacube::cuda {

enum class Element { kFloat, kBFloat16, kFloat16 };

}  // namespace rotacube::cuda
