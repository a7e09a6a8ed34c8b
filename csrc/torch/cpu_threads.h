// PyTorch's threads, as the CPU kernels take them.
#pragma once

#include <torch/csrc/stable/ops.h>

#include "../cpu/threads.h"

namespace rotacube {

inline cpu::Threads torch_threads() {
  return {torch::stable::get_num_threads(), [](int64_t count, void (*body)(int64_t, int64_t, void*), void* context) {
            torch::stable::parallel_for(0, count, 1, [&](int64_t first, int64_t last) { body(first, last, context); });
          }};
}

}  // namespace rotacube
