#include "buffer.h"

#include <map>
#include <mutex>
#include <new>

namespace rotacube::cpu {
namespace {

constexpr std::align_val_t kAlignment{64};
constexpr std::size_t kHeader = 64;  // before each block: its size
constexpr std::size_t kSmallest = std::size_t{1} << 15, kMostKept = std::size_t{1} << 25;

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kKeep = false;  // so that each block is watched to its last byte
#else
constexpr bool kKeep = true;
#endif

struct Store {
  std::mutex mutex;
  std::multimap<std::size_t, void*> blocks;
  std::size_t kept = 0;
};

Store& store() {
  static Store* const one = new Store;  // never destroyed: threads may outlive static objects
  return *one;
}

std::size_t& size_of(void* block) { return *static_cast<std::size_t*>(block); }

}  // namespace

void* take_block(std::size_t bytes) {
  if (kKeep && bytes >= kSmallest) {
    Store& all = store();
    const std::lock_guard<std::mutex> lock(all.mutex);
    const auto found = all.blocks.lower_bound(bytes);
    if (found != all.blocks.end() && found->first <= bytes + bytes / 2) {
      void* const block = found->second;
      all.kept -= found->first;
      all.blocks.erase(found);
      return static_cast<char*>(block) + kHeader;
    }
  }
  void* const block = ::operator new(kHeader + bytes, kAlignment);
  size_of(block) = bytes;
  return static_cast<char*>(block) + kHeader;
}

void give_block(void* memory) {
  if (memory == nullptr) return;
  void* const block = static_cast<char*>(memory) - kHeader;
  const std::size_t bytes = size_of(block);
  if (kKeep && bytes >= kSmallest) {
    Store& all = store();
    const std::lock_guard<std::mutex> lock(all.mutex);
    if (all.kept + bytes <= kMostKept) {
      all.blocks.emplace(bytes, block);
      all.kept += bytes;
      return;
    }
  }
  ::operator delete(block, kAlignment);
}

}  // namespace rotacube::cpu
