// Which results are stored past the caches (stream_store.h).
#pragma once

#include <cstddef>
#include <cstdint>

namespace rotacube::cpu {

constexpr int64_t kLine = 64;                // bytes of a cache line
constexpr int64_t kPastCaches = 16ll << 20;  // bytes: larger results are not found in the caches by who reads them next

// Whether a result of so many bytes is large and begins at a cache line's border.
inline bool belongs_past_caches(const void* result, int64_t bytes) {
  return reinterpret_cast<std::size_t>(result) % kLine == 0 && bytes >= kPastCaches;
}

}  // namespace rotacube::cpu
