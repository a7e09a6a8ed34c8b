// How the CPU operators run work on the caller's threads.
#pragma once

#include <cstdint>

#include "buffer.h"

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

}  // namespace rotacube::cpu
