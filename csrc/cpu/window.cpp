#include "window.h"

#include <algorithm>
#include <cstddef>

#include "buffer.h"
#include "level.h"

// A product and a sum are rounded one after the other, as NumPy does it.
#if defined(__clang__)
#pragma clang fp contract(off)
#else
#pragma GCC optimize("fp-contract=off")
#endif

#define ROTACUBE_KERNELS "window_kernels.h"
#include "each_isa.h"

namespace rotacube::cpu {
namespace {

template <typename X>
void run(const Window& window, const void* values) {
  ROTACUBE_RUN(network_input, window, static_cast<const X*>(values));
}

}  // namespace
}  // namespace rotacube::cpu

// For Python's ctypes. `type` names what the values are: 0 uint8, 1 uint16, 2 int16, 3 float32.
extern "C" __attribute__((visibility("default"))) void rotacube_network_input(const rotacube::cpu::Window* window,
                                                                              const void* values, int32_t type) {
  using rotacube::cpu::run;
  switch (type) {
    case 0:
      return run<uint8_t>(*window, values);
    case 1:
      return run<uint16_t>(*window, values);
    case 2:
      return run<int16_t>(*window, values);
    default:
      return run<float>(*window, values);
  }
}
