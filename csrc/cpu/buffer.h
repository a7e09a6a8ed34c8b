// Memory of the CPU operators for the time of a call.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace rotacube::cpu {

// On a cache line's border, not set to anything. Blocks that come back are kept, up to 32 MB in all: fresh ones would
// be mapped and cleared page by page, which costs as much as packing the weights into them.
void* take_block(std::size_t bytes);
void give_block(void* memory);

template <typename T>
struct GiveBack {
  void operator()(T* memory) const { give_block(memory); }
};

template <typename T>
using Buffer = std::unique_ptr<T[], GiveBack<T>>;

template <typename T>
Buffer<T> allocate(int64_t count) {
  return Buffer<T>(static_cast<T*>(take_block(static_cast<std::size_t>(std::max<int64_t>(count, 1)) * sizeof(T))));
}

}  // namespace rotacube::cpu
