// How the CPU operators run work on the caller's threads, and where they keep what is theirs while they run.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace rotacube::cpu {

// How the caller runs work on its threads: calls body(first, last, context) on ranges that cover [0, count).
struct Threads {
  int64_t number;
  void (*run)(int64_t count, void (*body)(int64_t first, int64_t last, void* context), void* context);

  // Calls body(index) for each index in [0, count), in any order, on all threads.
  template <typename Body>
  void for_each(int64_t count, const Body& body) const {
    run(
        count,
        [](int64_t first, int64_t last, void* context) {
          for (int64_t i = first; i < last; ++i) (*static_cast<const Body*>(context))(i);
        },
        const_cast<void*>(static_cast<const void*>(&body)));
  }
};

template <typename T>
struct Free {
  void operator()(T* memory) const { ::operator delete(memory, std::align_val_t(64)); }
};

// Memory on a cache line's border, not set to anything.
template <typename T>
using Buffer = std::unique_ptr<T[], Free<T>>;

template <typename T>
Buffer<T> allocate(int64_t count) {
  const std::size_t bytes = static_cast<std::size_t>(std::max<int64_t>(count, 1)) * sizeof(T);
  return Buffer<T>(static_cast<T*>(::operator new(bytes, std::align_val_t(64))));
}

}  // namespace rotacube::cpu
